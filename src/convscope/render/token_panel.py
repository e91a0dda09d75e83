"""A map over a sequence of tokens: the tokens as text, each on the colour of its number."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from convscope.render.canvas import BODY, Canvas
from convscope.render.palette import opaque_colours
from convscope.render.panel import Panel
from convscope.render.scale import Numbers, Scale, format_number, map_values
from convscope.values import Attribution, Value

_LINE, _CELL, _BLANK = 46, 30, 5
"""The height of a line of tokens and of the cell of a token, and the gap between two cells, in pixels."""
_MIN_HEIGHT, _MIN_WIDTH = 140, 320
"""The smallest panel: high enough for the colour bar beside it, and wide enough for its caption."""
_NUMBERED = 64
"""Up to this many tokens have their number below them."""
_PLAIN = (255, 255, 255)
"""The colour of a token without a number."""


@dataclass(frozen=True, eq=False)
class TokenPanel(Panel):
    """Tokens in cells, line below line.

    Attributes:
        cells: for each token its text, its number, its colour, and the left and top of its cell with its width.
    """

    cells: tuple[tuple[str, str, tuple[int, int, int], float, float, float], ...] = ()

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw the panel with its top left corner at (x, y)."""
        for text, number, colour, left, top, width in self.cells:
            fill = "#{:02x}{:02x}{:02x}".format(*colour)
            canvas.box(x + left, y + top, width, _CELL, fill=fill, edge=canvas.theme.line)
            ink = "#000000" if 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 130 else "#ffffff"
            canvas.text(x + left + width / 2, y + top + 5, text, size=BODY, colour=ink, anchor="center")
            canvas.text(
                x + left + width / 2, y + top + _CELL + 1, number, size=10, colour=canvas.theme.faint, anchor="center"
            )
        if self.blank:
            self._draw_blank_label(canvas, x + self.width / 2, y + self.height / 2)


def tokens_of(value: Value, count: int | None = None) -> list[str]:
    """The tokens of the input of a value, if it holds any, and so many of them where a ``count`` is given."""
    photo = getattr(value, "photo", None)
    words = np.asarray([] if photo is None else photo)
    fits = words.dtype.kind == "U" and words.ndim == 1 and count in (None, len(words))
    return [str(word) for word in words] if fits else []


def token_panels(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """The tokens of an attribution, coloured by its map; the numbers of their positions if it does not hold them."""
    values = map_values(attribution)
    words = tokens_of(attribution, len(values))
    numbered = ", with its number" if len(values) <= _NUMBERED else ""
    panel = coloured_tokens(words, values, scale, side, f"each token coloured by the map{numbered}")
    return [replace(panel, blank=attribution.blank)]


def coloured_tokens(words: Sequence[str], values: Numbers, scale: Scale, side: int, title: str) -> TokenPanel:
    """Tokens on the colours of their ``values``, each with its number; without ``words`` their positions."""
    numbers = [format_number(float(value)) for value in values] if len(values) <= _NUMBERED else [""] * len(values)
    colours = opaque_colours(scale.signed)[scale.colour_indices(values)]
    return _panel(words or [str(index) for index in range(len(values))], numbers, colours.tolist(), side, title)


def plain_tokens(words: Sequence[str], side: int) -> TokenPanel:
    """Tokens as they are, without a map."""
    return _panel(words, [""] * len(words), [_PLAIN] * len(words), side, "input", line=_CELL + _BLANK, lowest=0)


def _panel(
    words: Sequence[str],
    numbers: Sequence[str],
    colours: Sequence[Sequence[int]],
    side: int,
    title: str,
    line: int = _LINE,
    lowest: int = _MIN_HEIGHT,
) -> TokenPanel:
    """Tokens in lines of at most twice the ``side``, which are ``line`` pixels high; in all at least ``lowest``."""
    measure, width = Canvas("light"), 2 * side
    cells, left, top = [], 0.0, 0.0
    for word, number, colour in zip(words, numbers, colours, strict=True):
        text = measure.shorten(word, width / 2, size=BODY)
        cell_width = max(measure.text_width(text, BODY), measure.text_width(number, 10)) + 14
        if left and left + cell_width > width:
            left, top = 0.0, top + line
        cells.append((text, number, (colour[0], colour[1], colour[2]), left, top, cell_width))
        left += cell_width + _BLANK
    used = max(cell[3] + cell[5] for cell in cells)
    pixels = np.zeros((max(int(top) + line, lowest), max(round(used), _MIN_WIDTH), 3), np.uint8)
    return TokenPanel(title, pixels, cells=tuple(cells))
