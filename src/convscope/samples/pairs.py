"""Generated scenes whose answer needs two places: two objects, and the question whether they have the same shape.

Neither object alone tells the class, so a correct explanation points to both. A scene is a function of its seed. Seeds
below `FIRST_TRAINING_SEED` are for samples and evaluation; seeds from there on are for training.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

CLASSES = ("same shape", "different shapes")
SIDE = 64
FIRST_TRAINING_SEED = 1_000_000
SHAPES = ("disc", "ring", "cross")
_OVERSAMPLING = 4
_DIAMETER = (16.0, 20.0)
"""In pixels: twice the distance from the center to the farthest point."""
_SEPARATION = 24.0
"""The least distance between the two centers."""

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pair:
    """An image uint8 (64, 64), the class index, and the masks of the two objects (2, 64, 64)."""

    image: NDArray[np.uint8]
    label: int
    masks: NDArray[np.bool_]


def pair(seed: int) -> Pair:
    """Draw the scene of a seed; its class is `CLASSES[seed % 2]`, so consecutive seeds are balanced."""
    rng = Generator(PCG64(seed))
    label = seed % 2
    first = int(rng.integers(len(SHAPES)))
    second = (first + label * int(rng.integers(1, len(SHAPES)))) % len(SHAPES)
    canvas = _background(rng)
    masks = []
    for shape, center in zip((first, second), _centers(rng), strict=True):
        coverage = _coverage(_outline(SHAPES[shape], rng) + center)
        canvas = canvas + coverage * (rng.uniform(0.7, 1.0) - canvas)
        masks.append(coverage >= 0.5)
    noisy = canvas + rng.normal(0, 0.03, canvas.shape)
    image = (255 * noisy.clip(0, 1)).round().astype(np.uint8)
    return Pair(image, label, np.stack(masks))


def _background(rng: Generator) -> Points:
    """A soft dark texture."""
    noise = Image.fromarray((255 * rng.uniform(0, 1, (SIDE, SIDE))).astype(np.uint8))
    soft = np.asarray(noise.filter(ImageFilter.GaussianBlur(4)), np.float64) / 255
    return np.asarray(rng.uniform(0.15, 0.3) + 1.5 * (soft - soft.mean()))


def _centers(rng: Generator) -> Points:
    """Two places within the image that are far enough apart."""
    margin = _DIAMETER[1] / 2 + 1
    while True:
        centers = rng.uniform(margin, SIDE - margin, (2, 2))
        if np.linalg.norm(centers[0] - centers[1]) >= _SEPARATION:
            return np.asarray(centers)


def _outline(shape: str, rng: Generator) -> Points:
    """A closed polygon (points, xy) around the origin, turned at random."""
    radius = rng.uniform(*_DIAMETER) / 2
    if shape == "disc":
        points = _polar(1.0, 48) * 0.9
    elif shape == "ring":
        rim = np.append(_polar(1.0, 48), [[1.0, 0.0]], 0)
        points = np.concatenate([rim, rim[::-1] * 0.55])
    else:
        corner = np.array([[0.95, -0.27], [0.95, 0.27], [0.27, 0.27]])
        quarter_turn = np.array([[0, 1], [-1, 0]])
        points = np.concatenate([corner @ np.linalg.matrix_power(quarter_turn, k) for k in range(4)])
    angle = rng.uniform(0, 2 * math.pi)
    rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return np.asarray(points @ rotation * radius)


def _polar(radius: float, points: int) -> Points:
    angles = np.arange(points) * (2 * math.pi / points)
    return np.stack([np.cos(angles) * radius, np.sin(angles) * radius], axis=1)


def _coverage(outline: Points) -> Points:
    """The fraction of each pixel inside the polygon."""
    large = Image.new("L", (SIDE * _OVERSAMPLING, SIDE * _OVERSAMPLING))
    ImageDraw.Draw(large).polygon((outline * _OVERSAMPLING).ravel().tolist(), fill=255)
    return np.asarray(large.reduce(_OVERSAMPLING), np.float64) / 255
