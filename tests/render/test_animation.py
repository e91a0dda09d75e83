"""Animations of maps over clips."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.errors import CannotWrite
from convscope.render.animation import layer_maps
from convscope.values import AttentionMaps, Attribution, Record


def map_of_clip(kind: str = "video") -> Attribution:
    values = torch.zeros(5, 6, 8, device="cpu", dtype=torch.float32)
    values[3, 2, 4] = 1
    clip = np.random.default_rng(0).random((3, 5, 6, 8), np.float32)
    record = Record(lens="saliency", title="", asks="", reads="", kind=kind, spacing=(0.04, 1.0, 1.0))
    return Attribution(values=values, photo=clip, record=record)


def scale_ends(frame: np.ndarray) -> tuple[str, ...]:
    """The colours at the ends of the bar in the last line of a frame."""
    line = frame[-22:]
    columns = np.flatnonzero((line.max(2) - line.min(2) > 100).sum(0) > 8)
    bar = line[10, columns[0] : columns[-1] + 1]
    assert len(np.unique(bar, axis=0)) > 40, "a bar of few steps would show other colours than the map"
    ends = bar[[0, -1]]
    return tuple(("red", "green", "blue")[int(colour.argmax())] for colour in ends)


def test_the_map_over_each_frame_in_the_time_of_the_clip(tmp_path: Path) -> None:
    path = map_of_clip().save(tmp_path / "map.gif")
    with Image.open(path) as animation:
        assert animation.n_frames == 5  # type: ignore[attr-defined]
        assert animation.info["duration"] == 40
        animation.seek(3)
        frame = np.asarray(animation.convert("RGB"), int)
    side = frame.shape[1] // 8
    place = frame[2 * side : 3 * side, 4 * side : 5 * side]
    assert (place[..., 0] - place[..., 2]).min() > 80, "warm where the map is"
    assert scale_ends(frame) == ("blue", "red")


def test_the_same_frames_as_a_film(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = map_of_clip().save(tmp_path / "map.mp4")
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 25
    assert len(frames) == 5
    side = frames[3].shape[1] // 8
    place = frames[3][2 * side + 8 : 3 * side - 8, 4 * side + 8 : 5 * side - 8]
    assert (place[..., 0] - place[..., 2]).min() > 60, "warm where the map is"


def test_the_maps_of_several_layers_follow_each_other_on_one_scale(tmp_path: Path) -> None:
    weak, strong = torch.zeros(4, 4), torch.zeros(8, 8)
    weak[0, 0], strong[7, 7] = 0.1, 1.0
    photo = np.full((32, 32, 3), 128, np.uint8)
    both = Attribution(values=torch.zeros(32, 32), layer_values={"early": weak, "late": strong}, photo=photo)
    with Image.open(both.save(tmp_path / "film.gif")) as film:
        assert film.n_frames == 2  # type: ignore[attr-defined]
        frames = []
        for number in range(2):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGB"), int))
    height = 256
    map_alone = [frame[:height, -height:] for frame in frames]
    redness = [(pixels[..., 0] - pixels[..., 2]) for pixels in map_alone]
    assert redness[1][-8:, -8:].mean() > 100, "the strongest map reaches the end of the scale"
    assert 0 < redness[0][:8, :8].mean() < 60, "a weak one stays pale on the same scale"
    assert redness[1][:8, :8].max() < 20
    assert scale_ends(frames[0]) == scale_ends(frames[1]) == ("blue", "red"), "the scale stands below each map"


def test_the_map_of_a_layer_lies_over_the_part_of_the_input_that_it_covers() -> None:
    values = {"crop": torch.ones(2, 2), "whole": torch.full((4, 4), 2.0)}
    both = Attribution(values=torch.zeros(8, 8), layer_values=values, layer_regions={"crop": ((2, 6), (0, 4))})
    crop, whole = layer_maps(both)
    expected = torch.zeros(8, 8)
    expected[2:6, :4] = 1
    assert torch.equal(crop.values, expected)
    assert bool((whole.values == 2).all())


def test_a_film_through_layers_comes_from_one_pass(tmp_path: Path) -> None:
    model = cs.load("bundled:shapes")
    layers = ["layer1", "layer2", "layer3"]
    cs.grad_cam(model, "sample:shapes/7")  # what is checked once per network is not counted below
    value = cs.grad_cam(model, "sample:shapes/7", layer=layers)
    assert (value.record.cost.forwards, value.record.cost.backwards) == (1, 1)
    with Image.open(value.save(tmp_path / "film.gif")) as film:
        assert film.n_frames == len(layers)  # type: ignore[attr-defined]


def test_attention_maps_are_a_film_of_the_mean_over_heads(tmp_path: Path) -> None:
    first, second = torch.zeros(2, 4, 4), torch.zeros(2, 2, 2)
    first[:, 0, 0] = 0.1  # of the strongest mean
    second[0, 1, 1], second[1, 1, 1] = 0.6, 1.4
    weights = AttentionMaps(maps={"a": first, "b": second}, photo=np.zeros((32, 32, 3), np.uint8))
    with Image.open(weights.save(tmp_path / "film.gif")) as film:
        assert film.n_frames == 2  # type: ignore[attr-defined]
        frames = []
        for number in range(2):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGB"), int)[:256, -256:])
    weak, strong = frames[0][:8, :8].mean(), frames[1][-8:, -8:].mean()
    assert strong > 2 * weak, "all layers are on one scale, whose end is the mean over the heads of the strongest"
    with pytest.raises(CannotWrite, match=r"several layers .* write a \.png"):
        AttentionMaps(maps={"a": first}).save(tmp_path / "still.gif")


def test_other_maps_have_no_animation(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"write a \.png"):
        map_of_clip("volume").save(tmp_path / "map.gif")
    with pytest.raises(CannotWrite, match=r"write a \.png"):
        map_of_clip("volume").save(tmp_path / "map.mp4")
