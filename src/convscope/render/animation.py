"""The frames of an optimization, or of a clip with its map over them, as an animated GIF or as an MP4 film."""

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from convscope.errors import MissingExtra
from convscope.render.raster import enlarge, side_by_side
from convscope.render.scale import scale_of
from convscope.render.video_panels import frame_over_input
from convscope.values import Attribution, Pictures

SIDE, GAP = 256, 4
_BIT_RATE = 4_000_000
"""Bits of a film per second: much for pictures of this size, so that colors stay what they mean."""
FRAME_MS, LAST_FRAME_MS, MIN_FRAME_MS = 120, 1500, 20
"""The duration of a frame, of the last frame, and of the shortest that browsers show, in milliseconds."""


def animated_gif(value: Pictures | Attribution) -> bytes:
    """A GIF file that loops: optimized pictures side by side, or the map over the frames of a clip."""
    return _clip_gif(value) if isinstance(value, Attribution) else _optimization_gif(value)


def film(attribution: Attribution) -> bytes:
    """The map over the frames of a clip as an MP4 file.

    Raises:
        MissingExtra: the encoder is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtra("av", "video") from error
    as_frame: Any = av.VideoFrame.from_image
    frames, duration = _clip_frames(attribution), _frame_duration(attribution)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        # The frames are compressed as pictures are, so that any player shows them and no license is asked for.
        stream: Any = container.add_stream("mpeg4", rate=Fraction(1000, duration))
        stream.width, stream.height = (side + side % 2 for side in frames[0].size)
        stream.pix_fmt, stream.bit_rate = "yuv420p", _BIT_RATE
        for picture in frames:
            even = Image.new("RGB", (stream.width, stream.height))
            even.paste(picture)
            container.mux(stream.encode(as_frame(even)))
        container.mux(stream.encode())
    return file.getvalue()


def _clip_gif(attribution: Attribution) -> bytes:
    frames = _clip_frames(attribution)
    return gif(frames, [_frame_duration(attribution)] * len(frames))


def _clip_frames(attribution: Attribution) -> list[Image.Image]:
    """The map over each frame, on one scale for all of them."""
    scale = scale_of([attribution])
    return [
        Image.fromarray(enlarge(frame_over_input(attribution, scale, index), SIDE))
        for index in range(len(attribution.values))
    ]


def _frame_duration(attribution: Attribution) -> int:
    """How long a frame is shown, in milliseconds: the time of the clip where it is known."""
    spacing = attribution.record.spacing
    return max(MIN_FRAME_MS, round(1000 * spacing[0])) if spacing else FRAME_MS


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
