"""Maps and filters as separate images on a common scale, for pages that do the layout themselves."""

import io
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from convscope.render import tile_grid
from convscope.render.kernels import filter_images, pattern_scale, slice_images
from convscope.render.matrix import hex_colour, readable_text_colour
from convscope.render.palette import Pixels, ink_colours
from convscope.render.raster import png
from convscope.render.scale import Legend, Numbers, Scale, legend_of
from convscope.values import FeatureMaps, Kernels


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """The maps of one layer on a common scale.

    Attributes:
        channels: the indices of the channels, the strongest first.
        maps: one map of one to three axes for each channel.
    """

    channels: tuple[int, ...]
    maps: Numbers
    scale: Scale

    @property
    def legend(self) -> Legend:
        """The colour bar of all maps."""
        return legend_of(self.scale)

    def tile(self, index: int, depth: int | None = None) -> bytes:
        """One map in opaque colours, one pixel per number, as a PNG file.

        Args:
            depth: the slice of a volume; by default the one through its peak.
        """
        return png(tile_grid.colour_pixels(_plane(self.maps[index], depth), self.scale))

    def ink(self, index: int, depth: int | None = None) -> bytes:
        """One map in inks that are transparent at zero, to lie over a photo, as a PNG file."""
        return ink_png(_plane(self.maps[index], depth), self.scale)

    def shape(self) -> tuple[int, ...]:
        """The numbers of rows and columns of a map."""
        return _plane(self.maps[0]).shape


def layer_maps(value: FeatureMaps, address: str) -> LayerMaps:
    """The maps of one layer with their common scale."""
    maps = np.asarray(value.maps[address], np.float32)
    ends = ("negative", "positive") if bool((maps < 0).any()) else ("none", "strong")
    return LayerMaps(value.channels[address], maps, tile_grid.scale_for(maps, ends))


def filter_tiles(
    value: Kernels, address: str, chosen: Collection[int] | None = None, side: int = 96
) -> list[tuple[int, bytes]]:
    """The filters of one layer as PNG files with their indices; with ``chosen`` only filters of these indices."""
    images = filter_images(value, address, side, chosen)
    return [(number, png(np.ascontiguousarray(pixels))) for number, pixels in images]


def slice_tiles(value: Kernels, address: str, number: int) -> tuple[list[tuple[int, bytes]], Legend]:
    """The strongest kernels of one filter as PNG files with their input channels, and their colour bar."""
    images, scale = slice_images(value, address, number)
    return [(channel, png(np.ascontiguousarray(pixels))) for channel, pixels in images], legend_of(scale)


def kernel_legend(value: Kernels, address: str) -> Legend | None:
    """The colour bar of the filters of a layer; None if they are in colour or each on its own scale."""
    layer = value.layers[address]
    if layer.view == "colour" or value.scale == "each":
        return None
    return legend_of(pattern_scale(layer, np.asarray(value.patterns[address], np.float32)))


def ink_png(plane: Numbers, scale: Scale) -> bytes:
    """Rows and columns of numbers in inks that are transparent at zero, as a PNG file."""
    return _png_bytes(ink_colours(scale.signed)[scale.colour_indices(plane)])


def picture_png(pixels: Any) -> bytes:
    """Pixels (height, width, 3) of a photo as a PNG file."""
    return png(np.ascontiguousarray(np.asarray(pixels), np.uint8))


def _plane(values: Numbers, depth: int | None = None) -> Numbers:
    """A map as rows and columns; of a volume one slice, by default the one through its peak."""
    if values.ndim < 2:
        return values.reshape(1, -1)
    if values.ndim == 2:
        return values
    if depth is None:
        depth = int(np.unravel_index(int(np.abs(values).argmax()), values.shape)[0])
    plane: Numbers = values[depth]
    return plane


def _png_bytes(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def cell_colours(values: Numbers, limit: float) -> list[list[tuple[str, str]]]:
    """For every number of a matrix its colour on the signed scale, and the readable text colour on it."""
    pixels = tile_grid.colour_pixels(np.asarray(values, np.float32), Scale(limit, signed=True, peak=limit))
    return [[(hex_colour(pixel), readable_text_colour(pixel)) for pixel in row] for row in pixels]
