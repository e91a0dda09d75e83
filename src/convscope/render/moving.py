"""Pictures without a word: on their way as a moving one, and transparent where nothing was drawn."""

import io

import numpy as np
from PIL import Image

from convscope.render.palette import Pixels
from convscope.render.raster import enlarged
from convscope.values import Pictures

SIDE, GAP = 256, 4
MOSTLY = 80
"""The percentile of importance from which a place is opaque."""
A_FRAME, THE_LAST = 120, 1500
"""For how long a frame stands, in milliseconds."""


def moving(pictures: Pictures) -> bytes:
    """The frames of drawn pictures, all pictures side by side, as a GIF file that begins anew at its end."""
    assert pictures.frames is not None, "asked for only where there are frames"
    frames = [Image.fromarray(_beside([np.asarray(one) for one in frame])) for frame in pictures.frames]
    file = io.BytesIO()
    durations = [A_FRAME] * (len(frames) - 1) + [THE_LAST]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return file.getvalue()


def transparent(pictures: Pictures) -> bytes:
    """All pictures side by side as a PNG whose opacity is how much of the climb went into each place."""
    assert pictures.photos is not None, "asked for only where they can be seen"
    assert pictures.importance is not None, "asked for only where it was measured"
    parts = []
    for photo, importance in zip(pictures.photos, pictures.importance, strict=True):
        weight = np.asarray(importance, np.float32)
        opacity = np.clip(weight / max(float(np.percentile(weight, MOSTLY)), 1e-30), 0, 1)
        alpha = (255 * opacity).round().astype(np.uint8)
        parts.append(enlarged(np.concatenate([np.asarray(photo), alpha[..., None]], -1), SIDE))
    file = io.BytesIO()
    Image.fromarray(np.concatenate(parts, 1), "RGBA").save(file, "PNG", optimize=True)
    return file.getvalue()


def _beside(pictures: list[Pixels]) -> Pixels:
    large = [enlarged(picture, SIDE) for picture in pictures]
    gap = np.full((large[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for picture in large for part in (picture, gap)][:-1]
    return np.concatenate(parts, 1)
