"""Maps and photos as pixels without text, for pictures, reports and web pages."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from convscope.render.palette import BACKGROUNDS, OPACITY, PHOTO_WEIGHT, Pixels, ink_colours, opaque_colours
from convscope.render.scale import Numbers, Scale, map_values
from convscope.values import Attribution, Value


def photo_pixels(value: Value) -> Pixels | None:
    """The input as RGB pixels (height, width, 3), if it is an image."""
    photo = getattr(value, "photo", None)
    photo = None if photo is None else np.asarray(photo)
    if photo is None or photo.size == 0 or photo.ndim != 3 or photo.dtype != np.uint8:
        return None
    return photo


def photo_at_map_size(attribution: Attribution) -> Pixels | None:
    """The photo resized to the size of the map."""
    photo, (height, width) = photo_pixels(attribution), attribution.values.shape
    if photo is None or photo.shape[:2] == (height, width):
        return photo
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS))


def map_pixels(values: Numbers, scale: Scale) -> Pixels:
    """A map in the opaque colours of a scale."""
    return opaque_colours(scale.signed)[scale.colour_indices(values)]


def overlay_pixels(values: Numbers, photo: Pixels, scale: Scale) -> Pixels:
    """A map over its photo, which is grey and faded so that only the map has colours."""
    grey = photo.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    faded = PHOTO_WEIGHT * grey[..., None] + (1 - PHOTO_WEIGHT) * np.array(BACKGROUNDS[scale.signed], np.float32)
    ink = ink_colours(scale.signed)[scale.colour_indices(values)].astype(np.float32)
    opacity = OPACITY * ink[..., 3:] / 255
    mixed: Pixels = (faded * (1 - opacity) + ink[..., :3] * opacity).round().astype(np.uint8)
    return mixed


def enlarge(
    pixels: Pixels, side: int, *, cell: tuple[float, float] = (1.0, 1.0), longest: float | None = None
) -> Pixels:
    """Resize pixels to about ``side`` on their longer side; square pixels are enlarged by whole factors to stay sharp.

    Args:
        cell: the height and the width of a pixel that is not square.
        longest: the length, in the unit of ``cell``, that is drawn ``side`` pixels long; by default the longer side.
    """
    height, width = pixels.shape[:2]
    zoom = side / (longest or max(height * cell[0], width * cell[1]))
    if cell[0] != cell[1]:
        size = (max(1, round(width * cell[1] * zoom)), max(1, round(height * cell[0] * zoom)))
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    zoom *= cell[0]
    if zoom >= 0.75:
        factor = max(1, round(zoom))
        return pixels.repeat(factor, 0).repeat(factor, 1)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def side_by_side(pictures: Sequence[Pixels], gap: int = 4) -> Pixels:
    """Pixels of the same height next to each other, with white gaps."""
    space = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, space)][:-1], 1)


def heat_png(attribution: Attribution, scale: Scale, max_side: int | None = None) -> bytes:
    """The inks of a map, transparent at zero, as an indexed PNG, at most ``max_side`` pixels long."""
    indices = scale.colour_indices(_shrink(map_values(attribution), max_side))
    colours = ink_colours(scale.signed)
    image = Image.fromarray(indices)
    image.putpalette(colours[:, :3].ravel().tolist())
    return _png_bytes(image, transparency=colours[:, 3].tobytes())


def png(pixels: Pixels) -> bytes:
    """RGB pixels as a PNG file."""
    return _png_bytes(Image.fromarray(pixels))


def _shrink(values: Numbers, max_side: int | None) -> Numbers:
    height, width = values.shape
    if max_side is None or max(height, width) <= max_side:
        return values
    scale = max_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BOX))


def _png_bytes(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, **options)
    return file.getvalue()
