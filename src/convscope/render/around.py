"""What stands above and below a picture of any kind: title and source; warnings, how to read it, notes."""

from convscope.render import words
from convscope.render.sheet import SMALL, TITLE, Sheet
from convscope.values import Value


def above(sheet: Sheet, value: Value, *, title: str = "", source: str = "") -> None:
    """Title and where the value comes from."""
    sheet.paragraph(title or words.title(value), size=TITLE, bold=True)
    sheet.y += 4
    said = source or words.source(value)
    if said:
        sheet.paragraph(said, size=SMALL, colour=sheet.theme.faint)
    sheet.y += 14


def below(sheet: Sheet, value: Value) -> None:
    """Warnings, how to read the picture, and notes."""
    said = words.notes(value)
    for note in (note for note in said if note.warning):
        sheet.paragraph(f"⚠ {note.text}", colour=sheet.theme.warning, bold=True)
        sheet.y += 4
    if value.record.reads:
        sheet.paragraph(value.record.reads)
        sheet.y += 4
    for note in (note for note in said if not note.warning):
        sheet.paragraph(note.text, size=SMALL, colour=sheet.theme.faint)
