"""Plots of a training: axes with round numbers, lines that stop where there is no number, heat maps with names."""

from typing import Any

import numpy as np
import pytest

from convscope.render.canvas import Canvas
from convscope.render.line_plot import PlotAxis, PlotLine, draw_heat, draw_lines


@pytest.mark.parametrize(
    ("low", "high", "logarithmic", "ticks"),
    [
        (0.0, 1.0, False, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.3, 0.4, False, [-0.2, 0.0, 0.2, 0.4]),
        (0.0, 61.0, False, [0.0, 20.0, 40.0, 60.0]),
        (5e-4, 2.0, True, [1e-3, 1e-2, 0.1, 1.0]),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, logarithmic: bool, ticks: list[float]) -> None:
    assert PlotAxis(low, high, logarithmic).ticks() == pytest.approx(ticks)


def test_an_axis_ignores_what_it_cannot_show() -> None:
    values = np.array([np.nan, np.inf, -1.0, 0.0, 0.1, 10.0])
    axis = PlotAxis.over(values, logarithmic=True)
    assert (axis.low, axis.high) == pytest.approx((0.1 / 1.3, 13.0))
    assert np.isnan(axis.positions(values)[:4]).all()


def test_a_line_is_interrupted_at_nan() -> None:
    xs = np.arange(5.0)
    whole = draw_lines(
        [PlotLine("loss", xs, np.array([1.0, 1.0, 1.0, 1.0, 0.0]), "#ff0000")], title="t", x_label="step"
    )
    cut = draw_lines(
        [PlotLine("loss", xs, np.array([1.0, 1.0, np.nan, 1.0, 0.0]), "#ff0000")], title="t", x_label="step"
    )
    red = [((p.pixels == (255, 0, 0)).all(2)).sum() for p in (whole, cut)]
    assert 0.3 * red[0] < red[1] < 0.8 * red[0]
    assert "loss" in whole.alt


def test_a_spike_in_a_long_line_is_drawn() -> None:
    ys = np.zeros(100_001)
    ys[54_321] = 1.0
    picture = draw_lines([PlotLine("loss", np.arange(len(ys), dtype=float), ys, "#ff0000")], title="t", x_label="step")
    rows = np.flatnonzero((picture.pixels == (255, 0, 0)).all(2).any(1))
    assert rows.max() - rows.min() > 200


@pytest.mark.parametrize("step", [3.0, 1e8])
def test_a_single_step_is_one_tick(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[str] = []
    text = Canvas.text

    def written(self: Canvas, x: float, y: float, shown: str, **style: Any) -> float:
        words.append(shown)
        return text(self, x, y, shown, **style)

    monkeypatch.setattr(Canvas, "text", written)
    draw_lines([PlotLine("loss", np.array([step]), np.array([0.5]), "#ff0000")], title="t", x_label="step")
    assert words.count(f"{step:,g}") == 1
    assert words[words.index(f"{step:,g}") :] == [f"{step:,g}", "step", "loss"]


def test_an_axis_of_shares_has_more_than_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[str] = []

    def written(self: Canvas, x: float, y: float, shown: str, **style: object) -> float:
        words.append(shown)
        return 0.0

    monkeypatch.setattr(Canvas, "text", written)
    draw_lines([PlotLine("a", np.array([0.0, 0.9]), np.array([30.0, 50.0]), "#ff0000")], title="t", x_label="share")
    assert {"0", "0.2", "0.8"} <= set(words)


def test_a_heat_map_is_brightest_at_its_peak_and_leaves_gaps() -> None:
    values = np.array([[0.0, 1.0], [np.nan, 0.5]])
    picture = draw_heat(values, title="t", x_ends=("a", "b"), y_names=["first", "second"], legend="share")
    colours = {tuple(c) for c in picture.pixels.reshape(-1, 3).tolist()}
    assert {(0, 0, 0), (0xFC, 0xFF, 0xA4), (0xE9, 0xEC, 0xF1)} <= colours


def test_a_single_line_that_the_title_names_has_no_legend() -> None:
    xs = np.arange(3.0)
    named = draw_lines([PlotLine("loss", xs, xs, "#ff0000")], title="loss", x_label="step")
    other = draw_lines([PlotLine("train", xs, xs, "#ff0000")], title="loss", x_label="step")
    assert other.pixels.shape[0] - named.pixels.shape[0] == 22
