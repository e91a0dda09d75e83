"""The picture of a `CropScore`: two bars."""

import numpy as np

from convscope.render.canvas import MARGIN, Canvas
from convscope.render.header_footer import draw_footer, draw_header
from convscope.render.rendered_picture import Picture
from crop_lenses.value import CropScore


def draw_crop_score(value: CropScore, *, theme: str = "light", bare: bool = False) -> Picture:
    """A bar for the whole image and one for its part."""
    canvas = Canvas(theme, 480, bare=bare)
    draw_header(canvas, value)
    scores = np.asarray(value.scores)
    longest = float(np.abs(scores).max()) or 1.0
    for title, score in zip(("whole image", "inside the rectangle"), scores.tolist(), strict=True):
        canvas.paragraph(f"{title}: {score:.3f}")
        canvas.box(MARGIN, canvas.y, 400 * abs(score) / longest, 14, fill=canvas.theme.line)
        canvas.y += 20
    draw_footer(canvas, value)
    return canvas.to_picture(value.lines()[0])
