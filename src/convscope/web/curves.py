"""Lines on a small plot, drawn as SVG while a picture comes about."""

from collections.abc import Sequence
from html import escape

from convscope import render
from convscope.render.palette import line_colours

WIDTH, HEIGHT, TOP, LEFT = 480, 120, 8, 4
MOST = 240
"""Points of a line; of longer ones every so manieth."""


def curves(lines: Sequence[Sequence[float]], alt: str) -> str:
    """Lines over their steps on one scale, its ends written beside them; nothing where no line has two points.

    Args:
        lines: the numbers of each line, step by step.
        alt: what they show, for those who cannot see it.
    """
    kept = [list(line)[:: max(1, len(line) // MOST)] for line in lines]
    told = [number for line in kept for number in line if number == number and abs(number) != float("inf")]
    if not told or max(map(len, kept)) < 2:
        return ""
    low, high = min(told), max(told)
    room = (high - low) or 1.0
    drawn = "".join(_line(line, low, room, colour) for line, colour in zip(kept, line_colours(len(kept)), strict=True))
    return (
        f'<div class="curves" role="img" aria-label="{escape(alt)}">'
        f'<span class="ends"><span>{render.number(high)}</span><span>{render.number(low)}</span></span>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg></div>'
    )


def _line(numbers: Sequence[float], low: float, room: float, colour: str) -> str:
    across = (WIDTH - 2 * LEFT) / max(1, len(numbers) - 1)
    points = " ".join(
        f"{LEFT + place * across:.1f},{TOP + (HEIGHT - 2 * TOP) * (1 - (number - low) / room):.1f}"
        for place, number in enumerate(numbers)
        if number == number and abs(number) != float("inf")
    )
    return f'<polyline points="{points}" stroke="{colour}"/>'
