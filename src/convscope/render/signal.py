"""A map of a signal: its line on a background coloured by the map."""

import numpy as np

from convscope.render.palette import Pixels
from convscope.render.raster import map_pixels
from convscope.render.scale import Numbers, Scale, numbers
from convscope.render.volume import raw_input
from convscope.values import Attribution

WIDTH, HEIGHT = 900, 260


def signal_panel(attribution: Attribution, scale: Scale) -> tuple[str, Pixels]:
    """Caption and pixels: the signal where the value carries it, the map's own numbers otherwise."""
    values, own = numbers(attribution), raw_input(attribution)
    line = np.nan_to_num(values) if own is None else own[0]
    what = "the map along the signal" if own is None else "the signal, coloured by the map"
    place = (np.arange(WIDTH) * len(values) // WIDTH).clip(0, len(values) - 1)
    background = np.broadcast_to(map_pixels(values, scale)[place], (HEIGHT, WIDTH, 3)).copy()
    return f"{what}, positions 0 to {len(values) - 1}", with_line(background, line)


def with_line(pixels: Pixels, line: Numbers) -> Pixels:
    """The line over ``pixels``, from its lowest number near the bottom to its highest near the top."""
    height, width = pixels.shape[:2]
    low, high = float(line.min()), float(line.max())
    across = np.interp(np.linspace(0, len(line) - 1, width), np.arange(len(line)), line)
    level = (0.92 - 0.84 * (across - low) / max(high - low, 1e-12)) * (height - 1)
    return pixels
