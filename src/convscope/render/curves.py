"""Curves over steps: lines in an axis frame with the few numbers that are needed to read them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convscope.render.palette import line_colours
from convscope.render.scale import number
from convscope.render.sheet import SMALL, Sheet

Curve = NDArray[np.float32]


def draw_curves(
    sheet: Sheet, curves: Sequence[Curve], *, x: float, width: float, height: float, across: str, up: str
) -> float:
    """Lines at the cursor, over their own numbering from 1; the height they take.

    Args:
        across, up: what the axes are, in words.
    """
    sound = np.concatenate([c[np.isfinite(c)] for c in curves]) if len(curves) else np.zeros(0)
    if not sound.size:
        return 0.0
    low, high = float(sound.min()), float(sound.max())
    span = (high - low) or 1.0
    labels = [number(low), number(high)]
    left = x + max(sheet.extent(label, SMALL) for label in labels) + 10
    top, room = sheet.y + 1.6 * SMALL, width - (left - x)
    sheet.text(x, sheet.y - 4, up, size=SMALL, colour=sheet.theme.faint)
    sheet.line([left, left, left + room], [top, top + height, top + height], colour=sheet.theme.line, width=1)
    for label, level in zip(labels, (top + height, top), strict=True):
        sheet.text(left - 8, level - 0.7 * SMALL, label, size=SMALL, anchor="right")
    longest = max(len(curve) for curve in curves)
    for curve, colour in zip(curves, line_colours(len(curves)), strict=True):
        steps = np.flatnonzero(np.isfinite(curve))
        xs = left + steps / max(1, longest - 1) * room
        ys = top + height - (curve[steps] - low) / span * height
        sheet.line(xs.tolist(), ys.tolist(), colour=colour, width=1.6)
    below = top + height + 6
    sheet.text(left, below, "1", size=SMALL)
    sheet.text(left + room, below, f"{longest} {across}", size=SMALL, anchor="right")
    return below + 1.4 * SMALL - sheet.y
