"""Drawing a recommendation: the lenses that fit, then those that do not, each with a reason."""

from collections.abc import Sequence

from convscope.render.canvas import BODY, MARGIN, SMALL, TITLE, Canvas
from convscope.render.rendered_picture import Picture
from convscope.values import Advice, Recommendation

WIDTH, NAME_WIDTH = 980, 270


def draw_recommendation(recommendation: Recommendation, *, theme: str = "light") -> Picture:
    """The picture of a recommendation; ``theme`` is ``light`` or ``dark``."""
    canvas = Canvas(theme)
    canvas.width = WIDTH
    canvas.paragraph(f"To ask {recommendation.question}", size=TITLE, bold=True)
    fitting = [advice for advice in recommendation.lenses if advice.fits]
    others = [advice for advice in recommendation.lenses if not advice.fits]
    for title, advices in (
        ("These lenses fit, the most informative and cheapest first", fitting),
        ("These do not", others),
    ):
        if advices:
            canvas.y += 14
            canvas.paragraph(title, size=BODY, bold=True)
            _draw_list(canvas, advices)
    return canvas.to_picture(str(recommendation))


def _draw_list(canvas: Canvas, advices: Sequence[Advice]) -> None:
    for advice in advices:
        canvas.text(MARGIN, canvas.y, advice.title, size=SMALL)
        style = {"size": SMALL, "colour": canvas.theme.faint, "width": WIDTH - NAME_WIDTH - 2 * MARGIN}
        canvas.y += canvas.text(MARGIN + NAME_WIDTH, canvas.y, advice.why, **style) + 4  # type: ignore[arg-type]
