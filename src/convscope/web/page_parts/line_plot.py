"""Small line plots as SVG, such as the objective during optimization."""

from collections.abc import Sequence
from html import escape

from convscope import render
from convscope.render.palette import line_colours

WIDTH, HEIGHT, TOP, LEFT = 480, 120, 8, 4
MAX_POINTS = 240
"""Points per line; longer lines are subsampled evenly."""


def line_plot(lines: Sequence[Sequence[float]], alt: str) -> str:
    """Lines over their steps on one scale, with its ends as labels; empty if no line has two points.

    Args:
        lines: the numbers of each line, step by step.
        alt: the text alternative for screen readers.
    """
    sampled = [list(line)[:: max(1, len(line) // MAX_POINTS)] for line in lines]
    finite = [number for line in sampled for number in line if number == number and abs(number) != float("inf")]
    if not finite or max(map(len, sampled)) < 2:
        return ""
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    drawn = "".join(
        _line(line, low, span, colour) for line, colour in zip(sampled, line_colours(len(sampled)), strict=True)
    )
    return (
        f'<div class="curves" role="img" aria-label="{escape(alt)}">'
        f'<span class="ends"><span>{render.format_number(high)}</span><span>{render.format_number(low)}</span></span>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg></div>'
    )


def _line(numbers: Sequence[float], low: float, span: float, colour: str) -> str:
    step = (WIDTH - 2 * LEFT) / max(1, len(numbers) - 1)
    points = " ".join(
        f"{LEFT + index * step:.1f},{TOP + (HEIGHT - 2 * TOP) * (1 - (number - low) / span):.1f}"
        for index, number in enumerate(numbers)
        if number == number and abs(number) != float("inf")
    )
    return f'<polyline points="{points}" stroke="{colour}"/>'
