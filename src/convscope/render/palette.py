"""The two colour scales and the two themes as data; all colours of pictures are defined here.

Signed maps have a diverging scale: cool colours are negative (against the target), warm colours positive (for it). In
both halves lightness decreases and chroma increases by the same steps in OKLCH, so that neither sign looks stronger
than it is, and no two colours differ in red against green only. Unsigned maps have a sequential scale, dark to bright.

Each scale is defined as *ink on a background*: a colour and an opacity for every step, fully transparent at zero. Over
the background of the scale the inks give its opaque colours exactly; over a photo the same inks give the overlay.
"""

import colorsys
import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_COOL_COLOURS = (
    "1a4fb7 185bc3 1566d0 0f72dc 047ee8 098af2 0797fc 2ca3fe 46b0ff 5fbbff 76c6fe 8cd1ff a2dbff b9e5ff d0eeff e7f7ff"
)
_WARM_COLOURS = (
    "fff1e7 fee3d0 fdd4ba fcc5a4 fab68f f8a77b f69766 f38650 ef753b eb6325 df571e d54913 c83e10 bc330d af2709 a31906"
)
_DARK_COLOURS = "000000 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754"
_BRIGHT_COLOURS = "d24644 e45a31 f1731d f98e09 fcac11 f9cb35 f2ea69 fcffa4"

SCALES = {True: f"{_COOL_COLOURS} ffffff {_WARM_COLOURS}".split(), False: f"{_DARK_COLOURS} {_BRIGHT_COLOURS}".split()}
"""Opaque colours from the low end to the high end, for signed and for unsigned (matplotlib's inferno) maps."""

BACKGROUNDS = {True: (255, 255, 255), False: (0, 0, 0)}
"""The background colour of signed and unsigned scales, which is the colour of zero."""

PHOTO_WEIGHT = 0.5
"""The weight of the photo, in grey, under an overlay; the rest is the background of the scale."""

OPACITY = 0.85
"""The opacity of the strongest ink of an overlay, below 1 so that the photo is visible everywhere."""


@functools.cache
def ink_colours(signed: bool) -> Pixels:
    """The scale as 255 (signed, zero in the middle) or 256 RGBA inks from the low end to the high end."""
    colours = opaque_colours(signed).astype(float)
    background = np.array(BACKGROUNDS[signed], float)
    headroom = np.where(colours < background, background, 255 - background)
    opacity = (np.abs(colours - background) / np.maximum(headroom, 1)).max(1, keepdims=True)
    colour = background + (colours - background) / np.maximum(opacity, 1e-9)
    result = np.concatenate([colour, 255 * opacity], 1).round().clip(0, 255).astype(np.uint8)
    result.setflags(write=False)
    return result


@functools.cache
def opaque_colours(signed: bool) -> Pixels:
    """The scale as 255 or 256 opaque RGB colours."""
    anchors = np.array([[int(colour[i : i + 2], 16) for i in (0, 2, 4)] for colour in SCALES[signed]])
    positions = np.linspace(0, len(anchors) - 1, 255 if signed else 256)
    columns = [np.interp(positions, np.arange(len(anchors)), channel) for channel in anchors.T]
    result = np.stack(columns, 1).round().astype(np.uint8)
    result.setflags(write=False)
    return result


LINE_COLOURS = ("3d78c2", "d9722e", "3f9a5b", "b04a8c", "8a6bbf", "8c7a2c", "2f9aa8", "a3443c")
"""Line colours that are distinct on light and dark pages and for most forms of colour blindness."""


def line_colours(count: int) -> list[str]:
    """A colour for each line; the colours repeat if there are more lines than colours."""
    return [f"#{LINE_COLOURS[index % len(LINE_COLOURS)]}" for index in range(count)]


def class_colours(count: int) -> list[str]:
    """A colour for each class, distinct also where there are more classes than line colours."""
    further = (colorsys.hls_to_rgb(0.1 + 0.618034 * index % 1, 0.5, 0.55) for index in range(count - len(LINE_COLOURS)))
    return [
        *line_colours(min(count, len(LINE_COLOURS))),
        *("#" + bytes(round(255 * c) for c in rgb).hex() for rgb in further),
    ]


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
    """The background behind pages and boxes."""

    def tint(self, share: float) -> str:
        """A mixture of the page's and the accent's colour, for a share from 0 to 1."""
        ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (self.page, self.accent)]
        channels = [round(a + 0.45 * share * (b - a)) for a, b in zip(*ends, strict=True)]
        return "#" + "".join(f"{channel:02x}" for channel in channels)


THEMES = {
    "light": Theme("#ffffff", "#1a1d24", "#5b6270", "#c9ced6", "#a3470a", "#3d5a80", "#e9ecf1", "#f4f5f7"),
    "dark": Theme("#15181e", "#eceff4", "#a2abb9", "#3b424e", "#ffb066", "#8fb3e0", "#262c36", "#0d0f13"),
}


def scale_gradients() -> str:
    """The scales as CSS: backgrounds of elements of class ``bar`` inside those of class ``signed`` or ``unsigned``."""
    kinds = {"signed": SCALES[True], "unsigned": SCALES[False]}
    colours = {kind: ", ".join(f"#{step}" for step in steps) for kind, steps in kinds.items()}
    return " ".join(f".{kind} .bar {{background: linear-gradient(to right, {colours[kind]})}}" for kind in kinds)
