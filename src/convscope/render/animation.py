"""The frames of an optimization, or of a clip with its map over them, as an animated GIF."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from convscope.render.raster import enlarge, side_by_side
from convscope.render.scale import scale_of
from convscope.render.video_panels import frame_over_input
from convscope.values import Attribution, Pictures

SIDE, GAP = 256, 4
FRAME_MS, LAST_FRAME_MS, MIN_FRAME_MS = 120, 1500, 20
"""The duration of a frame, of the last frame, and of the shortest that browsers show, in milliseconds."""


def animated_gif(value: Pictures | Attribution) -> bytes:
    """A GIF file that loops: optimized pictures side by side, or the map over the frames of a clip."""
    return _clip_gif(value) if isinstance(value, Attribution) else _optimization_gif(value)


def _clip_gif(attribution: Attribution) -> bytes:
    """The map over each frame, on one scale for all of them, in the time of the clip where it is known."""
    scale, spacing = scale_of([attribution]), attribution.record.spacing
    frames = [
        Image.fromarray(enlarge(frame_over_input(attribution, scale, index), SIDE))
        for index in range(len(attribution.values))
    ]
    return gif(frames, [max(MIN_FRAME_MS, round(1000 * spacing[0])) if spacing else FRAME_MS] * len(frames))


def _optimization_gif(pictures: Pictures) -> bytes:
    assert pictures.frames is not None, "the caller checks that there are frames"
    frames = [
        Image.fromarray(side_by_side([enlarge(np.asarray(picture), SIDE) for picture in pictures_of_frame], GAP))
        for pictures_of_frame in pictures.frames
    ]
    return gif(frames, [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS])


def gif(frames: Sequence[Image.Image], durations: Sequence[int]) -> bytes:
    """Frames as a GIF file that loops, each with its duration in milliseconds."""
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=list(durations), loop=0)
    return file.getvalue()
