"""`Pictures` as a value: saved and loaded, written as a GIF and drawn."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

import convscope as cs
from convscope.engine.context.metering import reporting
from convscope.errors import Cancelled, CannotWrite, ParameterError
from convscope.render.canvas import Canvas


@pytest.fixture(scope="module")
def digit_pictures() -> cs.Pictures:
    """Two units of a bundled network, with a few pictures on the way."""
    return cs.activation_maximization(cs.load("bundled:digits"), unit=["features.0[1]", "8"], steps=12, frames=4)


def test_they_come_back_from_a_file_as_they_were(digit_pictures: cs.Pictures, tmp_path: Path) -> None:
    pictures = cs.Pictures.load(digit_pictures.save(tmp_path / "p.npz"))
    assert (pictures.words, pictures.notes) == (digit_pictures.words, digit_pictures.notes)
    assert pictures.scores == pytest.approx(digit_pictures.scores)
    for name in ("values", "curves", "reached", "photos", "importance", "frames"):
        assert np.array_equal(getattr(pictures, name), getattr(digit_pictures, name), equal_nan=True), name


def test_a_moving_picture_has_every_frame_and_stops_at_the_last(digit_pictures: cs.Pictures, tmp_path: Path) -> None:
    with Image.open(digit_pictures.save(tmp_path / "p.gif")) as moving:
        durations = []
        assert isinstance(moving, GifImageFile)
        for frame in range(moving.n_frames):
            moving.seek(frame)
            durations.append(moving.info["duration"])
    assert digit_pictures.frames is not None
    assert moving.n_frames == len(digit_pictures.frames) == 4
    assert durations[-1] > durations[0]


def test_without_frames_there_is_nothing_to_move(tmp_path: Path) -> None:
    still = cs.activation_maximization(cs.load("bundled:digits"), unit="8", steps=2)
    with pytest.raises(CannotWrite, match="request them with frames="):
        still.save(tmp_path / "p.gif")
    assert not (tmp_path / "p.gif").exists()


def test_transparent_pictures_are_opaque_where_the_climb_went(digit_pictures: cs.Pictures, tmp_path: Path) -> None:
    with Image.open(digit_pictures.save(tmp_path / "p.png", transparent=True)) as image:
        pixels = np.asarray(image)
    side = digit_pictures.photos.shape[2]
    assert pixels.shape == (side, 2 * side, 4)
    for place, importance in enumerate(digit_pictures.importance.numpy()):
        alpha = pixels[:, place * side : (place + 1) * side, 3]
        assert np.corrcoef(importance.ravel(), alpha.ravel())[0, 1] > 0.7
    assert np.array_equal(pixels[:, :side, :3], digit_pictures.photos[0].numpy())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_picture_stands_beside_its_words_and_its_curve(digit_pictures: cs.Pictures, theme: str) -> None:
    picture = digit_pictures.picture(theme=theme)
    with Image.open(io.BytesIO(picture.png())) as image:
        assert image.size[0] >= 2 * 300
    assert digit_pictures.record.title in picture.alt
    assert digit_pictures.lines()[0].startswith("features.0[1]")


def test_the_curve_of_a_picture_ends_at_the_number_below_it(
    digit_pictures: cs.Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are the objective of the picture as it is, not as a transform showed it to the network."""
    model = cs.load("bundled:digits")
    answers = [cs.predict(model, values, top=10) for values in digit_pictures.values]
    eight = answers[1].scores[answers[1].indices.index(8)]
    assert digit_pictures.scores[1] == pytest.approx(eight, rel=1e-4)
    for climb, score in zip(digit_pictures.score_curves, digit_pictures.scores, strict=True):
        assert climb[0][0] == 1
        assert climb[-1] == (12, score)
        assert len(climb) > 2
    ends = []
    line = Canvas.line

    def record_line(self: Canvas, xs: Any, ys: Any, **style: Any) -> None:
        ends.append((len(xs), ys[-1]))
        line(self, xs, ys, **style)

    monkeypatch.setattr(Canvas, "line", record_line)
    digit_pictures.picture()
    first, second = [y for points, y in ends if points == len(digit_pictures.score_curves[0])][-2:]
    assert (first < second) == (digit_pictures.scores[0] > digit_pictures.scores[1]), "the higher number ends higher"


def test_values_of_earlier_versions_show_the_curve_that_they_have(digit_pictures: cs.Pictures, tmp_path: Path) -> None:
    digit_pictures.save(tmp_path / "drawn.npz")
    with np.load(tmp_path / "drawn.npz") as stored:
        np.savez(tmp_path / "old.npz", **{name: stored[name] for name in stored.files if name != "reached"})
    old = cs.Pictures.load(tmp_path / "old.npz")
    assert [score for _, score in old.score_curves[0]] == pytest.approx(digit_pictures.curves[0].tolist())
    old.picture()


def test_signals_and_volumes_have_a_picture_too_but_not_a_transparent_one() -> None:
    for axes, kind in ((1, torch.nn.Conv1d), (3, torch.nn.Conv3d)):
        torch.manual_seed(0)
        net = torch.nn.Sequential(kind(2, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(3))
        net(torch.zeros(1, 2, *[10] * axes))
        model = cs.Model(net, input=cs.TensorInput(shape=(2, *[10] * axes)))
        pictures = cs.activation_maximization(model, unit="0[1]", steps=3)
        assert pictures.photos is None
        assert pictures.picture().pixels.shape[2] == 3
        with pytest.raises(ParameterError, match="only pictures can be transparent"):
            pictures.picture(transparent=True)


def test_a_run_that_is_cancelled_keeps_the_best_so_far() -> None:
    def stop(done: int, _total: int) -> None:
        if done == 5:
            raise Cancelled("enough")

    with reporting(stop):
        pictures = cs.activation_maximization(cs.load("bundled:digits"), unit="features.0[1]", steps=30)
    assert pictures.curves.shape == (1, 5)
    assert "stopped after 5 of 30 steps" in pictures.notes["stopped"]
    assert pictures.scores[0] > float(pictures.curves[0, 0])
