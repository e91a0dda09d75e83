"""The frames of an optimization as an animated GIF."""

import io

import numpy as np
from PIL import Image

from convscope.render.palette import Pixels
from convscope.render.raster import enlarge
from convscope.values import Pictures

SIDE, GAP = 256, 4
FRAME_MS, LAST_FRAME_MS = 120, 1500
"""The duration of a frame and of the last frame, in milliseconds."""


def animated_gif(pictures: Pictures) -> bytes:
    """The frames of optimized pictures, all pictures side by side, as a GIF file that loops."""
    assert pictures.frames is not None, "the caller checks that there are frames"
    frames = [
        Image.fromarray(_side_by_side([np.asarray(picture) for picture in pictures_of_frame]))
        for pictures_of_frame in pictures.frames
    ]
    file = io.BytesIO()
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return file.getvalue()


def _side_by_side(pictures: list[Pixels]) -> Pixels:
    enlarged = [enlarge(picture, SIDE) for picture in pictures]
    gap = np.full((enlarged[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for picture in enlarged for part in (picture, gap)][:-1]
    return np.concatenate(parts, 1)
