"""Drawing what a network answers: the input, and a row for each class or box with a bar for its share or score."""

from collections.abc import Sequence
from dataclasses import replace

from convscope.render import captions
from convscope.render.answers import TopClass, alt_of_answer, answers
from convscope.render.canvas import GAP, MARGIN, SMALL, TITLE, Canvas
from convscope.render.panel import Panel
from convscope.render.panels import input_panel
from convscope.render.rendered_picture import Picture
from convscope.values import Prediction, Value

PANEL_SIDE, BARS_WIDTH = 320, 560
BAR_HEIGHT, BAR_SPACING = 14, 16
_SWATCH = 14
"""The side of the square in which the colour of a row is shown."""


def draw_prediction(prediction: Prediction, *, theme: str = "light") -> Picture:
    """The picture of a prediction; ``theme`` is ``light`` or ``dark``."""
    panel = input_panel(prediction, PANEL_SIDE)
    return draw_answer(prediction, [] if panel is None else [panel], theme)


def draw_answer(value: Value, panels: Sequence[Panel], theme: str, *, bare: bool = False) -> Picture:
    """The picture of an answer: panels side by side, a row for each class or box, and the text around them.

    Args:
        bare: draw the last panel alone.
    """
    if bare and panels:
        canvas = Canvas(theme, bare=True)
        canvas.width, canvas.y = panels[-1].width, panels[-1].height
        panels[-1].draw(canvas, 0, 0)
        picture = canvas.to_picture(alt_of_answer(value))
        return replace(picture, pixels=picture.pixels[: panels[-1].height])
    canvas = Canvas(theme)
    panels_width = sum(panel.width + 2 * GAP for panel in panels)
    canvas.width = 2 * MARGIN + panels_width + BARS_WIDTH
    canvas.paragraph(captions.title(value), size=TITLE, bold=True)
    canvas.y += 4
    canvas.paragraph(captions.source(value), size=SMALL, colour=canvas.theme.faint)
    canvas.y += 14
    x = float(MARGIN)
    for panel in panels:
        panel.draw(canvas, x, canvas.y)
        x += panel.width + 2 * GAP
    heights = [panel.height + panel.axis_height for panel in panels]
    canvas.y += max([_draw_rows(canvas, x, canvas.y, answers(value)), *heights]) + 16
    for note in captions.notes(value):
        mark, colour = ("⚠ ", canvas.theme.warning) if note.warning else ("", canvas.theme.faint)
        canvas.paragraph(mark + value.record.adapt_wording(note.text), colour=colour, bold=note.warning)
    canvas.paragraph(value.record.adapt_wording(value.record.reads))
    return canvas.to_picture(alt_of_answer(value))


def _draw_rows(canvas: Canvas, x: float, y: float, rows: Sequence[TopClass]) -> float:
    """Draw the rows, the name of each above its bar; returns the height."""
    top = y
    for row in rows:
        bold, indent = row.is_predicted, _SWATCH + 8 if row.colour else 0
        if row.colour:
            canvas.box(x, top + 4, _SWATCH, _SWATCH, fill=row.colour, edge=canvas.theme.line)
        canvas.text(x + BARS_WIDTH, top, row.value_text, bold=bold, anchor="right")
        top += canvas.text(x + indent, top, row.name, bold=bold, width=BARS_WIDTH - 90 - indent) + 2
        if row.share is not None:
            canvas.box(x, top, BARS_WIDTH, BAR_HEIGHT, fill=canvas.theme.track)
            canvas.box(x, top, BARS_WIDTH * min(1.0, max(0.0, row.share)), BAR_HEIGHT, fill=canvas.theme.accent)
            top += BAR_HEIGHT
        top += BAR_SPACING
    return top - y
