"""Pictures on their way as a moving one."""

import io

import numpy as np
from PIL import Image

from convscope.render.palette import Pixels
from convscope.render.raster import enlarged
from convscope.values import Pictures

SIDE, GAP = 256, 4
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


def _beside(pictures: list[Pixels]) -> Pixels:
    large = [enlarged(picture, SIDE) for picture in pictures]
    gap = np.full((large[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for picture in large for part in (picture, gap)][:-1]
    return np.concatenate(parts, 1)
