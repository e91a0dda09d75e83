"""Drawing a recommendation: what fits on top, what does not below, each with its reason."""

from collections.abc import Sequence

from convscope.render.canvas import BODY, MARGIN, SMALL, TITLE, Sheet
from convscope.render.picture import Picture
from convscope.values import Advice, Recommendation

WIDTH, NAME = 980, 270


def draw_recommendation(recommendation: Recommendation, *, theme: str = "light") -> Picture:
    """The picture of a recommendation; ``theme`` is ``light`` or ``dark``."""
    sheet = Sheet(theme)
    sheet.width = WIDTH
    sheet.paragraph(f"To ask {recommendation.question}", size=TITLE, bold=True)
    fitting = [one for one in recommendation.lenses if one.fits]
    others = [one for one in recommendation.lenses if not one.fits]
    for title, listed in (("These fit, the most telling and cheapest first", fitting), ("These do not", others)):
        if listed:
            sheet.y += 14
            sheet.paragraph(title, size=BODY, bold=True)
            _draw_list(sheet, listed)
    return sheet.picture(str(recommendation))


def _draw_list(sheet: Sheet, listed: Sequence[Advice]) -> None:
    for one in listed:
        sheet.text(MARGIN, sheet.y, one.title, size=SMALL)
        look = {"size": SMALL, "colour": sheet.theme.faint, "width": WIDTH - NAME - 2 * MARGIN}
        sheet.y += sheet.text(MARGIN + NAME, sheet.y, one.why, **look) + 4  # type: ignore[arg-type]
