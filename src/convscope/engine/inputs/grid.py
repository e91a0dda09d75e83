"""Where the numbers of an input lie in time or space, and what its channels are called."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from convscope.values.facts import Fact


@dataclass(frozen=True, eq=False)
class Grid:
    """The positions of a prepared input.

    Attributes:
        spacing: the distance between neighbors along each axis, in ``unit``; empty if unknown.
        unit: ``s`` or ``mm``; empty if unknown.
        affine: for volumes, the 4 × 4 matrix from the index of a voxel to its position in millimeters, in the
            coordinates of NIfTI.
        channel_names: the name of each channel; empty if unknown.
    """

    spacing: tuple[float, ...] = ()
    unit: str = ""
    affine: NDArray[np.float64] | None = None
    channel_names: tuple[str, ...] = ()

    def resized(self, factors: tuple[float, ...]) -> "Grid":
        """The grid after each axis was given ``factors`` times as many positions over the same extent."""
        spacing = (
            tuple(step / factor for step, factor in zip(self.spacing, factors, strict=True)) if self.spacing else ()
        )
        if self.affine is None:
            return replace(self, spacing=spacing)
        scale, shift = np.eye(4), np.eye(4)
        scale[:3, :3] = np.diag([1 / factor for factor in factors])
        shift[:3, 3] = [(1 / factor - 1) / 2 for factor in factors]  # the outer edges of the voxels stay in place
        return replace(self, spacing=spacing, affine=self.affine @ shift @ scale)

    def shifted(self, offsets: tuple[int, ...]) -> "Grid":
        """The grid after positions were cut off at the start of each axis; a negative number of them was added."""
        if self.affine is None:
            return self
        shift = np.eye(4)
        shift[:3, 3] = offsets
        return replace(self, affine=self.affine @ shift)

    def facts(self) -> dict[str, Any]:
        """The fields of a record that describe the grid; those that are unknown are left out."""
        affine = () if self.affine is None else tuple(tuple(float(n) for n in row) for row in self.affine)
        fields = {"spacing": self.spacing, "unit": self.unit, "affine": affine, "channel_names": self.channel_names}
        return {name: value for name, value in fields.items() if value}


@dataclass(frozen=True, eq=False)
class Sample:
    """One prepared input: the tensor (channels, …), its grid, and a remark about its preparation.

    Attributes:
        size: of a picture the height and width before it was prepared; empty for other inputs.
    """

    tensor: Tensor
    grid: Grid = Grid()
    remark: str = ""
    size: tuple[int, ...] = ()


def joined_remarks(remarks: Iterable[str]) -> str:
    """Several remarks about a preparation as one; the same remark is made once, and empty ones are left out."""
    present = list(dict.fromkeys(remark for remark in remarks if remark))
    return present[0] if len(present) == 1 else Fact("{remarks}", remarks=present) if present else ""
