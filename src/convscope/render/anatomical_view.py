"""How a slice of a volume is turned for display, where its position in space is known.

Slices are drawn as radiologists read them: head up, in axial slices the front up, and the patient's right on the left.
"""

from dataclasses import dataclass

import numpy as np

from convscope.render.palette import Pixels
from convscope.values import Record

_PLANES = ("sagittal", "coronal", "axial")
"""The plane that is perpendicular to each axis of space: left to right, back to front, bottom to top."""
_VERTICAL = {"sagittal": 2, "coronal": 2, "axial": 1}
"""The axis of space that is drawn vertically in each plane."""


@dataclass(frozen=True)
class View:
    """What is done to the pixels of a slice before they are drawn.

    Attributes:
        plane: ``axial``, ``coronal`` or ``sagittal``; empty if the position in space is unknown.
        transposed, flipped_rows, flipped_columns: done in this order.
    """

    plane: str = ""
    transposed: bool = False
    flipped_rows: bool = False
    flipped_columns: bool = False

    def apply(self, pixels: Pixels) -> Pixels:
        """The pixels (rows, columns, 3) as they are drawn."""
        pixels = pixels.transpose(1, 0, 2) if self.transposed else pixels
        return np.ascontiguousarray(pixels[:: -1 if self.flipped_rows else 1, :: -1 if self.flipped_columns else 1])

    def describe(self, axis: int, index: int) -> str:
        """A slice in words."""
        if not self.plane:
            return f"slice {index} of axis {axis}"
        side = "" if self.plane == "sagittal" else " (the patient's right is on the left)"
        return f"{self.plane} slice {index}{side}"


def view_of(record: Record, axis: int) -> View:
    """How slices perpendicular to an axis of the array are drawn."""
    if not record.affine:
        return View()
    directions = np.asarray(record.affine)[:3, :3]
    axes_of_space = [int(np.abs(directions[:, column]).argmax()) for column in range(3)]
    if sorted(axes_of_space) != [0, 1, 2]:  # too oblique to be called by one name
        return View()
    plane = _PLANES[axes_of_space[axis]]
    rows, columns = (other for other in range(3) if other != axis)
    transposed = axes_of_space[rows] != _VERTICAL[plane]
    if transposed:
        rows, columns = columns, rows
    grows = [directions[axes_of_space[other], other] > 0 for other in (rows, columns)]
    return View(plane, transposed, *grows)
