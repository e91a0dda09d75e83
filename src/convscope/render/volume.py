"""A map of a volume: three slices at right angles through its strongest place."""

import numpy as np

from convscope.render.palette import Pixels
from convscope.render.raster import map_pixels, overlay_pixels
from convscope.render.scale import Numbers, Scale, numbers
from convscope.values import Attribution


def slices(attribution: Attribution, scale: Scale) -> list[tuple[str, Pixels]]:
    """Caption and pixels of the slice across each axis, over the volume itself where the value carries it."""
    values, volume = numbers(attribution), grey_levels(attribution)
    peak = np.unravel_index(int(np.abs(np.nan_to_num(values)).argmax()), values.shape)
    found = []
    for axis, place in enumerate(peak):
        cut = values.take(int(place), axis)
        what = f"slice {int(place)} of axis {axis}, through the peak"
        if volume is None:
            found.append((what, map_pixels(cut, scale)))
        else:
            found.append((what, overlay_pixels(cut, volume.take(int(place), axis)[..., None].repeat(3, -1), scale)))
    return found


def grey_levels(attribution: Attribution) -> Pixels | None:
    """The input volume (its first channel) as grey levels from its lowest to its highest number, if there is one."""
    own = raw_input(attribution)
    if own is None:
        return None
    low, high = float(own[0].min()), float(own[0].max())
    return np.asarray((255 * (own[0] - low) / max(high - low, 1e-12)).round(), np.uint8)


def raw_input(attribution: Attribution) -> Numbers | None:
    """The input as numbers (channels, …) in the map's extent, where the value's photo holds that."""
    photo = None if attribution.photo is None else np.asarray(attribution.photo)
    if photo is None or photo.shape[1:] != tuple(attribution.values.shape) or photo.dtype == np.uint8:
        return None
    return photo.astype(np.float32)
