"""The film of a run: a frame for each step with the pictures as they were, and a sentence where there is none."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convscope as cs
from convscope.render.raster import png
from convscope.training.film import SIDE, training_film
from convscope.training.run import open_log
from convscope.training.store.event_writer import EventWriter


def write_pictures(folder: Path, steps: range, tags: tuple[str, ...]) -> None:
    writer = EventWriter(folder)
    for step in steps:
        for tag in tags:
            writer.picture(tag, png(np.full((4, 4, 3), 40 * step, np.uint8)), 4, 4, 3)
        writer.write(step, 1e9 + step)
    writer.close()


def test_each_step_is_a_frame_with_its_pictures(tmp_path: Path) -> None:
    tags = ("probes/Katze/grad_cam", "probes/Katze/feature_maps/conv", "kernels/conv", "probes/other/grad_cam")
    write_pictures(tmp_path / "run", range(6), tags)
    path = training_film(open_log(tmp_path), tmp_path / "film.gif")
    with Image.open(io.BytesIO(path.read_bytes())) as film:
        assert film.n_frames == 6  # type: ignore[attr-defined]
        for step in range(6):
            film.seek(step)
            pixels = np.asarray(film.convert("RGB")).reshape(-1, 3)
            level = np.abs(pixels.astype(int) - 40 * step).max(1) <= 3
            assert level.sum() > 2.5 * (SIDE // 4 * 4) ** 2  # three tiles


def test_what_is_no_film_is_one_sentence(tmp_path: Path) -> None:
    write_pictures(tmp_path / "run", range(1), ("kernels/conv",))
    log = open_log(tmp_path)
    with pytest.raises(cs.ConvScopeError, match=r"a film is an animated GIF: end 'film.mp4' in .gif"):
        training_film(log, tmp_path / "film.mp4")
    with pytest.raises(cs.ConvScopeError, match=r"run 'run' has pictures of 1 steps, and a film needs two"):
        training_film(log, tmp_path / "film.gif")
    with pytest.raises(cs.ConvScopeError, match=r"run 'run' has no pictures 'kernels/fc'; it has kernels/conv"):
        training_film(log, tmp_path / "film.gif", show=["kernels/fc"])
