"""Animations of maps over clips."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.errors import CannotWrite
from convscope.values import Attribution, Record


def map_of_clip(kind: str = "video") -> Attribution:
    values = torch.zeros(5, 6, 8, device="cpu", dtype=torch.float32)
    values[3, 2, 4] = 1
    clip = np.random.default_rng(0).random((3, 5, 6, 8), np.float32)
    record = Record(lens="saliency", title="", asks="", reads="", kind=kind, spacing=(0.04, 1.0, 1.0))
    return Attribution(values=values, photo=clip, record=record)


def test_the_map_over_each_frame_in_the_time_of_the_clip(tmp_path: Path) -> None:
    path = map_of_clip().save(tmp_path / "map.gif")
    with Image.open(path) as animation:
        assert animation.n_frames == 5  # type: ignore[attr-defined]
        assert animation.info["duration"] == 40
        animation.seek(3)
        frame = np.asarray(animation.convert("RGB"), int)
    side = frame.shape[0] // 6
    place = frame[2 * side : 3 * side, 4 * side : 5 * side]
    assert (place[..., 0] - place[..., 2]).min() > 80, "warm where the map is"


def test_the_same_frames_as_a_film(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = map_of_clip().save(tmp_path / "map.mp4")
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 25
    assert len(frames) == 5
    side = frames[3].shape[0] // 6
    place = frames[3][2 * side + 8 : 3 * side - 8, 4 * side + 8 : 5 * side - 8]
    assert (place[..., 0] - place[..., 2]).min() > 60, "warm where the map is"


def test_other_maps_have_no_animation(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"write a \.png"):
        map_of_clip("volume").save(tmp_path / "map.gif")
    with pytest.raises(CannotWrite, match=r"write a \.png"):
        map_of_clip("volume").save(tmp_path / "map.mp4")
