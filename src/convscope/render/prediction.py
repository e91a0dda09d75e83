"""Drawing a prediction: the input and a bar for each of the best classes."""

from convscope.render import captions
from convscope.render.canvas import GAP, MARGIN, SMALL, TITLE, Sheet
from convscope.render.panels import input_panel
from convscope.render.picture import Picture
from convscope.values import Prediction

PANEL, BARS = 320, 560
THICK, BETWEEN = 14, 16


def draw_prediction(prediction: Prediction, *, theme: str = "light") -> Picture:
    """The picture of a prediction; ``theme`` is ``light`` or ``dark``."""
    sheet = Sheet(theme)
    panel = input_panel(prediction, PANEL)
    aside = 0 if panel is None else panel.width + 2 * GAP
    sheet.width = 2 * MARGIN + aside + BARS
    sheet.paragraph(captions.title(prediction), size=TITLE, bold=True)
    sheet.y += 4
    sheet.paragraph(captions.source(prediction), size=SMALL, colour=sheet.theme.faint)
    sheet.y += 14
    if panel is not None:
        panel.draw(sheet, MARGIN, sheet.y)
    tall = max(_bars(sheet, MARGIN + aside, sheet.y, prediction), 0 if panel is None else panel.height + panel.foot)
    sheet.y += tall + 16
    for note in captions.notes(prediction):
        mark, colour = ("⚠ ", sheet.theme.warning) if note.warning else ("", sheet.theme.faint)
        sheet.paragraph(mark + prediction.record.worded(note.text), colour=colour, bold=note.warning)
    sheet.paragraph(prediction.record.worded(prediction.record.reads))
    return sheet.picture(captions.alt_of_prediction(prediction))


def _bars(sheet: Sheet, x: float, y: float, prediction: Prediction) -> float:
    """One row a class: its name over a bar from 0 to 100 %, without a bar where it has no share; the height of all."""
    top = y
    for row, answer in enumerate(captions.answers(prediction)):
        sheet.text(x + BARS, top, answer.said, bold=row == 0, anchor="right")
        top += sheet.text(x, top, answer.name, bold=row == 0, width=BARS - 90) + 2
        if answer.share is not None:
            sheet.box(x, top, BARS, THICK, fill=sheet.theme.track)
            sheet.box(x, top, BARS * min(1.0, max(0.0, answer.share)), THICK, fill=sheet.theme.accent)
            top += THICK
        top += BETWEEN
    return top - y
