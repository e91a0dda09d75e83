"""A canvas of text, pixels and shapes, laid out from the top in pixels.

Coordinates are pixels from the top left corner, so that small inputs can be enlarged by whole factors. Pictures are
drawn with Pillow (pixel_drawing.py), vector files with matplotlib (vector_drawing.py). A character that no installed
font has is drawn as a box, and a line of text says so.
"""

import bisect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from convscope.errors import ParameterError
from convscope.render import font_fallback
from convscope.render.font_metrics import advance_width, ink_width
from convscope.render.palette import THEMES, Pixels, Theme
from convscope.render.pixel_drawing import draw_pixels
from convscope.render.rendered_picture import Picture
from convscope.render.shapes import Anchor, Box, Line, PlacedPixels, Polygon, Shape, TextRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE, BODY, SMALL = 25, 17, 14
"""Font sizes in pixels."""

MARGIN, GAP = 36, 20


class Canvas:
    """A list of things to draw; the height of the picture follows from the cursor ``y`` at the end.

    Args:
        theme: ``light`` or ``dark``.
        width: in pixels; it can be set later.
        bare: the page that shows the picture writes the title, the reading line and the notes itself.
    """

    def __init__(self, theme: str, width: int = 0, *, bare: bool = False) -> None:
        if theme not in THEMES:
            raise ParameterError(f"theme must be {' or '.join(THEMES)}, got {theme!r}")
        self.theme: Theme = THEMES[theme]
        self.width, self.bare = width, bare
        self.y = float(MARGIN)
        self._shapes: list[Shape] = []
        self._missing: dict[str, None] = {}  # characters without a font, in order of occurrence

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
        """Write ``words`` with their top at ``y``, wrapped at ``width``, and return their height."""
        lines = self._wrap(words, size, bold, width)
        for number, line in enumerate(lines):
            self._line_of_text(x, y + (number * 1.4 + 1.05) * size, line, size, colour or self.theme.text, bold, anchor)
        return 1.4 * size * len(lines)

    def paragraph(self, words: str, **style: Any) -> None:
        """Write ``words`` across the whole width at the cursor, and move the cursor below them."""
        self.y += self.text(MARGIN, self.y, words, width=self.width - 2 * MARGIN, **style)

    def image(self, x: float, y: float, pixels: Pixels, *, frame: bool = True) -> None:
        """Draw pixels unscaled with their top left corner at (x, y)."""
        height, width = pixels.shape[:2]
        x, y = round(x), round(y)
        if frame:
            self.box(x - 1, y - 1, width + 2, height + 2, fill=self.theme.line)

        self._shapes.append(PlacedPixels(x, y, pixels))

    def box(self, x: float, y: float, width: float, height: float, *, fill: str = "none", edge: str = "none") -> None:
        """Draw a rectangle with its top left corner at (x, y)."""
        self._shapes.append(Box(x, y, width, height, fill, edge))

    def line(self, xs: Sequence[float], ys: Sequence[float], *, colour: str, width: float = 1.5) -> None:
        """Draw a line through points."""
        self._shapes.append(Line(xs, ys, colour, width))

    def polygon(self, xs: Sequence[float], ys: Sequence[float], *, fill: str) -> None:
        """Draw a filled polygon with these corners."""
        self._shapes.append(Polygon(xs, ys, fill))

    def text_height(self, words: str, width: float, *, size: int = BODY, bold: bool = False) -> float:
        """The height of ``words`` wrapped at ``width``."""
        return 1.4 * size * len(self._wrap(words, size, bold, width))

    def text_width(self, words: str, size: int = BODY, bold: bool = False) -> float:
        """The width of ``words`` on one line."""
        runs = font_fallback.font_runs(font_fallback.replace_missing(words), bold) or [
            (font_fallback.default_font(bold), "")
        ]
        return sum(advance_width(path, run, size) for path, run in runs[:-1]) + ink_width(*runs[-1], size)

    def shorten(self, words: str, width: float, *, size: int = SMALL, bold: bool = False) -> str:
        """Shorten ``words`` in the middle so that they fit on one line of ``width``.

        Both ends are kept, since similar layer addresses and labels can differ at either end.
        """

        def truncate(length: int) -> str:
            return f"{words[: (length + 1) // 2]}…{words[len(words) - length // 2 :]}"

        if self.text_width(words, size, bold) <= width:
            return words
        longest = bisect.bisect_left(
            range(1, len(words)), True, key=lambda length: self.text_width(truncate(length), size, bold) > width
        )
        return truncate(longest)

    def to_picture(self, alt: str) -> Picture:
        """Draw everything into a picture, with a margin below the cursor.

        Args:
            alt: a text that describes the picture.
        """
        if self._missing:
            missing, self._missing = self._missing, {}
            self.y += 8
            self.paragraph(
                f"⚠ {font_fallback.install_advice(missing)}", size=SMALL, colour=self.theme.warning, bold=True
            )
        height = round(self.y + MARGIN)
        pixels = draw_pixels(self._shapes, self.width, height, self.theme.page)
        return Picture(pixels, alt, self._figure)

    def _figure(self) -> "Figure":
        """A figure with everything in it, for vector files."""
        from convscope.render.vector_drawing import to_figure

        return to_figure(self._shapes, self.width, round(self.y + MARGIN), self.theme.page)

    def _line_of_text(
        self, x: float, baseline: float, line: str, size: int, colour: str, bold: bool, anchor: Anchor
    ) -> None:
        runs = font_fallback.font_runs(line, bold)
        if len(runs) > 1:  # draw each run in its own font, one after the other
            x -= {"left": 0.0, "center": 0.5, "right": 1.0}[anchor] * self.text_width(line, size, bold)
            anchor = "left"
        for path, run in runs:
            self._shapes.append(TextRun(x, baseline, run, path, size, colour, anchor))
            x += advance_width(path, run, size)

    def _wrap(self, words: str, size: int, bold: bool, width: float | None) -> list[str]:
        """``words`` wrapped into lines of at most ``width``."""
        self._missing.update(dict.fromkeys(font_fallback.missing_characters(words)))
        words = font_fallback.replace_missing(words)
        if width is None:
            return [words]
        lines: list[str] = []
        for word in _split_words(words, lambda part: self.text_width(part, size, bold) <= width):
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and self.text_width(longer, size, bold) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines or [""]


def _split_words(words: str, fits: Callable[[str], bool]) -> list[str]:
    """The words of a text; a word that is wider than a line (a path, a layer's address) is split."""
    parts = []
    for word in words.split():
        while len(word) > 1 and not fits(word):
            length = _longest_prefix(word, fits)
            parts.append(word[:length])
            word = word[length:]
        parts.append(word)
    return parts


def _longest_prefix(word: str, fits: Callable[[str], bool]) -> int:
    """The number of characters of a too long word that fit on one line, at least one."""

    def too_long(length: int) -> bool:
        return not fits(word[:length])

    return max(1, bisect.bisect_left(range(1, len(word)), True, key=too_long))
