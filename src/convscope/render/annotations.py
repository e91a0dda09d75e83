"""What stands above and below a picture of any kind: title and source; warnings, how to read it, notes.

On a bare sheet a page writes these itself; only what explains the drawing's own marks stays.
"""

from collections.abc import Sequence

from convscope.render import captions
from convscope.render.canvas import BODY, SMALL, TITLE, Sheet
from convscope.render.scale import Scale
from convscope.values import Value


def above(sheet: Sheet, value: Value, *, title: str = "", facts: str = "") -> None:
    """Title, and where the value comes from; ``facts`` take its place and stay on a bare sheet."""
    if not sheet.bare:
        sheet.paragraph(title or captions.title(value), size=TITLE, bold=True)
        sheet.y += 4
    said = facts or ("" if sheet.bare else captions.source(value))
    if said:
        sheet.paragraph(said, size=SMALL, colour=sheet.theme.faint)
    sheet.y += 0 if sheet.bare and not said else 14


def below(sheet: Sheet, value: Value, *, keys: Sequence[str] = (), scale: Scale | None = None) -> None:
    """Warnings, how to read the picture, what its marks mean, and notes."""
    said = [] if sheet.bare else captions.notes(value, scale)
    for note in (note for note in said if note.warning):
        sheet.paragraph(f"⚠ {value.record.worded(note.text)}", colour=sheet.theme.warning, bold=True)
        sheet.y += 4
    if value.record.reads and not sheet.bare:
        sheet.paragraph(value.record.worded(value.record.reads), size=BODY)
        sheet.y += 4
    for text in (*keys, *(value.record.worded(note.text) for note in said if not note.warning)):
        sheet.paragraph(text, size=SMALL, colour=sheet.theme.faint)
