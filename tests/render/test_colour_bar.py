"""The numbers and labels of a vertical colour bar do not overlap, however short the bar is."""

import itertools

import pytest

from convscope.render import colour_bar
from convscope.render.canvas import SMALL, Canvas
from convscope.render.scale import Scale, legend_of


def written(monkeypatch: pytest.MonkeyPatch, height: int, *, signed: bool) -> dict[str, float]:
    """The texts beside a bar of this height, with the y coordinate of the top of each."""
    texts: dict[str, float] = {}

    def record(_self: Canvas, _x: float, y: float, words: str, **_style: object) -> float:
        texts[words] = y
        return 1.4 * SMALL

    monkeypatch.setattr(Canvas, "text", record)
    legend = legend_of(Scale(2.0, signed=signed, peak=2.0, ends=("below", "above")))
    colour_bar.draw_vertical(Canvas("light", 400), 36, 36, height, legend)
    return texts


@pytest.mark.parametrize("height", [80, 90, 110, 150, 400])
@pytest.mark.parametrize("signed", [True, False])
def test_texts_beside_the_bar_do_not_overlap(monkeypatch: pytest.MonkeyPatch, height: int, signed: bool) -> None:
    texts = written(monkeypatch, height, signed=signed)
    tops = sorted(texts.values())
    assert all(lower - upper >= 1.29 * SMALL for upper, lower in itertools.pairwise(tops))
    assert {"above", "below", "2", "−2" if signed else "0"} <= texts.keys(), "the ends are always written"


def test_a_high_bar_has_all_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"−2", "−1", "0", "1", "2"} <= written(monkeypatch, 400, signed=True).keys()


def test_the_bar_beside_two_classes_has_the_numbers_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert written(monkeypatch, 90, signed=True).keys() == {"−2", "below", "0", "above", "2"}
