"""Maps and filters one by one, for surfaces that lay them out themselves: a tile of pixels each, on one scale."""

import io
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from convscope.render import mosaic
from convscope.render.cells import hexed, readable
from convscope.render.kernels import filters, pattern_scale, slices
from convscope.render.palette import Pixels, inks
from convscope.render.raster import png
from convscope.render.scale import Legend, Numbers, Scale, legend_of
from convscope.values import FeatureMaps, Kernels


@dataclass(frozen=True, eq=False)
class Mapped:
    """The maps of one layer on one scale.

    Attributes:
        channels: their numbers, the strongest first; ``maps`` the numbers themselves, of one to three axes each.
    """

    channels: tuple[int, ...]
    maps: Numbers
    scale: Scale

    @property
    def legend(self) -> Legend:
        """The colour bar of all of them."""
        return legend_of(self.scale)

    def tile(self, place: int) -> bytes:
        """One map in opaque colours, one pixel a number, as a PNG."""
        return png(mosaic.coloured(_plane(self.maps[place]), self.scale))

    def ink(self, place: int) -> bytes:
        """One map in inks that are transparent at zero, to lie over a photo, as a PNG."""
        return _png(inks(self.scale.signed)[self.scale.steps(_plane(self.maps[place]))])

    def shape(self) -> tuple[int, ...]:
        """The rows and columns of a tile."""
        return _plane(self.maps[0]).shape


def mapped(value: FeatureMaps, address: str) -> Mapped:
    """The maps of one layer, ready to be shown one by one."""
    maps = np.asarray(value.maps[address], np.float32)
    ends = ("negative", "positive") if bool((maps < 0).any()) else ("none", "strong")
    return Mapped(value.channels[address], maps, mosaic.scale_for(maps, ends))


def filter_tiles(
    value: Kernels, address: str, chosen: Collection[int] | None = None, side: int = 96
) -> list[tuple[int, bytes]]:
    """The filters of one layer by number, each as a PNG; with ``chosen`` only those of these numbers."""
    drawn = filters(value, address, side, chosen)
    return [(number, png(np.ascontiguousarray(pixels))) for number, pixels in drawn]


def slice_tiles(value: Kernels, address: str, number: int) -> tuple[list[tuple[int, bytes]], Legend]:
    """The strongest kernels of one filter by input channel, each as a PNG, and their colour bar."""
    drawn, scale = slices(value, address, number)
    return [(channel, png(np.ascontiguousarray(pixels))) for channel, pixels in drawn], legend_of(scale)


def kernel_legend(value: Kernels, address: str) -> Legend | None:
    """The colour bar of the filters of a layer; None where they are in colour, or each on a scale of its own."""
    layer = value.layers[address]
    if layer.view == "colour" or value.scale == "each":
        return None
    return legend_of(pattern_scale(layer, np.asarray(value.patterns[address], np.float32)))


def picture_png(pixels: Any) -> bytes:
    """Pixels (height, width, 3) of a photo as a PNG."""
    return png(np.ascontiguousarray(np.asarray(pixels), np.uint8))


def _plane(values: Numbers) -> Numbers:
    """A map as rows and columns: of a volume the plane through its strongest place."""
    if values.ndim < 2:
        return values.reshape(1, -1)
    if values.ndim == 2:
        return values
    depth = int(np.unravel_index(int(np.abs(values).argmax()), values.shape)[0])
    plane: Numbers = values[depth]
    return plane


def _png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def cell_colours(values: Numbers, limit: float) -> list[list[tuple[str, str]]]:
    """For every number of a matrix its colour on the signed scale, and black or white, whichever is read on it."""
    pixels = mosaic.coloured(np.asarray(values, np.float32), Scale(limit, signed=True, peak=limit))
    return [[(hexed(pixel), readable(pixel)) for pixel in row] for row in pixels]
