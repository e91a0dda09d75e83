"""The two scales of colour and the two themes, as data: the only place where colours of pictures are decided.

Signed maps have one diverging scale: cool speaks against, warm speaks for, and both arms lose lightness and gain
chroma alike (equal steps in OKLCH), so that neither side looks stronger than it is and no pair of colours relies on
telling red from green. Unsigned maps have one sequential scale, dark to bright.

Each scale is *ink on a ground*: a colour and an opacity for every step, nothing at all at zero. On its ground the ink
gives the scale's opaque colours exactly; on a photo the same ink is the overlay. One layer serves both.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_COOL = (
    "1a4fb7 185bc3 1566d0 0f72dc 047ee8 098af2 0797fc 2ca3fe 46b0ff 5fbbff 76c6fe 8cd1ff a2dbff b9e5ff d0eeff e7f7ff"
)
_WARM = (
    "fff1e7 fee3d0 fdd4ba fcc5a4 fab68f f8a77b f69766 f38650 ef753b eb6325 df571e d54913 c83e10 bc330d af2709 a31906"
)
_DARK = "000000 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754"
_BRIGHT = "d24644 e45a31 f1731d f98e09 fcac11 f9cb35 f2ea69 fcffa4"

SCALES = {True: f"{_COOL} ffffff {_WARM}".split(), False: f"{_DARK} {_BRIGHT}".split()}
"""The opaque colours from the low end to the high end, for signed and for unsigned (matplotlib's inferno) maps."""

GROUNDS = {True: (255, 255, 255), False: (0, 0, 0)}
"""What zero looks like."""

FADED = 0.5
"""How much of the photo, in grey, remains under an overlay; the rest is the scale's ground."""

OPACITY = 0.85
"""How opaque the strongest ink of an overlay is, so that the photo shows through everywhere."""


@functools.cache
def inks(signed: bool) -> Pixels:
    """The scale as 255 (signed, zero in the middle) or 256 inks from the low end to the high end, RGBA."""
    colours = opaque(signed).astype(float)
    zero = np.array(GROUNDS[signed], float)
    room = np.where(colours < zero, zero, 255 - zero)
    opacity = (np.abs(colours - zero) / np.maximum(room, 1)).max(1, keepdims=True)
    ink = zero + (colours - zero) / np.maximum(opacity, 1e-9)
    found = np.concatenate([ink, 255 * opacity], 1).round().clip(0, 255).astype(np.uint8)
    found.setflags(write=False)
    return found


@functools.cache
def opaque(signed: bool) -> Pixels:
    """The scale as 255 or 256 opaque colours, RGB."""
    anchors = np.array([[int(colour[i : i + 2], 16) for i in (0, 2, 4)] for colour in SCALES[signed]])
    places = np.linspace(0, len(anchors) - 1, 255 if signed else 256)
    columns = [np.interp(places, np.arange(len(anchors)), channel) for channel in anchors.T]
    found = np.stack(columns, 1).round().astype(np.uint8)
    found.setflags(write=False)
    return found


LINES = ("3d78c2", "d9722e", "3f9a5b", "b04a8c", "8a6bbf", "8c7a2c", "2f9aa8", "a3443c")
"""Colours of lines that stand apart on a light and on a dark page, also for most who cannot tell red from green."""


def line_colours(count: int) -> list[str]:
    """A colour for each of several lines, over again where they are many."""
    return [f"#{LINES[place % len(LINES)]}" for place in range(count)]


@dataclass(frozen=True)
class Theme:
    """The colours around a map; the scales themselves are the same on a light and on a dark page."""

    page: str
    text: str
    faint: str
    line: str
    warning: str
    accent: str
    track: str
    behind: str
    """The desk on which pages lie, where a surface shows several."""

    def tint(self, share: float) -> str:
        """The page's colour on its way to the accent's, for a share from 0 to 1."""
        ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (self.page, self.accent)]
        mixed = [round(a + 0.45 * share * (b - a)) for a, b in zip(*ends, strict=True)]
        return "#" + "".join(f"{part:02x}" for part in mixed)


THEMES = {
    "light": Theme("#ffffff", "#1a1d24", "#5b6270", "#c9ced6", "#a3470a", "#3d5a80", "#e9ecf1", "#f4f5f7"),
    "dark": Theme("#15181e", "#eceff4", "#a2abb9", "#3b424e", "#ffb066", "#8fb3e0", "#262c36", "#0d0f13"),
}
