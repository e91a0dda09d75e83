"""Volumes turned to an orientation such as RAS: axes exchanged and reversed, and the position in space kept."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.engine.inputs.grid import Grid
from convscope.errors import InputError
from convscope.values.facts import Fact

_DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
"""Each letter: the axis of space, and whether the index grows along it or against it."""


def check_orientation(letters: str) -> str:
    """Letters such as ``RAS``, one for each axis of an array: the direction in which its index grows.

    Raises:
        InputError: these are not three letters, one of R or L, A or P, S or I.
    """
    known = isinstance(letters, str) and len(letters) == 3 and all(letter in _DIRECTIONS for letter in letters)
    if not known or {_DIRECTIONS[letter][0] for letter in letters} != {0, 1, 2}:
        raise InputError(
            "orientation says in which direction each axis grows, with one letter of R or L, one of A or P and one of "
            f"S or I, such as RAS or SAR, got {letters!r}"
        )
    return letters


def oriented(values: NDArray[np.float32], grid: Grid, letters: str, title: str) -> tuple[NDArray[np.float32], Grid]:
    """A volume (channels, …) whose axes grow in these directions, as nearly as its own axes allow.

    Raises:
        InputError: the file does not say how the volume lies in space.
    """
    if grid.affine is None:
        raise InputError(f"{title} does not say how it lies in space, so that it cannot be turned to {letters}")
    source = _axes_of(grid.affine)
    wanted = [_DIRECTIONS[letter] for letter in letters]
    order = [next(axis for axis, (direction, _) in enumerate(source) if direction == target) for target, _ in wanted]
    flips = [source[axis][1] != sign for axis, (_, sign) in zip(order, wanted, strict=True)]
    turned = values.transpose(0, *(axis + 1 for axis in order))
    turned = turned[(slice(None), *(slice(None, None, -1 if flip else 1) for flip in flips))]
    transform = np.zeros((4, 4))
    transform[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        transform[old, new] = -1 if flip else 1
        transform[old, 3] = values.shape[old + 1] - 1 if flip else 0
    spacing = tuple(grid.spacing[axis] for axis in order) if grid.spacing else ()
    return np.ascontiguousarray(turned), replace(grid, spacing=spacing, affine=grid.affine @ transform)


def letters_of(affine: NDArray[np.float64]) -> str:
    """The direction in which each axis of an array grows, as nearly as letters can say, such as ``LPS``."""
    names = {direction: letter for letter, direction in _DIRECTIONS.items()}
    return "".join(names[direction] for direction in _axes_of(affine))


def assumed_position(affine: NDArray[np.float64]) -> str:
    """What is said of a volume whose file does not say how it lies in space."""
    return Fact("the file names no position in space: the orientation {letters} is assumed", letters=letters_of(affine))


def obliqueness(affine: NDArray[np.float64]) -> float:
    """The largest angle, in degrees, between an axis of an array and the axis of space that is nearest to it."""
    directions = affine[:3, :3] / np.maximum(np.linalg.norm(affine[:3, :3], axis=0), 1e-12)
    cosines = [abs(float(directions[space, axis])) for axis, (space, _) in enumerate(_axes_of(affine))]
    return float(np.degrees(np.arccos(min(1.0, *cosines))))


def _axes_of(affine: NDArray[np.float64]) -> list[tuple[int, int]]:
    """For each axis of an array the axis of space that is nearest to it, and the sign; each is used once."""
    directions = affine[:3, :3] / np.maximum(np.linalg.norm(affine[:3, :3], axis=0), 1e-12)
    axes: list[Any] = [None] * 3
    remaining = np.abs(directions)
    for _ in range(3):  # the axes that are nearest to each other first
        space, axis = np.unravel_index(int(remaining.argmax()), (3, 3))
        axes[axis] = (int(space), 1 if directions[space, axis] >= 0 else -1)
        remaining[space, :] = remaining[:, axis] = -1
    return axes
