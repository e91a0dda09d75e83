"""Panels of clips: a strip of frames with the map over them, and the relevance of each frame as a curve."""

import numpy as np

from convscope.render.input_geometry import raw_input
from convscope.render.palette import Pixels
from convscope.render.panel import Panel
from convscope.render.raster import enlarge, map_pixels, overlay_pixels, side_by_side
from convscope.render.scale import Numbers, Scale, map_values
from convscope.render.signal_axis import SignalAxis
from convscope.values import Attribution

STRIP_FRAMES = 8
"""The number of frames in a strip."""
CURVE_HEIGHT = 0.16
"""The height of the curve, as a share of its width."""


def frame_strip(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """Frames at even distances with the map over them, the strongest among them."""
    frames = _chosen_frames(attribution)
    width = 3 * side // len(frames)
    pixels = side_by_side([enlarge(frame_over_input(attribution, scale, frame), width) for frame in frames])
    caption = f"map over frames {', '.join(map(str, frames))} of {len(attribution.values)}"
    return [Panel(caption, pixels, blank=attribution.blank)]


def frame_curve(attribution: Attribution, width: int) -> Panel:
    """The sum of the map over each frame."""
    values = map_values(attribution)
    sums = np.nan_to_num(values).sum((1, 2))
    spacing = attribution.record.spacing
    axis = SignalAxis(len(sums), spacing[0], "seconds") if spacing else SignalAxis(len(sums), 1.0, "frames")
    pixels = np.full((round(width * CURVE_HEIGHT), width, 3), 255, np.uint8)
    return Panel("sum of the map over each frame", pixels, sums[None], axis=axis)


def frame_over_input(attribution: Attribution, scale: Scale, frame: int) -> Pixels:
    """One frame of the map over the input, if the value contains it."""
    values, clip = map_values(attribution)[frame], raw_input(attribution)
    return map_pixels(values, scale) if clip is None else overlay_pixels(values, _colors(clip[:, frame]), scale)


def _chosen_frames(attribution: Attribution) -> list[int]:
    """Frames at even distances; the one nearest to the strongest frame is replaced by it."""
    count = len(attribution.values)
    frames = np.linspace(0, count - 1, min(STRIP_FRAMES, count)).round().astype(int)
    strongest = int(np.abs(np.nan_to_num(map_values(attribution))).sum((1, 2)).argmax())
    frames[np.abs(frames - strongest).argmin()] = strongest
    return [int(frame) for frame in frames]


def _colors(frame: Numbers) -> Pixels:
    """A prepared frame (channels, height, width) as pixels from its darkest to its brightest number."""
    channels = frame[:3] if len(frame) >= 3 else frame[:1].repeat(3, 0)
    low, high = float(channels.min()), float(channels.max())
    levels = (channels - low) / max(high - low, 1e-12)
    return np.asarray((255 * levels).round(), np.uint8).transpose(1, 2, 0)
