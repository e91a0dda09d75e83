"""Small pictures of inputs that no network has prepared."""

import numpy as np
import pytest

from convscope.engine.inputs.raw_input import RawInput
from convscope.render.input_preview import prepared_pixels, preview_pixels

AXIAL = np.diag([1.0, 1.0, 3.0, 1.0])
"""The position of a volume whose last axis goes up."""
RAMP = np.arange(4 * 6 * 8, dtype=np.float32).reshape(1, 4, 6, 8)


def test_a_signal_is_a_curve_from_its_minimum_to_its_maximum() -> None:
    pixels = preview_pixels(RawInput(np.linspace(0, 1, 90, dtype=np.float32)[None], ("time",)), 60)
    dark = (pixels[..., 0] < 255).argmax(0)
    assert pixels.shape == (25, 60, 3)
    assert dark[0] > dark[-1]
    assert (np.diff(dark) <= 0).all()


def test_a_spike_of_one_sample_is_drawn() -> None:
    values = np.zeros((1, 5000), np.float32)
    values[0, 1234] = 1
    pixels = preview_pixels(RawInput(values, ("time",)), 60)
    assert (pixels[:5] < 255).any()


@pytest.mark.parametrize(
    ("raw", "shape"),
    [
        (RawInput(RAMP, ("x", "y", "z"), (1.0, 1.0, 3.0), "mm", AXIAL), (48, 32, 3)),
        (RawInput(RAMP), (36, 48, 3)),
        (RawInput(RAMP.repeat(3, 0), ("time", "height", "width")), (36, 48, 3)),
        (RawInput(RAMP[0], ("height", "width")), (36, 48, 3)),
        (RawInput(RAMP[0, 0]), (36, 48, 3)),
        (RawInput(RAMP.reshape(-1)), (20, 48, 3)),
    ],
    ids=["scan", "volume", "clip", "bands", "matrix", "line"],
)
def test_each_kind_fits_its_box(raw: RawInput, shape: tuple[int, ...]) -> None:
    pixels = preview_pixels(raw, 48)
    assert pixels.shape == shape
    assert pixels.dtype == np.uint8
    assert pixels.min() < pixels.max()


def test_a_scan_is_turned_as_radiologists_read_it() -> None:
    raw = RawInput(RAMP, ("x", "y", "z"), (1.0, 1.0, 1.0), "mm", np.eye(4))
    pixels = preview_pixels(raw, 6)[..., 0]
    assert pixels[0, 0] > pixels[-1, -1], "the front is up, and the patient's right on the left"


def test_prepared_numbers_are_drawn_by_their_axes() -> None:
    assert prepared_pixels(np.sin(np.arange(100))[None], 100).shape == (42, 100, 3)
    assert prepared_pixels(RAMP, 8).shape == (6, 8, 3)


def test_words_are_written_in_lines() -> None:
    tokens = np.zeros((1, 8), np.float32)
    pixels = preview_pixels(RawInput(tokens, ("token",), words=("turn", "left", "now") * 8), 120)
    ink = np.any((pixels < 128).all(-1), axis=1)
    assert pixels.shape[1:] == (120, 3)
    assert np.diff(ink.astype(int)).clip(0).sum() >= 4, "several lines"
    assert not ink[[0, -1]].any()
