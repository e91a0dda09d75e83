"""NumPy files: ``.npy`` with one array, ``.npz`` with several."""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from convscope.engine.inputs.raw_input import RawInput, as_numbers, check_count
from convscope.errors import InputError, did_you_mean
from convscope.spec import input_format

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How members of an archive are packed by NumPy; others are unpacked without a limit."""


@input_format(
    name="npy",
    title="a NumPy array",
    extensions=(".npy",),
    recognizes=lambda path, head: head.startswith(b"\x93NUMPY"),
)
def read_npy(path: Path, options: Mapping[str, str]) -> RawInput:
    """Read an array; its axes are not named in the file."""
    with _refusing_objects(path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # the size is known before the numbers are read
    check_count(array.shape, repr(path.name))
    return RawInput(as_numbers(array, repr(path.name)), title=repr(path.name))


@input_format(
    name="npz",
    title="an archive of NumPy arrays",
    extensions=(".npz",),
    recognizes=lambda path, head: head.startswith(b"PK") and path.suffix.lower() == ".npz",
    options=("key",),
)
def read_npz(path: Path, options: Mapping[str, str]) -> RawInput:
    """Read one array of an archive: the one that ``key`` names, or the only one with axes."""
    with zipfile.ZipFile(path) as archive:  # an archive may declare more than fits into memory
        sizes = {member.filename.removesuffix(".npy"): member.file_size for member in archive.infolist()}
        if any(member.compress_type not in _COMPRESSIONS for member in archive.infolist()):
            raise InputError(f"{path.name!r} is compressed as NumPy never does: save it with numpy.savez_compressed")
    with np.load(path, allow_pickle=False) as arrays, _refusing_objects(path):
        key = options.get("key") or _only_key(arrays, sizes, path)
        if key not in sizes:
            raise InputError(f"{path.name!r} has no array {key!r}{did_you_mean(key, sizes)} (it has {_list(sizes)})")
        check_count((sizes[key],), f"{path.name!r}")
        return RawInput(as_numbers(arrays[key], f"{key!r} in {path.name!r}"), title=f"{key!r} in {path.name!r}")


@contextmanager
def _refusing_objects(path: Path) -> Iterator[None]:
    """Raise NumPy's error about an array of objects, which it would unpickle, as `InputError`."""
    try:
        yield
    except ValueError as error:
        if "object" not in str(error).lower():
            raise
        raise InputError(
            f"{path.name!r} holds Python objects, such as rows of different lengths: save an array of numbers, with "
            "rows filled to one length"
        ) from error


def _only_key(arrays: Any, sizes: Mapping[str, int], path: Path) -> str:
    """The only array of an archive that is no single number."""
    small = {key for key, size in sizes.items() if size < 4096 and arrays[key].ndim == 0}
    keys = [key for key in sizes if key not in small]
    if len(keys) != 1:
        raise InputError(f"{path.name!r} holds {len(keys)} arrays: say which, as {path.name}?key=… ({_list(keys)})")
    return keys[0]


def _list(keys: Any) -> str:
    return ", ".join(keys)
