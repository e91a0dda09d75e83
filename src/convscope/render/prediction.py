"""Drawing a prediction: the input and a bar for each of the top classes."""

from convscope.render import captions
from convscope.render.canvas import GAP, MARGIN, SMALL, TITLE, Canvas
from convscope.render.panels import input_panel
from convscope.render.rendered_picture import Picture
from convscope.values import Prediction

PANEL_SIDE, BARS_WIDTH = 320, 560
BAR_HEIGHT, BAR_SPACING = 14, 16


def draw_prediction(prediction: Prediction, *, theme: str = "light") -> Picture:
    """The picture of a prediction; ``theme`` is ``light`` or ``dark``."""
    canvas = Canvas(theme)
    panel = input_panel(prediction, PANEL_SIDE)
    panel_width = 0 if panel is None else panel.width + 2 * GAP
    canvas.width = 2 * MARGIN + panel_width + BARS_WIDTH
    canvas.paragraph(captions.title(prediction), size=TITLE, bold=True)
    canvas.y += 4
    canvas.paragraph(captions.source(prediction), size=SMALL, colour=canvas.theme.faint)
    canvas.y += 14
    if panel is not None:
        panel.draw(canvas, MARGIN, canvas.y)
    height = max(
        _draw_bars(canvas, MARGIN + panel_width, canvas.y, prediction),
        0 if panel is None else panel.height + panel.axis_height,
    )
    canvas.y += height + 16
    for note in captions.notes(prediction):
        mark, colour = ("⚠ ", canvas.theme.warning) if note.warning else ("", canvas.theme.faint)
        canvas.paragraph(mark + prediction.record.adapt_wording(note.text), colour=colour, bold=note.warning)
    canvas.paragraph(prediction.record.adapt_wording(prediction.record.reads))
    return canvas.to_picture(captions.alt_of_prediction(prediction))


def _draw_bars(canvas: Canvas, x: float, y: float, prediction: Prediction) -> float:
    """Draw one row per class, its name above a bar from 0 to 100 % if there are confidences; returns the height."""
    top = y
    for row, top_class in enumerate(captions.top_classes(prediction)):
        canvas.text(x + BARS_WIDTH, top, top_class.value_text, bold=row == 0, anchor="right")
        top += canvas.text(x, top, top_class.name, bold=row == 0, width=BARS_WIDTH - 90) + 2
        if top_class.share is not None:
            canvas.box(x, top, BARS_WIDTH, BAR_HEIGHT, fill=canvas.theme.track)
            canvas.box(x, top, BARS_WIDTH * min(1.0, max(0.0, top_class.share)), BAR_HEIGHT, fill=canvas.theme.accent)
            top += BAR_HEIGHT
        top += BAR_SPACING
    return top - y
