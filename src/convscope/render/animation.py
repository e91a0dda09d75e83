"""The frames of an optimization as an animated GIF."""

import io

import numpy as np
from PIL import Image

from convscope.render.raster import enlarge, side_by_side
from convscope.values import Pictures

SIDE, GAP = 256, 4
FRAME_MS, LAST_FRAME_MS = 120, 1500
"""The duration of a frame and of the last frame, in milliseconds."""


def animated_gif(pictures: Pictures) -> bytes:
    """The frames of optimized pictures, all pictures side by side, as a GIF file that loops."""
    assert pictures.frames is not None, "the caller checks that there are frames"
    frames = [
        Image.fromarray(side_by_side([enlarge(np.asarray(picture), SIDE) for picture in pictures_of_frame], GAP))
        for pictures_of_frame in pictures.frames
    ]
    file = io.BytesIO()
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return file.getvalue()
