"""A sheet of text, pixels and shapes, laid out from the top in pixels and drawn by matplotlib's object interface.

Coordinates are pixels from the top left, so that small inputs stay whole multiples of their pixels. Nothing global is
touched (no pyplot, no rcParams for text), so sheets may be drawn in several threads. Text is never markup: a label
such as ``$x$`` is drawn as it is written; a character that no font here has becomes a box, and a line says so.
"""

import bisect
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.text import Text
from matplotlib.transforms import IdentityTransform

from convscope.errors import ParameterError
from convscope.render import letters
from convscope.render.palette import THEMES, Pixels, Theme
from convscope.render.picture import DPI, Picture

TITLE, BODY, SMALL = 25, 17, 14
"""The type scale, in pixels."""

MARGIN, GAP = 36, 20

Anchor = Literal["left", "center", "right"]


class Sheet:
    """What will be drawn: things are placed first, the height is known at the end.

    On a ``bare`` sheet a page writes title, reading line and notes itself.
    """

    def __init__(self, theme: str, width: int = 0, *, bare: bool = False) -> None:
        if theme not in THEMES:
            raise ParameterError(f"theme must be {' or '.join(THEMES)}, got {theme!r}")
        self.theme: Theme = THEMES[theme]
        self.width, self.bare = width, bare
        self.y = float(MARGIN)
        self._things: list[Callable[[Figure, float], Artist]] = []
        self._lacking: dict[str, None] = {}  # characters that no font has, in the order met

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = BODY,
        colour: str = "",
        bold: bool = False,
        anchor: Anchor = "left",
        width: float | None = None,
    ) -> float:
        """Write ``words`` with their top at ``y``, in lines of at most ``width``; the height they take."""
        lines = self._lines(words, size, bold, width)
        for number, line in enumerate(lines):
            self._line_of_text(x, y + (number * 1.4 + 1.05) * size, line, size, colour or self.theme.text, bold, anchor)
        return 1.4 * size * len(lines)

    def paragraph(self, words: str, **look: Any) -> None:
        """Write ``words`` over the whole width at the cursor and move it down."""
        self.y += self.text(MARGIN, self.y, words, width=self.width - 2 * MARGIN, **look)

    def image(self, x: float, y: float, pixels: Pixels, *, frame: bool = True) -> None:
        """Put pixels with their top left corner at (x, y), one for one."""
        height, width = pixels.shape[:2]
        x, y = round(x), round(y)
        if frame:
            self.box(x - 1, y - 1, width + 2, height + 2, fill=self.theme.line)

        def add(figure: Figure, total: float) -> Artist:
            return figure.figimage(pixels, x, round(total) - y - height, origin="upper")

        self._things.append(add)

    def box(self, x: float, y: float, width: float, height: float, *, fill: str = "none", edge: str = "none") -> None:
        """Draw a rectangle with its top left corner at (x, y)."""

        def add(figure: Figure, total: float) -> Artist:
            place = (x, total - y - height)
            return figure.add_artist(
                Rectangle(
                    place, width, height, facecolor=fill, edgecolor=edge, linewidth=1, transform=IdentityTransform()
                )
            )

        self._things.append(add)

    def line(self, xs: Sequence[float], ys: Sequence[float], *, colour: str, width: float = 1.5) -> None:
        """Draw a line through points."""

        def add(figure: Figure, total: float) -> Artist:
            heights = total - np.asarray(ys, float)
            return figure.add_artist(Line2D(xs, heights, color=colour, linewidth=width, transform=IdentityTransform()))

        self._things.append(add)

    def polygon(self, xs: Sequence[float], ys: Sequence[float], *, fill: str) -> None:
        """Fill the shape between points."""

        def add(figure: Figure, total: float) -> Artist:
            corners = np.stack([np.asarray(xs, float), total - np.asarray(ys, float)], 1)
            return figure.add_artist(
                Polygon(corners, closed=True, facecolor=fill, edgecolor="none", transform=IdentityTransform())
            )

        self._things.append(add)

    def height(self, words: str, width: float, *, size: int = BODY, bold: bool = False) -> float:
        """How tall ``words`` are in lines of at most ``width``."""
        return 1.4 * size * len(self._lines(words, size, bold, width))

    def extent(self, words: str, size: int = BODY, bold: bool = False) -> float:
        """How wide ``words`` are on one line."""
        stretches = letters.runs(letters.drawable(words), bold) or [(letters.regular(bold), "")]
        return sum(_advance(path, part, size) for path, part in stretches[:-1]) + _ink(*stretches[-1], size)

    def shortened(self, words: str, width: float, *, size: int = SMALL, bold: bool = False) -> str:
        """``words`` on one line of at most ``width``: where they are longer, without their middle.

        Both ends stay, since addresses and labels that are alike differ at either.
        """

        def cut(kept: int) -> str:
            return f"{words[: (kept + 1) // 2]}…{words[len(words) - kept // 2 :]}"

        if self.extent(words, size, bold) <= width:
            return words
        fitting = bisect.bisect_left(
            range(1, len(words)), True, key=lambda kept: self.extent(cut(kept), size, bold) > width
        )
        return cut(fitting)

    def picture(self, alt: str) -> Picture:
        """Everything as a picture, with a margin below the cursor.

        Args:
            alt: what it shows, in words.
        """
        if self._lacking:
            lacking, self._lacking = self._lacking, {}
            self.y += 8
            self.paragraph(f"⚠ {letters.advice(lacking)}", size=SMALL, colour=self.theme.warning, bold=True)
        canvas: Any = FigureCanvasAgg(self._figure())
        canvas.draw()
        return Picture(np.array(canvas.buffer_rgba(), np.uint8)[..., :3], alt, self._figure)

    def _figure(self) -> Figure:
        """Everything placed in a figure, from which any of matplotlib's canvases draws."""
        height = round(self.y + MARGIN)
        figure = Figure(figsize=(self.width / DPI, height / DPI), dpi=DPI, facecolor=self.theme.page)
        for order, add in enumerate(self._things):
            add(figure, height).set_zorder(order)  # what is placed later lies on top
        return figure

    def _line_of_text(
        self, x: float, baseline: float, line: str, size: int, colour: str, bold: bool, anchor: Anchor
    ) -> None:
        stretches = letters.runs(line, bold)
        if len(stretches) > 1:  # each in its own font, one behind the other
            x -= {"left": 0.0, "center": 0.5, "right": 1.0}[anchor] * self.extent(line, size, bold)
            anchor = "left"
        for path, part in stretches:
            self._things.append(_written(x, baseline, part, FontProperties(fname=path, size=size), colour, anchor))
            x += _advance(path, part, size)

    def _lines(self, words: str, size: int, bold: bool, width: float | None) -> list[str]:
        """The words in lines of at most ``width``."""
        self._lacking.update(dict.fromkeys(letters.missing(words)))
        words = letters.drawable(words)
        if width is None:
            return [words]
        lines: list[str] = []
        for word in _breakable(words, lambda part: self.extent(part, size, bold) <= width):
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and self.extent(longer, size, bold) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines or [""]


def _breakable(words: str, fits: Callable[[str], bool]) -> list[str]:
    """The words of a text; one that is wider than a line (a path, a layer's address) is cut to fit."""
    found = []
    for word in words.split():
        while len(word) > 1 and not fits(word):
            length = _fitting(word, fits)
            found.append(word[:length])
            word = word[length:]
        found.append(word)
    return found


def _fitting(word: str, fits: Callable[[str], bool]) -> int:
    """How many characters of a word that is too long go on one line, at least one."""

    def too_long(length: int) -> bool:
        return not fits(word[:length])

    return max(1, bisect.bisect_left(range(1, len(word)), True, key=too_long))


def _written(
    x: float, baseline: float, line: str, font: FontProperties, colour: str, anchor: Anchor
) -> Callable[[Figure, float], Artist]:
    def add(figure: Figure, total: float) -> Artist:
        look: dict[str, Any] = {"color": colour, "ha": anchor, "va": "baseline", "fontproperties": font}
        return figure.add_artist(
            Text(x, total - baseline, line, transform=IdentityTransform(), parse_math=False, usetex=False, **look)
        )

    return add


def _ink(path: str, line: str, size: int) -> float:
    """How wide a line is from the first to the last drop of ink."""
    font = get_font(path)
    font.set_size(size, DPI)
    font.set_text(line)
    return float(font.get_width_height()[0] / 64)


@functools.lru_cache(4096)
def _advance(path: str, line: str, size: int) -> float:
    """How far behind the beginning of a line the next character stands."""
    font = get_font(path)
    font.set_size(size, DPI)
    return sum(font.load_char(ord(character)).linearHoriAdvance / 65536 for character in line)
