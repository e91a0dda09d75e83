"""NRRD volumes: ``.nrrd`` and ``.nhdr``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convscope.engine.inputs.orientation import assumed_position
from convscope.engine.inputs.raw_input import RawInput, as_numbers, check_count
from convscope.errors import InputError, MissingExtra
from convscope.spec import input_format

_TO_RAS = {
    "left-posterior-superior": (-1.0, -1.0, 1.0),
    "right-anterior-superior": (1.0, 1.0, 1.0),
    "left-anterior-superior": (-1.0, 1.0, 1.0),
}
"""The signs that turn the coordinates of a file into those of NIfTI."""


@input_format(
    name="nrrd",
    title="an NRRD volume",
    extensions=(".nrrd", ".nhdr"),
    recognizes=lambda path, head: head.startswith(b"NRRD0"),
    extra="medical",
    kinds=("volume",),
)
def read_nrrd(path: Path, options: Mapping[str, str]) -> RawInput:
    """Read a volume with its voxels in the order of the file, and the matrix that places them in space."""
    try:
        import nrrd
    except ImportError as error:
        raise MissingExtra("pynrrd", "medical") from error
    own_header = nrrd.read_header(str(path))
    check_count(tuple(int(size) for size in own_header["sizes"]), repr(path.name))
    for field in ("datafile", "data file"):  # both are read, and the first is preferred
        if (separate := own_header.get(field)) is not None and Path(str(separate)).name != separate:
            raise InputError(f"{path.name!r} keeps its numbers in {separate!r}, outside its own folder")
    array, header = nrrd.read(str(path))
    directions = np.asarray(header.get("space directions", np.eye(array.ndim)), np.float64)
    of_channels = [axis for axis, row in enumerate(directions) if not np.isfinite(row).all()]
    if array.ndim - len(of_channels) != 3 or len(of_channels) > 1:
        raise InputError(f"{path.name!r} has the shape {array.shape}: a volume has three axes, and one of channels")
    values = np.moveaxis(array, of_channels[0], 0) if of_channels else array[None]
    affine = _affine(np.delete(directions, of_channels, 0), header, path)
    spacing = tuple(float(size) for size in np.linalg.norm(affine[:3, :3], axis=0))
    numbers = np.ascontiguousarray(as_numbers(values, repr(path.name)))
    remark = "" if "space directions" in header else assumed_position(affine)
    return RawInput(numbers, ("x", "y", "z"), spacing, "mm", affine, title=repr(path.name), remark=remark)


def _affine(directions: Any, header: Mapping[str, Any], path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The matrix from voxels to millimeters; each row of ``directions`` is the step along one axis."""
    space = str(header.get("space", "left-posterior-superior")).lower()
    short = {"lps": "left-posterior-superior", "ras": "right-anterior-superior", "las": "left-anterior-superior"}
    signs = _TO_RAS.get(short.get(space, space))
    if signs is None:
        raise InputError(f"{path.name!r} uses the space {space!r}, which is not known here")
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(signs)[:, None] * np.asarray(directions, np.float64).T
    affine[:3, 3] = np.asarray(signs) * np.asarray(header.get("space origin", (0, 0, 0)), np.float64)
    return affine
