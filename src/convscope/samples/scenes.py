"""Generated scenes with several objects, the box of each and the pixels it covers, for detection and segmentation.

Backgrounds, objects and distractors are those of `samples/shapes.py`, smaller and without the classes with a hole, so
that a correct map peaks on the object itself. Objects do not overlap; classes are drawn independently, so that a scene
may hold two of the same class. A scene is a function of its seed. Seeds below `FIRST_TRAINING_SEED` are for samples and
evaluation; seeds from there on are for training.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray
from PIL import Image

from convscope.samples import drawing
from convscope.samples.drawing import DISTRACTOR_CONTRAST, SIDE, Array
from convscope.samples.shapes import FIRST_TRAINING_SEED, OUTLINES, deform, draw_object

__all__ = ["CLASSES", "FIRST_TRAINING_SEED", "SIZE", "Scene", "SceneObject", "scene"]

CLASSES = ("circle", "square", "triangle", "star", "cross", "heart")
SIZE = 64
"""The side of a scene in pixels; it is drawn at `SIDE` and reduced."""
_OBJECTS = (2, 4)
"""The smallest and the largest number of objects."""
_DIAMETER = (24.0, 38.0)
"""Of an object, in pixels of the drawing."""
_GAP = 3.0
"""Between the circles around two objects, in pixels of the drawing."""
_ATTEMPTS = 40
"""How many places are tried for an object; where none is free, the scene has fewer objects."""


@dataclass(frozen=True, eq=False)
class SceneObject:
    """An object: the index of its class, its box (left, top, right, bottom) in pixels, and its mask (64, 64)."""

    label: int
    box: tuple[float, float, float, float]
    mask: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scene:
    """An image uint8 (64, 64, 3) and its objects."""

    image: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]

    @property
    def classes(self) -> NDArray[np.int64]:
        """What each pixel shows (64, 64): 0 the background, else 1 + the index of the class."""
        classes = np.zeros((SIZE, SIZE), np.int64)
        for each in self.objects:
            classes[each.mask] = 1 + each.label
        return classes


def scene(seed: int) -> Scene:
    """Draw the scene of a seed; the class of its first object is `CLASSES[seed % len(CLASSES)]`."""
    rng = Generator(PCG64(seed))
    labels = [seed % len(CLASSES), *rng.integers(len(CLASSES), size=rng.integers(_OBJECTS[0], _OBJECTS[1] + 1) - 1)]
    background = drawing.background_colors(rng)
    canvas = drawing.paint_texture(rng, drawing.BACKGROUNDS, background, radius=SIDE * rng.uniform(0.25, 0.5))
    outlines = _place_apart(rng, [int(label) for label in labels])
    colors = [drawing.object_colors(rng, background) for _ in outlines]
    all_colors = np.concatenate([background, *colors])
    distractors = drawing.sort_by_contrast(drawing.palette(rng, 48), all_colors, DISTRACTOR_CONTRAST)
    canvas = drawing.draw_distractors(rng, canvas, distractors[: rng.integers(3, 9)])
    objects = []
    for (label, outline, radius), own_colors in zip(outlines, colors, strict=True):
        canvas, coverage = draw_object(rng, canvas, outline, radius, own_colors)
        objects.append(_scene_object(label, _reduced(coverage) >= 0.5))
    image = Image.fromarray(drawing.add_camera_effects(rng, canvas)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return Scene(np.asarray(image), tuple(objects))


def _place_apart(rng: Generator, labels: list[int]) -> list[tuple[int, Array, float]]:
    """An outline and its radius for each class, at places where the circles around them do not meet."""
    placed: list[tuple[int, Array, float]] = []
    centers: list[Array] = []
    for label in labels:
        outline, radius = deform(rng, OUTLINES[CLASSES[label]](rng), _DIAMETER)
        for _ in range(_ATTEMPTS):
            center = rng.uniform(radius + 1, SIDE - radius - 1, 2)
            distances = [
                float(np.linalg.norm(center - other)) - radius - other_radius
                for other, (_, _, other_radius) in zip(centers, placed, strict=True)
            ]
            if min(distances, default=_GAP) >= _GAP:
                centers.append(center)
                placed.append((label, outline + center, radius))
                break
    return placed


def _reduced(coverage: Array) -> Array:
    return np.asarray(Image.fromarray(coverage).resize((SIZE, SIZE), Image.Resampling.BOX))


def _scene_object(label: int, mask: NDArray[np.bool_]) -> SceneObject:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
    return SceneObject(label, box, mask)
