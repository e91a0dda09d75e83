"""What a canvas holds: text, pixels and shapes at positions in pixels from the top left corner, in drawing order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from convscope.render.palette import Pixels

Anchor = Literal["left", "center", "right"]


@dataclass(frozen=True)
class TextRun:
    """Words on one line in one font; ``x`` is where they begin, have their middle or end, as ``anchor`` says."""

    x: float
    baseline: float
    words: str
    font: str
    size: int
    colour: str
    anchor: Anchor


@dataclass(frozen=True, eq=False)
class PlacedPixels:
    """Pixels, unscaled, with their top left corner at (x, y)."""

    x: int
    y: int
    pixels: Pixels


@dataclass(frozen=True)
class Box:
    """A rectangle with its top left corner at (x, y); ``none`` stands for no colour."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    edge: str


@dataclass(frozen=True)
class Line:
    """A line through points."""

    xs: Sequence[float]
    ys: Sequence[float]
    colour: str
    width: float


@dataclass(frozen=True)
class Polygon:
    """A filled polygon with these corners."""

    xs: Sequence[float]
    ys: Sequence[float]
    fill: str


Shape = TextRun | PlacedPixels | Box | Line | Polygon
