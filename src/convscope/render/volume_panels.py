"""Panels of volumes: slices through the strongest place, a strip of slices, projections, in anatomical views."""

from collections.abc import Sequence

import numpy as np

from convscope.render import non_image_input
from convscope.render.anatomical_view import view_of
from convscope.render.input_geometry import raw_input, voxel_size
from convscope.render.palette import Pixels
from convscope.render.panel import Panel
from convscope.render.raster import enlarge, map_pixels, overlay_pixels, side_by_side
from convscope.render.scale import Scale, map_values
from convscope.values import Attribution, Record

STRIP_SLICES = 8
"""The number of slices in a strip."""
STRIP_GAP = 4


def slice_panels(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """Three orthogonal slices through the peak, over the input if the value contains it."""
    peak = peak_position([attribution])
    return [
        slice_over_input(attribution, scale, side, axis, index, common_zoom=True) for axis, index in enumerate(peak)
    ]


def projections(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """Along each axis the value of the largest magnitude, so that nothing strong is hidden behind a slice."""
    values = map_values(attribution)
    panels = []
    for axis in range(3):
        strongest = np.abs(np.nan_to_num(values)).argmax(axis)
        projected = np.take_along_axis(values, np.expand_dims(strongest, axis), axis).squeeze(axis)
        plane = view_of(attribution.record, axis).plane
        caption = f"strongest value of all {plane} slices" if plane else f"strongest value along axis {axis}"
        pixels = map_pixels(projected, scale)
        enlarged = enlarge_slice(pixels, side, attribution.record, values.shape, axis, common_zoom=True)
        panels.append(Panel(caption, enlarged, blank=attribution.blank))
    return panels


def slice_strip(attribution: Attribution, scale: Scale, side: int) -> Panel:
    """Slices at even distances along the first axis, side by side."""
    count = min(STRIP_SLICES, len(attribution.values))
    indices = np.linspace(0, len(attribution.values) - 1, count).round().astype(int).tolist()
    width = side * 3 // count - STRIP_GAP
    slices = [slice_over_input(attribution, scale, width, 0, index).pixels for index in indices]
    plane = view_of(attribution.record, 0).plane or "slices"
    caption = f"{plane if plane == 'slices' else f'{plane} slices'} {', '.join(map(str, indices))}"
    return Panel(caption, side_by_side(slices))


def slice_over_input(
    attribution: Attribution, scale: Scale, side: int, axis: int, index: int, *, common_zoom: bool = False
) -> Panel:
    """A slice of the map of a volume, over the input if the value contains it.

    Args:
        common_zoom: enlarge by the same factor as slices along the other axes, instead of to ``side``.
    """
    values, volume = map_values(attribution), raw_input(attribution)
    map_slice = np.take(values, index, axis)
    input_slice_pixels = None if volume is None else np.take(non_image_input.first_channel_grey(volume), index, axis)
    pixels = (
        map_pixels(map_slice, scale)
        if input_slice_pixels is None
        else overlay_pixels(map_slice, input_slice_pixels, scale)
    )
    channel = "" if volume is None else non_image_input.describe_channel(len(volume))
    channel_text = f", over the input's {channel}" if channel else ""
    caption = f"{view_of(attribution.record, axis).describe(axis, index)}, through the peak{channel_text}"
    enlarged = enlarge_slice(pixels, side, attribution.record, values.shape, axis, common_zoom=common_zoom)
    return Panel(caption, enlarged, blank=attribution.blank)


def peak_position(maps: Sequence[Attribution]) -> tuple[int, ...]:
    """The position at which the sum of the magnitudes of maps, each divided by its own peak, is largest."""
    magnitudes = [np.abs(np.nan_to_num(map_values(attribution), nan=0, posinf=0, neginf=0)) for attribution in maps]
    total = np.sum([magnitude / (float(magnitude.max()) or 1.0) for magnitude in magnitudes], 0)
    return tuple(int(index) for index in np.unravel_index(int(total.argmax()), total.shape))


def input_slice(attribution: Attribution, side: int, axis: int, index: int) -> Panel | None:
    """A slice of the input of a volume, if the value contains it."""
    volume = raw_input(attribution)
    if volume is None:
        return None
    input_pixels = np.take(non_image_input.first_channel_grey(volume), index, axis)
    enlarged = enlarge_slice(input_pixels, side, attribution.record, volume.shape[1:], axis)
    return Panel(non_image_input.describe_channel(len(volume)), enlarged)


def enlarge_slice(
    pixels: Pixels, side: int, record: Record, extent: Sequence[int], axis: int, *, common_zoom: bool = False
) -> Pixels:
    """Enlarge a slice of a volume of this extent in the proportions of its voxels.

    Args:
        common_zoom: enlarge by the same factor as slices along the other axes, instead of to ``side``.
    """
    view = view_of(record, axis)
    voxel = voxel_size(record, extent)
    longest = max(size * count for size, count in zip(voxel, extent, strict=True)) if common_zoom else None
    cell = tuple(size for other, size in enumerate(voxel) if other != axis)
    pixel_height, pixel_width = reversed(cell) if view.transposed else cell
    return enlarge(view.apply(pixels), side, cell=(pixel_height, pixel_width), longest=longest)
