"""Inputs that are no photographs: of a signal a line for each channel, of a volume slices of one channel in grey.

Which channels are drawn is always said where there are several.
"""

from typing import Any

import numpy as np

from convscope.render.palette import Pixels
from convscope.render.scale import Numbers

MOST_LINES = 12
"""How many channels of a signal have a line: as many as an electrocardiogram has leads."""


def raw_input(photo: Any, extent: tuple[int, ...]) -> Numbers | None:
    """The input as numbers (channels, …) of that extent, where a value's ``photo`` holds that."""
    given = None if photo is None else np.asarray(photo)
    if given is None or given.dtype == np.uint8 or given.shape[1:] != extent:
        return None
    return np.nan_to_num(given.astype(np.float32))


def lines(signal: Numbers) -> Numbers:
    """The channels (channels, positions) of a signal that have a line."""
    return signal[:MOST_LINES]


def which_lines(count: int) -> str:
    """Which of ``count`` channels have a line, and how tall it is; nothing where there is one."""
    if count == 1:
        return ""
    shown = f"channels 0 to {MOST_LINES - 1} of {count}" if count > MOST_LINES else f"channels 0 to {count - 1}"
    return f"{shown}, each from its own lowest to its own highest number"


def which_channel(count: int) -> str:
    """Which of the ``count`` channels of a volume is drawn; nothing where there is one."""
    return f"channel 0 of {count}" if count > 1 else ""


def grey(volume: Numbers) -> Pixels:
    """The first channel of (channels, …), black at its lowest number and white at its highest, as (…, 3)."""
    drawn = volume[0]
    low, high = float(drawn.min()), float(drawn.max())
    levels = np.asarray((255 * (drawn - low) / max(high - low, 1e-12)).round(), np.uint8)
    return levels[..., None].repeat(3, -1)
