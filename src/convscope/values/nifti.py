"""A map over a volume as a NIfTI file, placed in space like the scan, so that viewers lay it over the scan."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from convscope.errors import CannotWrite, MissingExtra
from convscope.values.base import Record


def write_nifti(values: Any, record: Record, path: Path) -> None:
    """Write a map (three axes) as NIfTI; without a known position in space, voxels have the spacing of the record.

    Raises:
        CannotWrite: the map is not one of a volume.
        MissingExtra: nibabel is not installed.
    """
    array = np.asarray(values.detach(), np.float32)
    if array.ndim != 3:
        raise CannotWrite(f"a map of shape {array.shape} is not one of a volume: save it as .png, .npz or .json")
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtra("nibabel", "medical") from error
    spacing = record.spacing if len(record.spacing) == 3 else (1.0, 1.0, 1.0)
    affine = np.asarray(record.affine) if record.affine else np.diag([*spacing, 1.0])
    image: Any = nibabel.Nifti1Image(array, affine)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = f"ConvScope {record.lens}"[:79].encode("ascii", "replace")
    content = image.to_bytes()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix.lower() == ".gz" else content)
