"""Generated scenes whose right answer is known: one object, its class, and exactly which pixels it covers.

A photograph never says which pixels made it a cat, so an explanation of it can only be admired. Here the object was
drawn by us: a map that explains the answer has to point at the mask, and a test can say whether it does.

A scene is a textured background, a handful of distractors that belong to no class, and one object in front of them.
Outlines are drawn `OVERSAMPLING` times too large and shrunk, so edges are smooth; textures are computed at final
size. Everything follows from the seed. Seeds below `FIRST_TRAINING_SEED` are for people and for held-out
measurements; seeds from there on are for training.
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
OBJECT_ACROSS = (26.0, 50.0)  # pixels, twice the distance from the centre to the farthest point
OBJECT_CONTRAST = 0.30  # least distance of its colours from those around it; black to white is 1
DISTRACTOR_CONTRAST = 0.18

Array = NDArray[Any]  # of floats; numpy's stubs do not follow float32 through arithmetic


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture with its truth: `image` uint8 (96, 96, 3), the class index, and the object's pixels (96, 96)."""

    image: NDArray[np.uint8]
    label: int
    mask: NDArray[np.bool_]


def scene(seed: int) -> Scene:
    """Draw the scene of this seed; its class is `CLASSES[seed % len(CLASSES)]`, so any run of seeds is balanced."""
    rng = Generator(PCG64(seed))
    label = seed % len(CLASSES)
    around = _neighbours(rng)
    canvas = _textured(rng, BACKGROUNDS, around, reach=SIDE * rng.uniform(0.25, 0.5))

    outline, reach = _placed(rng, OUTLINES[CLASSES[label]](rng))
    inks = _inks(rng, around)
    strewn = _contrasting(_palette(rng, 48), np.concatenate([around, inks]), DISTRACTOR_CONTRAST)
    canvas = _with_distractors(rng, canvas, strewn[: rng.integers(5, 13)])

    cover = _cover(outline)
    paint = _textured(rng, SURFACES, inks, reach, centre=(outline.max(axis=0) + outline.min(axis=0)) / 2)
    return Scene(_photographed(rng, _over(canvas, paint, cover)), label, cover >= 0.5)


# Outlines: closed polygons (points, xy) around the origin in any size. Each class stays itself under rotation,
# which is why there is a square but no diamond.


def _polar(radius: float | Array, angles: Array) -> Array:
    return np.stack([np.cos(angles) * radius, np.sin(angles) * radius], axis=1)


def _turn(points: int) -> Array:
    return np.arange(points) * (2 * math.pi / points)


def _circle(rng: Generator) -> Array:
    return _polar(1.0, _turn(72))


def _square(rng: Generator) -> Array:
    return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])


def _triangle(rng: Generator) -> Array:
    return _polar(1.0, _turn(3)) * [rng.uniform(0.9, 1.3), 1.0]


def _star(rng: Generator) -> Array:
    return _polar(np.tile([1.0, rng.uniform(0.38, 0.5)], 5), _turn(10))


def _cross(rng: Generator) -> Array:
    arm = rng.uniform(0.24, 0.36)
    corner = np.array([[1, -arm], [1, arm], [arm, arm]])
    quarter_turn = np.array([[0, 1], [-1, 0]])
    return np.concatenate([corner @ np.linalg.matrix_power(quarter_turn, k) for k in range(4)])


def _ring(rng: Generator) -> Array:
    rim = _polar(1.0, np.append(_turn(72), 0.0))
    return np.concatenate([rim, rim[::-1] * rng.uniform(0.5, 0.66)])


def _heart(rng: Generator) -> Array:
    t = _turn(72)
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, height], axis=1)


def _crescent(rng: Generator) -> Array:
    """A disc with a bite: the arc of the unit circle outside a smaller one beside it, and back along the smaller."""
    bite, aside = rng.uniform(0.72, 0.88), rng.uniform(0.42, 0.55)
    tip = (1 - bite**2 + aside**2) / (2 * aside)
    outer = math.acos(tip)
    inner = math.atan2(math.sin(outer), tip - aside)
    back = _polar(bite, np.linspace(2 * math.pi - inner, inner, 36)) + np.array([aside, 0.0])
    return np.concatenate([_polar(1.0, np.linspace(outer, 2 * math.pi - outer, 48)), back])


def _arrow(rng: Generator) -> Array:
    shaft, head, neck = rng.uniform(0.14, 0.24), rng.uniform(0.55, 0.7), rng.uniform(-0.1, 0.2)
    half = np.array([[-1, shaft], [neck, shaft], [neck, head], [1, 0]])
    return np.concatenate([half, half[2::-1] * [1, -1]])


def _lightning(rng: Generator) -> Array:
    """A bolt: a slanted bar that jumps sideways halfway down and ends in a point."""
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


def _placed(rng: Generator, outline: Array) -> tuple[Array, float]:
    """Squeeze, turn, size and move an outline to lie wholly inside the picture, and say how far it reaches."""
    outline = (outline - (outline.max(axis=0) + outline.min(axis=0)) / 2) * [1.0, rng.uniform(0.85, 1.0)]
    reach = rng.uniform(*OBJECT_ACROSS) / 2
    angle = rng.uniform(0, 2 * math.pi)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    outline = outline @ turn * (reach / np.linalg.norm(outline, axis=1).max())
    low, high = 1 - outline.min(axis=0), SIDE - 1 - outline.max(axis=0)
    return outline + rng.uniform(low, high), reach


def _cover(outline: Array) -> Array:
    """How much of each pixel lies inside the polygon, 0 to 1."""
    large = Image.new("L", (SIDE * OVERSAMPLING, SIDE * OVERSAMPLING))
    ImageDraw.Draw(large).polygon(_pencil(outline), fill=255)
    return _shrunk(large)


def _shrunk(large: Image.Image) -> Array:
    return np.asarray(large.reduce(OVERSAMPLING), np.float32) / 255


def _pencil(points: Array) -> list[float]:
    return (points * OVERSAMPLING).ravel().tolist()


# Textures: a weight 0..1 per pixel that mixes two colours; u and v are coordinates along and across a random
# direction, 1 at the reach of the thing that is painted.


def _soft(wave: Array) -> Array:
    """A step with a slope, so that the edges of a pattern do not flicker between pixels."""
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
    """Courses of bricks, every other one shifted by half a brick, with mortar between them and each its own tone."""
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
    """Random values on a coarse grid, smoothly enlarged to the picture."""
    coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _textured(
    rng: Generator,
    textures: tuple[Texture, ...],
    colours: Array,
    reach: float,
    centre: Array | tuple[float, float] = (SIDE / 2, SIDE / 2),
) -> Array:
    """Paint the whole canvas with one of the textures between two colours."""
    angle = rng.uniform(0, 2 * math.pi)
    along, down = (COLUMNS - centre[0]) / reach, (ROWS - centre[1]) / reach
    u = along * math.cos(angle) + down * math.sin(angle)
    v = down * math.cos(angle) - along * math.sin(angle)
    weight = textures[rng.integers(len(textures))](rng, u, v)
    return _over(colours[0], colours[1], weight).astype(np.float32)


# Colours: RGB 0..1, chosen by how far apart people see them.

OPPONENT = np.array([[0.30, 0.45, -0.15], [0.59, -0.45, -0.15], [0.11, 0.0, 0.30]])  # lightness, red-green, blue-yellow


def _palette(rng: Generator, count: int) -> Array:
    """Colours of even hue, from greyish to pure and from dark to light."""
    hue, saturation, value = rng.random((3, count, 1))
    pure = np.clip(np.abs((hue * 6 + [0, 4, 2]) % 6 - 3) - 1, 0, 1)
    colours: Array = (0.15 + 0.85 * value) * (1 - saturation * (1 - pure))
    return colours


def _distance(colours: Array, others: Array) -> Array:
    """From each colour to the nearest of the others."""
    distances: Array = np.linalg.norm((colours[:, None] - others[None]) @ OPPONENT, axis=2)
    nearest: Array = distances.min(axis=1)
    return nearest


def _neighbours(rng: Generator) -> Array:
    """Two colours of one background: alike enough that others can still stand out from both."""
    first, second = _palette(rng, 2)
    return np.stack([first, first + rng.uniform(0.25, 0.6) * (second - first)])


def _inks(rng: Generator, around: Array) -> Array:
    """Two colours of one object: both stand out from what is around, and they are not so unlike as to break it up."""
    first = _contrasting(_palette(rng, 48), around, OBJECT_CONTRAST)[0]
    mixed = first + rng.uniform(0.4, 0.8) * (_palette(rng, 48) - first)
    return np.stack([first, _contrasting(mixed, around, OBJECT_CONTRAST)[0]])


def _contrasting(candidates: Array, others: Array, least: float) -> Array:
    """The candidates in their order, those that stand out enough from all others before those that do not."""
    return candidates[np.argsort(-np.minimum(_distance(candidates, others), least), kind="stable")]


# Distractors: small things of no class. Strokes are too thin and shards too small to be taken for an object.


def _walk(rng: Generator) -> Array:
    """A scribble: steps of even length whose direction drifts."""
    heading = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.uniform(-0.9, 0.9, 14))
    return np.cumsum(_polar(rng.uniform(1.5, 3.0), heading), axis=0)


def _arc(rng: Generator) -> Array:
    start, sweep = rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 3.2)
    return _polar(rng.uniform(5, 14), start + np.linspace(0, sweep, 20))


def _segment(rng: Generator) -> Array:
    return _polar(rng.uniform(4, 15), rng.uniform(0, 2 * math.pi) + _turn(2))


def _blob(rng: Generator) -> Array:
    wobble = 1 + rng.uniform(0.2, 0.35) * np.sin(_turn(28) * rng.integers(2, 4) + rng.uniform(0, 6))
    return _polar(rng.uniform(2.0, 4.5) * wobble, _turn(28)) * [1.0, rng.uniform(0.5, 1.0)]


def _shard(rng: Generator) -> Array:
    corners = int(rng.integers(5, 8))
    return _polar(rng.uniform(1.2, 5.5, corners), _turn(corners) + rng.uniform(0, 6))


STROKES = (_walk, _arc, _segment)
CHIPS = (_blob, _shard)


def _with_distractors(rng: Generator, canvas: Array, inks: Array) -> Array:
    """Strew strokes and chips over the canvas, one for each ink."""
    large = Image.new("RGBA", (SIDE * OVERSAMPLING, SIDE * OVERSAMPLING))
    pen = ImageDraw.Draw(large)
    for red, green, blue in (inks * 255).astype(int).tolist():
        makers = STROKES if rng.random() < 0.5 else CHIPS
        points = _pencil(makers[rng.integers(len(makers))](rng) + rng.uniform(0, SIDE, 2))
        if makers is STROKES:
            width = round(OVERSAMPLING * rng.uniform(1.0, 2.2))
            pen.line(points, fill=(red, green, blue, 255), width=width, joint="curve")
        else:
            pen.polygon(points, fill=(red, green, blue, 255))
    layer = _shrunk(large)
    return _over(canvas, layer[..., :3], layer[..., 3])


def _over(canvas: Array, paint: Array, cover: Array) -> Array:
    """Lay paint on the canvas as far as it covers each pixel."""
    painted: Array = canvas + cover[..., None] * (paint - canvas)
    return painted


def _photographed(rng: Generator, canvas: Array) -> NDArray[np.uint8]:
    """What a camera adds: uneven light, a little blur, a little grain."""
    light = rng.uniform(0.85, 1.1) + rng.uniform(0, 0.3) * (_smooth_noise(rng, cells=3) - 0.5)
    lit = np.clip(canvas * light[..., None] * 255, 0, 255).astype(np.uint8)
    blurred = np.asarray(Image.fromarray(lit).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8))), np.float32)
    grain = rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(255 * rng.uniform(0, 0.03))
    return np.clip(blurred + grain, 0, 255).astype(np.uint8)
