"""The proportions of an input's pixels or voxels, and its numbers where a value contains them."""

from collections.abc import Sequence

from convscope.render import non_image_input
from convscope.render.scale import Numbers
from convscope.values import Attribution, Record


def voxel_size(record: Record, extent: Sequence[int], input_extent: Sequence[int] | None = None) -> tuple[float, ...]:
    """The size of one position of a map along each axis, if the spacing of the input is known; otherwise 1.

    Args:
        extent: the extent of the map.
        input_extent: the extent of the input that the map covers, if it differs.
    """
    spacing = record.spacing if len(record.spacing) == len(extent) else (1.0,) * len(extent)
    return tuple(
        step * input_size / map_size
        for step, input_size, map_size in zip(spacing, input_extent or extent, extent, strict=True)
    )


def raw_input(attribution: Attribution) -> Numbers | None:
    """The input as numbers (channels, …) of the map's extent, if the value contains it."""
    return non_image_input.numeric_input(attribution.photo, tuple(attribution.values.shape))


def raw_channel_count(attribution: Attribution) -> int:
    """The number of input channels of a signal or volume; 0 if the value does not contain the input."""
    values = raw_input(attribution)
    return 0 if values is None else len(values)
