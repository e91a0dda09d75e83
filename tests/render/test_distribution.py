"""Pictures of distributions describe how they are drawn."""

import numpy as np
import pytest

import convscope as cs
from convscope.render.distribution import HISTOGRAM_HEIGHT
from convscope.render.palette import THEMES
from tests.lens_calls import DrawnText
from tests.render.example_values import rgb


def test_a_histogram_says_how_it_is_drawn_and_its_bar_at_zero_is_the_share(drawn_texts: list[DrawnText]) -> None:
    value = cs.activations(cs.load("bundled:shapes"), "sample:shapes/7")
    picture = value.picture()
    texts = " ".join(drawn_texts)
    assert "the square root of their share" in texts
    assert "beyond the ends of the axis and are not drawn" in texts
    zeros_spread = max(value.layers, key=lambda spread: spread.zeros)
    dark = (picture.pixels[:, 310:830] == rgb(THEMES["light"].text)).all(-1)
    tallest = max(_longest_run(column) for column in dark.T)
    assert tallest == pytest.approx(HISTOGRAM_HEIGHT * zeros_spread.zeros, abs=2), (
        "the bar's height is the share itself"
    )


def _longest_run(column: np.ndarray) -> int:
    """The most pixels in a row that are set."""
    ends = np.flatnonzero(np.diff(np.concatenate([[0], column.astype(int), [0]])))
    return int((ends[1::2] - ends[::2]).max(initial=0))
