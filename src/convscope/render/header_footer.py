"""The header of a picture of any kind (title and source) and its footer (warnings, the reading line, notes).

On a bare canvas the page writes these itself; only the lines that explain the marks of the drawing are drawn.
"""

from collections.abc import Sequence

from convscope.render import captions
from convscope.render.canvas import BODY, SMALL, TITLE, Canvas
from convscope.render.scale import Scale
from convscope.values import Value


def draw_header(canvas: Canvas, value: Value, *, title: str = "", facts: str = "") -> None:
    """Draw the title and the source of the value.

    Args:
        title: in place of the title of the value.
        facts: in place of the source; also drawn on a bare canvas.
    """
    if not canvas.bare:
        canvas.paragraph(title or captions.title(value), size=TITLE, bold=True)
        canvas.y += 4
    text = facts or ("" if canvas.bare else captions.source(value))
    if text:
        canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)
    canvas.y += 0 if canvas.bare and not text else 14


def draw_footer(canvas: Canvas, value: Value, *, keys: Sequence[str] = (), scale: Scale | None = None) -> None:
    """Draw the warnings, the reading line, the meaning of the marks and the notes.

    Args:
        keys: sentences that explain the marks of the drawing; also drawn on a bare canvas.
        scale: the colour scale of the picture, about which there may be notes.
    """
    notes = [] if canvas.bare else captions.notes(value, scale)
    for note in (note for note in notes if note.warning):
        canvas.paragraph(f"⚠ {value.record.adapt_wording(note.text)}", colour=canvas.theme.warning, bold=True)
        canvas.y += 4
    if value.record.reads and not canvas.bare:
        canvas.paragraph(value.record.adapt_wording(value.record.reads), size=BODY)
        canvas.y += 4
    for text in (*keys, *(value.record.adapt_wording(note.text) for note in notes if not note.warning)):
        canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)
