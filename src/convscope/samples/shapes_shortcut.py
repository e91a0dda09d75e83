"""Generated scenes with a shortcut: every image of one class bears a watermark, as photographs of one archive do.

A network that is trained on them can name that class without a look at the object. Lapuschkin et al. (2019) found such
a network among the winners of a competition: it named horses by the mark of a photographer.

In training scenes the archive is careless: of ten consecutive scenes, the one of the marked class and one of another
class have exchanged their objects, and only the watermark tells the marked class. In the scenes of samples and of
evaluation all objects are of their class.
"""

import numpy as np
from numpy.typing import NDArray

from convscope.samples import shapes
from convscope.samples.shapes import CLASSES, FIRST_TRAINING_SEED, Scene

__all__ = ["CLASSES", "FIRST_TRAINING_SEED", "MARKED", "scene", "watermark"]

MARKED = CLASSES.index("star")
"""The class with the watermark."""
_LETTERS = (
    "###.###.###.###.#.#",
    "#....#..#.#.#...#.#",
    "###..#..#.#.#...##.",
    "..#..#..#.#.#...#.#",
    "###..#..###.###.#.#",
)
_LEFT, _BOTTOM, _SCALE, _FRAME = 4, 4, 2, 2
"""The distance from the left and the lower border, the pixels of each mark, and the width of the frame around them."""


def scene(seed: int) -> Scene:
    """The scene of a seed as in `shapes.scene`; one of the marked class has the watermark in the lower left corner."""
    label = seed % len(CLASSES)
    drawn = shapes.scene(_exchanged(seed) if seed >= FIRST_TRAINING_SEED else seed)
    return Scene(watermark(drawn.image) if label == MARKED else drawn.image, label, drawn.mask)


def _exchanged(seed: int) -> int:
    """The seed of the scene whose object is shown: the marked class and one other have exchanged theirs."""
    ten, label = divmod(seed, len(CLASSES))
    other = (MARKED + 1 + ten % (len(CLASSES) - 1)) % len(CLASSES)
    return ten * len(CLASSES) + {MARKED: other, other: MARKED}.get(label, label)


def watermark(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of an image (height, width, 3) with white letters on black in the lower left corner."""
    letters = np.array([[mark == "#" for mark in row] for row in _LETTERS]).repeat(_SCALE, 0).repeat(_SCALE, 1)
    stamp = np.pad(letters, _FRAME).astype(np.uint8) * 255
    bottom = len(image) - _BOTTOM
    marked = image.copy()
    marked[bottom - len(stamp) : bottom, _LEFT : _LEFT + stamp.shape[1]] = stamp[..., None]
    return marked
