"""Generated volumes with ground truth: tissue with vessels, in which there may be one solid or hollow nodule.

A volume is a function of its seed; the voxels of the nodule are its mask, so that the map of a correct explanation lies
there. Vessels and specks are as bright as nodules, so that the brightest voxel tells nothing. Seeds below
`FIRST_TRAINING_SEED` are for samples and evaluation; seeds from there on are for training.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray
from scipy import ndimage

CLASSES = ("no nodule", "solid nodule", "hollow nodule")
SHAPE = (24, 32, 32)
"""Slices, rows, columns."""
SPACING = (2.0, 1.5, 1.5)
"""The size of a voxel in millimeters."""
FIRST_TRAINING_SEED = 1_000_000
_RADIUS = (4.5, 7.5)
"""The smallest and the largest radius of a nodule, in millimeters."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A volume uint8 (24, 32, 32), the class index, and the mask of the nodule."""

    volume: NDArray[np.uint8]
    label: int
    mask: NDArray[np.bool_]


def scan(seed: int) -> Scan:
    """Draw the volume of a seed; its class is `CLASSES[seed % 3]`, so consecutive seeds are balanced."""
    rng = Generator(PCG64(seed))
    label = seed % len(CLASSES)
    tissue = 70 + 28 * _standardized(ndimage.gaussian_filter(rng.normal(size=SHAPE), (1.5, 2, 2)))
    for _ in range(rng.integers(2, 5)):
        tissue = _with_vessel(tissue, rng)
    for _ in range(rng.integers(2, 6)):
        tissue += rng.uniform(60, 110) * _inside(_distance(_place(rng, 2), SHAPE), rng.uniform(1.5, 2.2))
    center, radius = _place(rng, 5), rng.uniform(*_RADIUS)
    distance = _distance(center, SHAPE)
    if label:
        brightness = rng.uniform(150, 190)
        tissue += (brightness - tissue) * _inside(distance, radius)
    if label == 2:
        tissue += (60 - tissue) * _inside(distance, 0.55 * radius)
    noisy = tissue + rng.normal(0, 6, SHAPE)
    mask = (distance <= radius) if label else np.zeros(SHAPE, bool)
    return Scan(noisy.clip(0, 255).round().astype(np.uint8), label, mask)


def _place(rng: Generator, margin: int) -> NDArray[np.float64]:
    """A position at least ``margin`` voxels from the border, in voxels."""
    return np.array([rng.uniform(margin, size - 1 - margin) for size in SHAPE])


def _distance(center: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The distance of each voxel from a position, in millimeters."""
    offsets = [(np.arange(size) - place) * step for size, place, step in zip(shape, center, SPACING, strict=True)]
    depth, height, width = np.ix_(*offsets)
    distances: NDArray[np.float64] = np.sqrt(depth**2 + height**2 + width**2)
    return distances


def _inside(distance: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """1 within a radius and 0 outside, with an edge of one millimeter."""
    return (radius - distance + 0.5).clip(0, 1)


def _with_vessel(tissue: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    """The tissue with a straight bright tube through it."""
    origin, direction = _place(rng, 3) * SPACING, rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in SHAPE), indexing="ij"), -1) * SPACING - origin
    along = grid @ direction
    distance = np.sqrt(np.maximum((grid**2).sum(-1) - along**2, 0))
    return tissue + (rng.uniform(130, 180) - tissue) * _inside(distance, rng.uniform(1.6, 2.6))


def _standardized(values: NDArray[np.float64]) -> NDArray[np.float64]:
    standardized: NDArray[np.float64] = (values - values.mean()) / values.std()
    return standardized
