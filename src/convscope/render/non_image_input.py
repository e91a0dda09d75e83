"""Inputs that are not images: signals with a line for each channel, volumes as slices of one channel in grey.

If there are several channels, the picture says which of them are drawn.
"""

from typing import Any

import numpy as np

from convscope.render.palette import Pixels
from convscope.render.scale import Numbers

MAX_LINES = 12
"""The largest number of channels of a signal that are drawn: the leads of an electrocardiogram."""


def numeric_input(photo: Any, extent: tuple[int, ...]) -> Numbers | None:
    """The input as numbers (channels, …) of this extent, if the ``photo`` of a value contains it."""
    values = None if photo is None else np.asarray(photo)
    if values is None or values.dtype == np.uint8 or values.shape[1:] != extent:
        return None
    return np.nan_to_num(values.astype(np.float32))


def drawn_channels(signal: Numbers) -> Numbers:
    """The channels of a signal (channels, samples) that are drawn."""
    return signal[:MAX_LINES]


def describe_lines(count: int) -> str:
    """Which of ``count`` channels are drawn and how they are scaled; empty for a single channel."""
    if count == 1:
        return ""
    channels = f"channels 0 to {MAX_LINES - 1} of {count}" if count > MAX_LINES else f"channels 0 to {count - 1}"
    return f"{channels}, each scaled from its minimum to its maximum"


def describe_channel(count: int) -> str:
    """Which of the ``count`` channels of a volume is drawn; empty for a single channel."""
    return f"channel 0 of {count}" if count > 1 else ""


def first_channel_grey(volume: Numbers) -> Pixels:
    """The first channel of (channels, …) as grey pixels (…, 3), black at its minimum and white at its maximum."""
    channel = volume[0]
    low, high = float(channel.min()), float(channel.max())
    levels = np.asarray((255 * (channel - low) / max(high - low, 1e-12)).round(), np.uint8)
    return levels[..., None].repeat(3, -1)
