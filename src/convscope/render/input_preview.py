"""Small pictures of inputs that no network has prepared yet: signals as lines, volumes and clips as slices, words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from convscope.engine.inputs.raw_input import RawInput
from convscope.render.anatomical_view import view_of
from convscope.render.canvas import MARGIN, Canvas
from convscope.render.palette import Pixels
from convscope.render.raster import side_by_side
from convscope.render.scale import Numbers
from convscope.values import Record

MAX_LINES = 12
"""Channels of a signal that are drawn, at most."""
MIN_SAMPLES_PER_CHANNEL = 8
"""Numbers without named axes are a signal if it has so many times more samples than channels."""
ASPECT = 0.42
"""The height of a signal, as a share of its width."""


def preview_pixels(raw: RawInput, side: int, *, slices: bool = False) -> Pixels:
    """An input as pixels, ``side`` wide or high at most.

    Args:
        slices: of a volume the middle slices along all three axes, instead of the first.
    """
    if raw.words:
        return _text(raw.words, side)
    values = np.nan_to_num(np.asarray(raw.values, np.float32))
    if _is_signal(raw):
        return _signal(values.reshape(-1, values.shape[-1]), side)
    if values.ndim < 3:
        return _fitted(_grey(values.reshape(-1, values.shape[-1])), side)
    if len(raw.axes) == 2 or (values.ndim == 3 and not raw.axes and len(values) <= 4):
        return _fitted(_bands(values), side)
    if raw.axes[:1] == ("time",):
        return _fitted(_bands(values[:, values.shape[1] // 2]), side)
    return _volume(values[0] if values.ndim == 4 else values, raw, side, slices=slices)


def prepared_pixels(values: Any, side: int, *, slices: bool = False) -> Pixels:
    """Numbers (channels, …) that a network takes as pixels: a signal, an image of any bands, a volume or a clip."""
    array = np.nan_to_num(np.asarray(values, np.float32))
    axes = {2: ("time",), 3: ("height", "width")}.get(array.ndim, ())
    return preview_pixels(RawInput(array, axes), side, slices=slices)


def _text(words: Sequence[str], side: int) -> Pixels:
    """Words as lines of text, black on white."""
    canvas = Canvas("light", bare=True)
    canvas.width = side
    canvas.y = canvas.text(8, 8, " ".join(words), width=side - 16) + 16 - MARGIN
    return canvas.to_picture("words").pixels[..., :3]


def _is_signal(raw: RawInput) -> bool:
    shape = raw.values.shape
    return raw.axes == ("time",) or (
        not raw.axes and (len(shape) == 1 or (len(shape) == 2 and shape[1] >= MIN_SAMPLES_PER_CHANNEL * shape[0]))
    )


def _signal(channels: Numbers, side: int) -> Pixels:
    """Black curves on white, each from its minimum to its maximum; every sample is covered."""
    channels = channels[:MAX_LINES]
    lane = max(6, round(ASPECT * side / len(channels)))
    rows = []
    for channel in channels:
        columns = np.array_split(channel, min(side, len(channel)))
        low, high = float(channel.min()), float(channel.max())
        levels = [[(high - end) / max(high - low, 1e-12) for end in (part.max(), part.min())] for part in columns]
        rows.append(_curve((0.06 + 0.88 * np.asarray(levels, np.float32)) * (lane - 1), lane))
    pixels = np.concatenate(rows)
    return pixels.repeat(max(1, side // pixels.shape[1]), 1)


def _curve(levels: Numbers, height: int) -> Pixels:
    """A column for each pair of an upper and a lower level, which reaches that of the column before."""
    pixels = np.full((height, len(levels), 3), 255, np.uint8)
    rows = levels.round().astype(int)
    for column, (top, bottom) in enumerate(rows):
        before = rows[max(0, column - 1)]
        pixels[min(top, before[1]) : max(bottom, before[0]) + 1, column] = 40
    return pixels


def _volume(volume: Numbers, raw: RawInput, side: int, *, slices: bool) -> Pixels:
    """The middle slice along the first axis, or along each, in the proportions of the voxels."""
    affine = () if raw.affine is None else tuple(map(tuple, np.asarray(raw.affine, float).tolist()))
    record = Record(lens="", title="", asks="", reads="", affine=affine)
    spacing = raw.spacing if len(raw.spacing) == 3 else (1.0, 1.0, 1.0)
    planes = [_plane(volume, record, spacing, axis, side // 3 if slices else side) for axis in range(3)]
    if not slices:
        axial = next((axis for axis in range(3) if view_of(record, axis).plane == "axial"), 0)
        return planes[axial]
    height = max(len(plane) for plane in planes)
    padded = [np.pad(p, ((0, height - len(p)), (0, 0), (0, 0)), constant_values=255) for p in planes]
    return side_by_side(padded)


def _plane(volume: Numbers, record: Record, spacing: Sequence[float], axis: int, side: int) -> Pixels:
    view = view_of(record, axis)
    pixels = view.apply(_grey(volume.take(volume.shape[axis] // 2, axis), volume))
    cell = [size for other, size in enumerate(spacing) if other != axis]
    if view.transposed:
        cell.reverse()
    return _fitted(pixels, side, cell)


def _bands(values: Numbers) -> Pixels:
    """Three channels as colors, or the first in grey, each from its 1st to its 99th percentile."""
    shown = values[:3] if len(values) >= 3 else values[:1].repeat(3, 0)
    if not (shown.min() >= 0 and 1 < shown.max() <= 255):  # these are levels of a picture
        low, high = np.percentile(shown, (1, 99), axis=(1, 2), keepdims=True)
        shown = 255 * ((shown - low) / np.maximum(high - low, 1e-12)).clip(0, 1)
    return np.asarray(shown.round(), np.uint8).transpose(1, 2, 0)


def _grey(values: Numbers, whole: Numbers | None = None) -> Pixels:
    """Numbers in grey, from the 1st to the 99.5th percentile of the whole."""
    low, high = np.percentile(values if whole is None else whole, (1, 99.5))
    levels = 255 * ((values - low) / max(high - low, 1e-12)).clip(0, 1)
    return np.asarray(levels.round(), np.uint8)[..., None].repeat(3, -1)


def _fitted(pixels: Pixels, side: int, cell: Sequence[float] = (1.0, 1.0)) -> Pixels:
    """Pixels of this size ``side`` long on the longer side."""
    height, width = pixels.shape[0] * cell[0], pixels.shape[1] * cell[1]
    zoom = side / max(height, width)
    resampling = Image.Resampling.NEAREST if zoom >= 1 else Image.Resampling.BOX
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, resampling))
