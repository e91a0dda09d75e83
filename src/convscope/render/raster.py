"""Maps and photos as pixels, without a word of text: what pictures, the report and a web page are laid out from."""

import io
from typing import Any

import numpy as np
from PIL import Image

from convscope.render.palette import FADED, GROUNDS, OPACITY, Pixels, inks, opaque
from convscope.render.scale import Numbers, Scale, numbers
from convscope.values import Attribution, Value


def photo_pixels(value: Value) -> Pixels | None:
    """The input as people see it (height, width, 3), where it can be seen."""
    photo = getattr(value, "photo", None)
    photo = None if photo is None else np.asarray(photo)
    if photo is None or photo.size == 0 or photo.ndim != 3 or photo.dtype != np.uint8:
        return None
    return photo


def under_map(attribution: Attribution) -> Pixels | None:
    """The photo in the map's own extent."""
    photo, (height, width) = photo_pixels(attribution), attribution.values.shape
    if photo is None or photo.shape[:2] == (height, width):
        return photo
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS))


def map_pixels(values: Numbers, scale: Scale) -> Pixels:
    """A map in the scale's opaque colours."""
    return opaque(scale.signed)[scale.steps(values)]


def overlay_pixels(values: Numbers, photo: Pixels, scale: Scale) -> Pixels:
    """A map laid over its photo, which is grey and faded so that colour has one meaning."""
    grey = photo.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    faded = FADED * grey[..., None] + (1 - FADED) * np.array(GROUNDS[scale.signed], np.float32)
    ink = inks(scale.signed)[scale.steps(values)].astype(np.float32)
    opacity = OPACITY * ink[..., 3:] / 255
    mixed: Pixels = (faded * (1 - opacity) + ink[..., :3] * opacity).round().astype(np.uint8)
    return mixed


def enlarged(
    pixels: Pixels, side: int, *, cell: tuple[float, float] = (1.0, 1.0), longest: float | None = None
) -> Pixels:
    """Pixels brought near to ``side`` on their longer side: whole multiples, so that small inputs stay crisp.

    Args:
        cell: how tall and how wide a pixel is, where it is no square.
        longest: what is drawn ``side`` long, in the same measure; by default the longer side.
    """
    height, width = pixels.shape[:2]
    zoom = side / (longest or max(height * cell[0], width * cell[1]))
    if cell[0] != cell[1]:
        size = (max(1, round(width * cell[1] * zoom)), max(1, round(height * cell[0] * zoom)))
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    zoom *= cell[0]
    if zoom >= 0.75:
        times = max(1, round(zoom))
        return pixels.repeat(times, 0).repeat(times, 1)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def heat_png(attribution: Attribution, scale: Scale, most: int | None = None) -> bytes:
    """The ink of a map, transparent at zero, as an indexed PNG of the map's size, or of ``most`` pixels a side."""
    steps = scale.steps(_shrunk(numbers(attribution), most))
    colours = inks(scale.signed)
    image = Image.fromarray(steps)
    image.putpalette(colours[:, :3].ravel().tolist())
    return _encoded(image, transparency=colours[:, 3].tobytes())


def png(pixels: Pixels) -> bytes:
    """RGB pixels as a PNG file."""
    return _encoded(Image.fromarray(pixels))


def _shrunk(values: Numbers, most: int | None) -> Numbers:
    height, width = values.shape
    if most is None or max(height, width) <= most:
        return values
    share = most / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BOX))


def _encoded(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, **options)
    return file.getvalue()
