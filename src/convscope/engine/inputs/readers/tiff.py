"""TIFF files with many bands, 16-bit or floating-point numbers, or several pages."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from convscope.engine.inputs.raw_input import RawInput, as_numbers, check_count
from convscope.errors import InputError
from convscope.spec import input_format

_AXES = {"Y": "height", "X": "width", "Z": "depth", "T": "time"}
"""The letters that a file has for axes of space and time; all others are channels."""


@input_format(
    name="tiff",
    title="a TIFF file",
    extensions=(".tif", ".tiff"),
    recognizes=lambda path, head: head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    kinds=("image", "volume"),
)
def read_tiff(path: Path, options: Mapping[str, str]) -> RawInput:
    """Read all bands, with the numbers as they are stored; several pages without names of their axes are bands."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        check_count(series.shape, repr(path.name))
        array, letters = series.asarray(), series.axes
    kept = [axis for axis, size in enumerate(array.shape) if size > 1 or letters[axis] in "YX"]
    array, letters = array.reshape([array.shape[axis] for axis in kept]), "".join(letters[axis] for axis in kept)
    of_channels = [axis for axis, letter in enumerate(letters) if letter not in _AXES]
    if len(of_channels) > 1:
        raise InputError(f"{path.name!r} has the axes {letters}: more than one of them holds bands")
    array = np.moveaxis(array, of_channels[0], 0) if of_channels else array[None]
    axes = tuple(_AXES[letter] for letter in letters if letter in _AXES)
    return RawInput(np.ascontiguousarray(as_numbers(array, repr(path.name))), axes, title=repr(path.name))
