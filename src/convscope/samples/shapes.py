"""Generated scenes with ground truth: one object, its class, and the pixels it covers.

For a photograph it is not known which pixels determine its class, so an explanation of it cannot be verified. For these
scenes it can: the map of a correct explanation lies on the mask of the object.

A scene is a textured background, some distractors that belong to no class, and one object in front of them. Outlines
are drawn at `OVERSAMPLING` times the size and downsampled, so that edges are antialiased; textures are computed at the
final size. A scene is a function of its seed. Seeds below `FIRST_TRAINING_SEED` are for samples and evaluation; seeds
from there on are for training.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SIDE = 96
FIRST_TRAINING_SEED = 1_000_000
OVERSAMPLING = 4
OBJECT_DIAMETER = (26.0, 50.0)  # in pixels: twice the distance from the center to the farthest point
OBJECT_CONTRAST = 0.30  # minimum color distance to the background; black to white is 1
DISTRACTOR_CONTRAST = 0.18

Array = NDArray[Any]  # of floats; numpy's stubs do not follow float32 through arithmetic


@dataclass(frozen=True, eq=False)
class Scene:
    """An image uint8 (96, 96, 3), the class index, and the mask of the object (96, 96)."""

    image: NDArray[np.uint8]
    label: int
    mask: NDArray[np.bool_]


def scene(seed: int) -> Scene:
    """Draw the scene of a seed; its class is `CLASSES[seed % len(CLASSES)]`, so consecutive seeds are balanced."""
    rng = Generator(PCG64(seed))
    label = seed % len(CLASSES)
    background = _background_colors(rng)
    canvas = _paint_texture(rng, BACKGROUNDS, background, radius=SIDE * rng.uniform(0.25, 0.5))

    outline, radius = _place(rng, OUTLINES[CLASSES[label]](rng))
    object_colors = _object_colors(rng, background)
    distractors = _sort_by_contrast(_palette(rng, 48), np.concatenate([background, object_colors]), DISTRACTOR_CONTRAST)
    canvas = _draw_distractors(rng, canvas, distractors[: rng.integers(5, 13)])

    coverage = _coverage(outline)
    paint = _paint_texture(rng, SURFACES, object_colors, radius, center=(outline.max(axis=0) + outline.min(axis=0)) / 2)
    return Scene(_add_camera_effects(rng, _blend(canvas, paint, coverage)), label, coverage >= 0.5)


# Outlines: closed polygons (points, xy) around the origin in any size. Classes are invariant to rotation, so there is a
# square but no diamond.


def _polar(radius: float | Array, angles: Array) -> Array:
    return np.stack([np.cos(angles) * radius, np.sin(angles) * radius], axis=1)


def _angles(points: int) -> Array:
    return np.arange(points) * (2 * math.pi / points)


def _circle(rng: Generator) -> Array:
    return _polar(1.0, _angles(72))


def _square(rng: Generator) -> Array:
    return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])


def _triangle(rng: Generator) -> Array:
    return _polar(1.0, _angles(3)) * [rng.uniform(0.9, 1.3), 1.0]


def _star(rng: Generator) -> Array:
    return _polar(np.tile([1.0, rng.uniform(0.38, 0.5)], 5), _angles(10))


def _cross(rng: Generator) -> Array:
    arm = rng.uniform(0.24, 0.36)
    corner = np.array([[1, -arm], [1, arm], [arm, arm]])
    quarter_turn = np.array([[0, 1], [-1, 0]])
    return np.concatenate([corner @ np.linalg.matrix_power(quarter_turn, k) for k in range(4)])


def _ring(rng: Generator) -> Array:
    rim = _polar(1.0, np.append(_angles(72), 0.0))
    return np.concatenate([rim, rim[::-1] * rng.uniform(0.5, 0.66)])


def _heart(rng: Generator) -> Array:
    t = _angles(72)
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, height], axis=1)


def _crescent(rng: Generator) -> Array:
    """A disc minus a smaller one: the arc of the unit circle outside the smaller circle, and back along that circle."""
    inner_radius, offset = rng.uniform(0.72, 0.88), rng.uniform(0.42, 0.55)
    tip = (1 - inner_radius**2 + offset**2) / (2 * offset)
    outer = math.acos(tip)
    inner = math.atan2(math.sin(outer), tip - offset)
    back = _polar(inner_radius, np.linspace(2 * math.pi - inner, inner, 36)) + np.array([offset, 0.0])
    return np.concatenate([_polar(1.0, np.linspace(outer, 2 * math.pi - outer, 48)), back])


def _arrow(rng: Generator) -> Array:
    shaft, head, neck = rng.uniform(0.14, 0.24), rng.uniform(0.55, 0.7), rng.uniform(-0.1, 0.2)
    half = np.array([[-1, shaft], [neck, shaft], [neck, head], [1, 0]])
    return np.concatenate([half, half[2::-1] * [1, -1]])


def _lightning(rng: Generator) -> Array:
    """A bolt: a slanted bar with a sideways step in the middle that ends in a point."""
    waist = rng.uniform(0.1, 0.16)
    return np.array(
        [[0.42, -1.0], [-0.12, -1.0], [-0.52, waist], [-0.04, waist], [-0.3, 1.0], [0.54, -waist], [0.06, -waist]]
    )


OUTLINES: dict[str, Callable[[Generator], Array]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "heart": _heart,
    "crescent": _crescent,
    "arrow": _arrow,
    "lightning": _lightning,
}
CLASSES: tuple[str, ...] = tuple(OUTLINES)


def _place(rng: Generator, outline: Array) -> tuple[Array, float]:
    """Squeeze, rotate, scale and move an outline so that it lies inside the image; also returns its radius."""
    outline = (outline - (outline.max(axis=0) + outline.min(axis=0)) / 2) * [1.0, rng.uniform(0.85, 1.0)]
    radius = rng.uniform(*OBJECT_DIAMETER) / 2
    angle = rng.uniform(0, 2 * math.pi)
    rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    outline = outline @ rotation * (radius / np.linalg.norm(outline, axis=1).max())
    low, high = 1 - outline.min(axis=0), SIDE - 1 - outline.max(axis=0)
    return outline + rng.uniform(low, high), radius


def _coverage(outline: Array) -> Array:
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


def _paint_texture(
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
    return _blend(colors[0], colors[1], weight).astype(np.float32)


# Colors: RGB 0..1, chosen by their perceptual distance.

OPPONENT = np.array([[0.30, 0.45, -0.15], [0.59, -0.45, -0.15], [0.11, 0.0, 0.30]])  # lightness, red-green, blue-yellow


def _palette(rng: Generator, count: int) -> Array:
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


def _background_colors(rng: Generator) -> Array:
    """Two colors of a background, similar enough for other colors to contrast with both."""
    first, second = _palette(rng, 2)
    return np.stack([first, first + rng.uniform(0.25, 0.6) * (second - first)])


def _object_colors(rng: Generator, background: Array) -> Array:
    """Two colors of an object, which contrast with the background but not too strongly with each other."""
    first = _sort_by_contrast(_palette(rng, 48), background, OBJECT_CONTRAST)[0]
    mixed = first + rng.uniform(0.4, 0.8) * (_palette(rng, 48) - first)
    return np.stack([first, _sort_by_contrast(mixed, background, OBJECT_CONTRAST)[0]])


def _sort_by_contrast(candidates: Array, others: Array, minimum: float) -> Array:
    """The candidates, first those at least ``minimum`` away from all others, in their order, then by distance."""
    return candidates[np.argsort(-np.minimum(_distance(candidates, others), minimum), kind="stable")]


# Distractors: small items of no class. Strokes are too thin and chips too small to be mistaken for an object.


def _walk(rng: Generator) -> Array:
    """A scribble: steps of constant length with a drifting direction."""
    heading = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.uniform(-0.9, 0.9, 14))
    return np.cumsum(_polar(rng.uniform(1.5, 3.0), heading), axis=0)


def _arc(rng: Generator) -> Array:
    start, sweep = rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 3.2)
    return _polar(rng.uniform(5, 14), start + np.linspace(0, sweep, 20))


def _segment(rng: Generator) -> Array:
    return _polar(rng.uniform(4, 15), rng.uniform(0, 2 * math.pi) + _angles(2))


def _blob(rng: Generator) -> Array:
    wobble = 1 + rng.uniform(0.2, 0.35) * np.sin(_angles(28) * rng.integers(2, 4) + rng.uniform(0, 6))
    return _polar(rng.uniform(2.0, 4.5) * wobble, _angles(28)) * [1.0, rng.uniform(0.5, 1.0)]


def _shard(rng: Generator) -> Array:
    corners = int(rng.integers(5, 8))
    return _polar(rng.uniform(1.2, 5.5, corners), _angles(corners) + rng.uniform(0, 6))


STROKES = (_walk, _arc, _segment)
CHIPS = (_blob, _shard)


def _draw_distractors(rng: Generator, canvas: Array, colors: Array) -> Array:
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
    return _blend(canvas, layer[..., :3], layer[..., 3])


def _blend(canvas: Array, paint: Array, coverage: Array) -> Array:
    """Blend paint over the canvas with the given coverage per pixel."""
    painted: Array = canvas + coverage[..., None] * (paint - canvas)
    return painted


def _add_camera_effects(rng: Generator, canvas: Array) -> NDArray[np.uint8]:
    """Add uneven lighting, slight blur and slight noise."""
    light = rng.uniform(0.85, 1.1) + rng.uniform(0, 0.3) * (_smooth_noise(rng, cells=3) - 0.5)
    lit = np.clip(canvas * light[..., None] * 255, 0, 255).astype(np.uint8)
    blurred = np.asarray(Image.fromarray(lit).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8))), np.float32)
    grain = rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(255 * rng.uniform(0, 0.03))
    return np.clip(blurred + grain, 0, 255).astype(np.uint8)
