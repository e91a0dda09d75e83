"""NIfTI volumes: ``.nii``, ``.nii.gz`` and pairs of ``.hdr`` and ``.img``."""

import gzip
import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from convscope.engine.inputs.orientation import assumed_position
from convscope.engine.inputs.raw_input import RawInput, check_count
from convscope.errors import InputError, MissingExtra
from convscope.spec import input_format

_ENDINGS = (".nii", ".nii.gz", ".hdr", ".img")
"""The names by which nibabel knows these files."""
_MAGIC = (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0")


def _is_nifti(path: Path, head: bytes) -> bool:
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, 400)
        except zlib.error:
            return False
    return head[344:348] in _MAGIC or head[4:8] in _MAGIC


@input_format(
    name="nifti",
    title="a NIfTI volume",
    extensions=(".nii.gz", ".nii", ".hdr"),
    recognizes=_is_nifti,
    options=("frame",),
    extra="medical",
    kinds=("volume",),
)
def read_nifti(path: Path, options: Mapping[str, str]) -> RawInput:
    """Read a volume with its voxels in the order of the file, and the matrix that places them in space.

    A file with several frames needs ``frame``, an index or ``all`` (a channel each). Colors become three channels.
    """
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtra("nibabel", "medical") from error
    image: Any = nibabel.load(path) if path.name.lower().endswith(_ENDINGS) else _by_content(path, nibabel)
    shape = tuple(int(size) for size in image.shape)
    check_count(shape, repr(path.name))
    if len(shape) < 3:
        raise InputError(f"{path.name!r} has the shape {shape}: a volume has three axes")
    frames = shape[3:] if max(shape[3:], default=1) > 1 else ()
    if "frame" in options and not frames:
        raise InputError(f"{path.name!r} holds a single volume: leave out ?frame={options['frame']}")
    values = _frame(image, frames, options.get("frame"), path)
    spacing = tuple(float(size) for size in np.linalg.norm(image.affine[:3, :3], axis=0))
    affine = np.asarray(image.affine, np.float64)
    has_position = int(image.header["sform_code"]) > 0 or int(image.header["qform_code"]) > 0
    remark = "" if has_position else assumed_position(affine)
    return RawInput(values, ("x", "y", "z"), spacing, "mm", affine, title=repr(path.name), remark=remark)


def _by_content(path: Path, nibabel: Any) -> Any:
    """A volume in a file of another name."""
    file: IO[bytes] = io.BytesIO(path.read_bytes())
    is_packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if is_packed:
        # Only the numbers that its header declares are unpacked, once counted.
        file = cast(IO[bytes], gzip.GzipFile(fileobj=file))
    kind = nibabel.Nifti2Image if file.read(8)[4:] in _MAGIC else nibabel.Nifti1Image
    file.seek(0)
    return kind.from_stream(file)


def _frame(image: Any, frames: tuple[int, ...], frame: str | None, path: Path) -> np.ndarray[Any, Any]:
    """The numbers (channels, x, y, z) of a volume or of the chosen frame; only this frame is read."""
    data = image.dataobj
    if not frames:
        array = np.asanyarray(data).reshape(*image.shape[:3])
        if array.dtype.names:  # colors
            return np.stack([array[name].astype(np.float32) for name in array.dtype.names])
        return np.asarray(array, np.float32)[None]
    if len(frames) > 1:
        raise InputError(f"{path.name!r} has the shape {tuple(image.shape)}: at most one axis of frames is read")
    if frame == "all":
        return np.ascontiguousarray(np.moveaxis(np.asarray(data, np.float32), 3, 0))
    if frame is None or not frame.isdecimal() or int(frame) >= frames[0]:
        got = "" if frame is None else f", got {frame!r}"
        raise InputError(
            f"{path.name!r} holds {frames[0]} frames: say which, as {path.name}?frame=0 to {frames[0] - 1}, or "
            f"?frame=all for a channel each{got}"
        )
    return np.asarray(data[..., int(frame)], np.float32)[None]
