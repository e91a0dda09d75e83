"""Generated scenes with ground truth: one object, its class, and the pixels it covers.

For a photograph it is not known which pixels determine its class, so an explanation of it cannot be verified. For these
scenes it can: the map of a correct explanation lies on the mask of the object.

A scene is a textured background, some distractors that belong to no class, and one object in front of them. It is a
function of its seed. Seeds below `FIRST_TRAINING_SEED` are for samples and evaluation; seeds from there on are for
training.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from convscope.samples import drawing
from convscope.samples.drawing import DISTRACTOR_CONTRAST, SIDE, Array, angles, polar

FIRST_TRAINING_SEED = 1_000_000
OBJECT_DIAMETER = (26.0, 50.0)  # in pixels: twice the distance from the center to the farthest point


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
    background = drawing.background_colors(rng)
    canvas = drawing.paint_texture(rng, drawing.BACKGROUNDS, background, radius=SIDE * rng.uniform(0.25, 0.5))

    outline, radius = _place(rng, OUTLINES[CLASSES[label]](rng))
    object_colors = drawing.object_colors(rng, background)
    colors = np.concatenate([background, object_colors])
    distractors = drawing.sort_by_contrast(drawing.palette(rng, 48), colors, DISTRACTOR_CONTRAST)
    canvas = drawing.draw_distractors(rng, canvas, distractors[: rng.integers(5, 13)])

    canvas, coverage = draw_object(rng, canvas, outline, radius, object_colors)
    return Scene(drawing.add_camera_effects(rng, canvas), label, coverage >= 0.5)


def draw_object(rng: Generator, canvas: Array, outline: Array, radius: float, colors: Array) -> tuple[Array, Array]:
    """The canvas with a textured object in front, and the fraction of each pixel that the object covers."""
    coverage = drawing.coverage_of(outline)
    center = (outline.max(axis=0) + outline.min(axis=0)) / 2
    paint = drawing.paint_texture(rng, drawing.SURFACES, colors, radius, center=center)
    return drawing.blend(canvas, paint, coverage), coverage


# Outlines: closed polygons (points, xy) around the origin in any size. Classes are invariant to rotation, so there is a
# square but no diamond.


def _circle(rng: Generator) -> Array:
    return polar(1.0, angles(72))


def _square(rng: Generator) -> Array:
    return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])


def _triangle(rng: Generator) -> Array:
    return polar(1.0, angles(3)) * [rng.uniform(0.9, 1.3), 1.0]


def _star(rng: Generator) -> Array:
    return polar(np.tile([1.0, rng.uniform(0.38, 0.5)], 5), angles(10))


def _cross(rng: Generator) -> Array:
    arm = rng.uniform(0.24, 0.36)
    corner = np.array([[1, -arm], [1, arm], [arm, arm]])
    quarter_turn = np.array([[0, 1], [-1, 0]])
    return np.concatenate([corner @ np.linalg.matrix_power(quarter_turn, k) for k in range(4)])


def _ring(rng: Generator) -> Array:
    rim = polar(1.0, np.append(angles(72), 0.0))
    return np.concatenate([rim, rim[::-1] * rng.uniform(0.5, 0.66)])


def _heart(rng: Generator) -> Array:
    t = angles(72)
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, height], axis=1)


def _crescent(rng: Generator) -> Array:
    """A disc minus a smaller one: the arc of the unit circle outside the smaller circle, and back along that circle."""
    inner_radius, offset = rng.uniform(0.72, 0.88), rng.uniform(0.42, 0.55)
    tip = (1 - inner_radius**2 + offset**2) / (2 * offset)
    outer = math.acos(tip)
    inner = math.atan2(math.sin(outer), tip - offset)
    back = polar(inner_radius, np.linspace(2 * math.pi - inner, inner, 36)) + np.array([offset, 0.0])
    return np.concatenate([polar(1.0, np.linspace(outer, 2 * math.pi - outer, 48)), back])


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
    """Deform an outline and move it so that it lies inside the image; also returns its radius."""
    outline, radius = deform(rng, outline, OBJECT_DIAMETER)
    low, high = 1 - outline.min(axis=0), SIDE - 1 - outline.max(axis=0)
    return outline + rng.uniform(low, high), radius


def deform(rng: Generator, outline: Array, diameter: tuple[float, float]) -> tuple[Array, float]:
    """Squeeze, rotate and scale an outline around the origin; also returns its radius."""
    outline = (outline - (outline.max(axis=0) + outline.min(axis=0)) / 2) * [1.0, rng.uniform(0.85, 1.0)]
    radius = rng.uniform(*diameter) / 2
    angle = rng.uniform(0, 2 * math.pi)
    rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return outline @ rotation * (radius / np.linalg.norm(outline, axis=1).max()), radius
