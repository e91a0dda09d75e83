"""Drawing generated scenes: outlines, textures, colors, distractors and camera effects.

Outlines are drawn at `OVERSAMPLING` times the size and downsampled, so that edges are antialiased; textures are
computed at the final size.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SIDE = 96
OVERSAMPLING = 4
OBJECT_CONTRAST = 0.30  # minimum color distance to the background; black to white is 1
DISTRACTOR_CONTRAST = 0.18

Array = NDArray[Any]  # of floats; numpy's stubs do not follow float32 through arithmetic


def polar(radius: float | Array, angles: Array) -> Array:
    """Points (points, xy) at a radius and angles."""
    return np.stack([np.cos(angles) * radius, np.sin(angles) * radius], axis=1)


def angles(points: int) -> Array:
    """Angles of as many points around a circle."""
    return np.arange(points) * (2 * math.pi / points)


def coverage_of(outline: Array) -> Array:
    """The fraction of each pixel inside the polygon."""
    large = Image.new("L", (SIDE * OVERSAMPLING, SIDE * OVERSAMPLING))
    ImageDraw.Draw(large).polygon(_to_canvas(outline), fill=255)
    return _downsample(large)


def _downsample(large: Image.Image) -> Array:
    return np.asarray(large.reduce(OVERSAMPLING), np.float32) / 255


def _to_canvas(points: Array) -> list[float]:
    return (points * OVERSAMPLING).ravel().tolist()


# Textures: a weight 0..1 per pixel that mixes two colors; u and v are coordinates along and across a random direction,
# with length 1 at the radius of the object.


def _soft(wave: Array) -> Array:
    """A step with a slope, so that the edges of a pattern are antialiased."""
    return np.clip(0.5 + 2.5 * wave, 0, 1)


def _wave(rng: Generator, along: Array) -> Array:
    return np.sin(along * (2 * math.pi / rng.uniform(0.4, 0.8)))


def _plain(rng: Generator, u: Array, v: Array) -> Array:
    return np.zeros_like(u)


def _gradient(rng: Generator, u: Array, v: Array) -> Array:
    return np.clip(0.5 + 0.5 * u, 0, 1)


def _stripes(rng: Generator, u: Array, v: Array) -> Array:
    return _soft(_wave(rng, u) - rng.uniform(-0.4, 0.4))


def _checks(rng: Generator, u: Array, v: Array) -> Array:
    return _soft(_wave(rng, u) * _wave(rng, v))


def _dots(rng: Generator, u: Array, v: Array) -> Array:
    period = rng.uniform(0.4, 0.7)
    return _soft(np.cos(u * (2 * math.pi / period)) + np.cos(v * (2 * math.pi / period)) - rng.uniform(0.3, 0.8))


def _clouds(rng: Generator, u: Array, v: Array) -> Array:
    return np.clip(_smooth_noise(rng, cells=int(rng.integers(4, 12))), 0, 1)


def _speckle(rng: Generator, u: Array, v: Array) -> Array:
    return _smooth_noise(rng, cells=SIDE // 2) > rng.uniform(0.6, 0.8)


def _bricks(rng: Generator, u: Array, v: Array) -> Array:
    """Rows of bricks in different tones, every other row shifted by half a brick, with mortar in between."""
    height, mortar = rng.uniform(0.2, 0.35), 0.1
    course = np.floor(v / height)
    along = u / (2.2 * height) + 0.5 * (course % 2)
    tones = rng.uniform(0, 0.5, 97)
    tone = tones[(np.floor(along) * 31 + course * 17).astype(int) % 97]
    return np.where((v / height % 1 < 1.5 * mortar) | (along % 1 < mortar), 1.0, tone)


Texture = Callable[[Generator, Array, Array], Array]
BACKGROUNDS: tuple[Texture, ...] = (_gradient, _stripes, _clouds, _clouds, _bricks, _speckle, _checks)
SURFACES: tuple[Texture, ...] = (_plain, _gradient, _stripes, _checks, _dots, _clouds, _speckle)
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE].astype(np.float32) + 0.5


def _smooth_noise(rng: Generator, cells: int) -> Array:
    """Random values on a coarse grid, upsampled bicubically to the image."""
    coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def paint_texture(
    rng: Generator,
    textures: tuple[Texture, ...],
    colors: Array,
    radius: float,
    center: Array | tuple[float, float] = (SIDE / 2, SIDE / 2),
) -> Array:
    """Fill the canvas with a random texture of two colors."""
    angle = rng.uniform(0, 2 * math.pi)
    along, down = (COLUMNS - center[0]) / radius, (ROWS - center[1]) / radius
    u = along * math.cos(angle) + down * math.sin(angle)
    v = down * math.cos(angle) - along * math.sin(angle)
    weight = textures[rng.integers(len(textures))](rng, u, v)
    return blend(colors[0], colors[1], weight).astype(np.float32)


# Colors: RGB 0..1, chosen by their perceptual distance.

OPPONENT = np.array([[0.30, 0.45, -0.15], [0.59, -0.45, -0.15], [0.11, 0.0, 0.30]])  # lightness, red-green, blue-yellow


def palette(rng: Generator, count: int) -> Array:
    """Colors with uniformly distributed hue, saturation and lightness."""
    hue, saturation, value = rng.random((3, count, 1))
    pure = np.clip(np.abs((hue * 6 + [0, 4, 2]) % 6 - 3) - 1, 0, 1)
    colors: Array = (0.15 + 0.85 * value) * (1 - saturation * (1 - pure))
    return colors


def _distance(colors: Array, others: Array) -> Array:
    """The distance from each color to the nearest of the others."""
    distances: Array = np.linalg.norm((colors[:, None] - others[None]) @ OPPONENT, axis=2)
    nearest: Array = distances.min(axis=1)
    return nearest


def background_colors(rng: Generator) -> Array:
    """Two colors of a background, similar enough for other colors to contrast with both."""
    first, second = palette(rng, 2)
    return np.stack([first, first + rng.uniform(0.25, 0.6) * (second - first)])


def object_colors(rng: Generator, background: Array) -> Array:
    """Two colors of an object, which contrast with the background but not too strongly with each other."""
    first = sort_by_contrast(palette(rng, 48), background, OBJECT_CONTRAST)[0]
    mixed = first + rng.uniform(0.4, 0.8) * (palette(rng, 48) - first)
    return np.stack([first, sort_by_contrast(mixed, background, OBJECT_CONTRAST)[0]])


def sort_by_contrast(candidates: Array, others: Array, minimum: float) -> Array:
    """The candidates, first those at least ``minimum`` away from all others, in their order, then by distance."""
    return candidates[np.argsort(-np.minimum(_distance(candidates, others), minimum), kind="stable")]


# Distractors: small items of no class. Strokes are too thin and chips too small to be mistaken for an object.


def _walk(rng: Generator) -> Array:
    """A scribble: steps of constant length with a drifting direction."""
    heading = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.uniform(-0.9, 0.9, 14))
    return np.cumsum(polar(rng.uniform(1.5, 3.0), heading), axis=0)


def _arc(rng: Generator) -> Array:
    start, sweep = rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 3.2)
    return polar(rng.uniform(5, 14), start + np.linspace(0, sweep, 20))


def _segment(rng: Generator) -> Array:
    return polar(rng.uniform(4, 15), rng.uniform(0, 2 * math.pi) + angles(2))


def _blob(rng: Generator) -> Array:
    wobble = 1 + rng.uniform(0.2, 0.35) * np.sin(angles(28) * rng.integers(2, 4) + rng.uniform(0, 6))
    return polar(rng.uniform(2.0, 4.5) * wobble, angles(28)) * [1.0, rng.uniform(0.5, 1.0)]


def _shard(rng: Generator) -> Array:
    corners = int(rng.integers(5, 8))
    return polar(rng.uniform(1.2, 5.5, corners), angles(corners) + rng.uniform(0, 6))


STROKES = (_walk, _arc, _segment)
CHIPS = (_blob, _shard)


def draw_distractors(rng: Generator, canvas: Array, colors: Array) -> Array:
    """Draw strokes and chips at random positions, one for each color."""
    large = Image.new("RGBA", (SIDE * OVERSAMPLING, SIDE * OVERSAMPLING))
    pen = ImageDraw.Draw(large)
    for red, green, blue in (colors * 255).astype(int).tolist():
        shapes = STROKES if rng.random() < 0.5 else CHIPS
        points = _to_canvas(shapes[rng.integers(len(shapes))](rng) + rng.uniform(0, SIDE, 2))
        if shapes is STROKES:
            width = round(OVERSAMPLING * rng.uniform(1.0, 2.2))
            pen.line(points, fill=(red, green, blue, 255), width=width, joint="curve")
        else:
            pen.polygon(points, fill=(red, green, blue, 255))
    layer = _downsample(large)
    return blend(canvas, layer[..., :3], layer[..., 3])


def blend(canvas: Array, paint: Array, coverage: Array) -> Array:
    """Blend paint over the canvas with the given coverage per pixel."""
    painted: Array = canvas + coverage[..., None] * (paint - canvas)
    return painted


def add_camera_effects(rng: Generator, canvas: Array) -> NDArray[np.uint8]:
    """Add uneven lighting, slight blur and slight noise."""
    light = rng.uniform(0.85, 1.1) + rng.uniform(0, 0.3) * (_smooth_noise(rng, cells=3) - 0.5)
    lit = np.clip(canvas * light[..., None] * 255, 0, 255).astype(np.uint8)
    blurred = np.asarray(Image.fromarray(lit).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8))), np.float32)
    grain = rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(255 * rng.uniform(0, 0.03))
    return np.clip(blurred + grain, 0, 255).astype(np.uint8)
