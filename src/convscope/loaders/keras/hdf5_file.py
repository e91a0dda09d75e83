"""HDF5 files read with care: only what the file itself holds, and no more than it stores."""

import functools
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from convscope.errors import SAVE_AGAIN, LoadError, MissingExtra
from convscope.loaders.keras.hdf5_probe import ends_well
from convscope.loaders.keras.weights import Array

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""

_MAX_EXPANSION = 4
"""How many times larger than its stored bytes a compressed array may be."""
_SMALL = 2**20
"""Arrays of up to so many bytes may be compressed further: zeros hardly take space."""
_MAX_MEMBERS = 100_000
"""How many groups and arrays a file may have."""


class Hdf5File:
    """An open HDF5 file, of which groups are named by their paths.

    Args:
        file: the file of h5py.
        name: what messages call it.
        size: its size in bytes.
    """

    def __init__(self, file: Any, name: str, size: int) -> None:
        self._file, self.name = file, name
        self._budget = _MAX_EXPANSION * size + _SMALL
        self._folders: dict[str, Any] = {}

    def has_group(self, path: str) -> bool:
        """Whether there is a group at a path; links to other places do not count."""
        return self._member(path) is not None

    def children(self, path: str) -> list[str]:
        """The names in a group."""
        group = self._member(path)
        if not hasattr(group, "keys"):
            return []
        if len(group) > _MAX_MEMBERS:
            raise LoadError(f"{self.name} has a group of {len(group)} members, which is no network")
        return list(group.keys())

    def attribute(self, path: str, name: str) -> Any:
        """An attribute of a group, None if there is none; Keras splits long lists into numbered ones."""
        group = self._member(path)
        if group is None:
            return None
        if name in group.attrs:
            return group.attrs[name]
        parts: list[Any] = []
        while f"{name}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{name}{len(parts)}"])
        return [member for part in parts for member in part] if parts else None

    def texts(self, path: str, name: str) -> list[str] | None:
        """An attribute that is a list of texts; None if there is none."""
        value = self.attribute(path, name)
        if value is None:
            return None
        return [member.decode("utf-8", "replace") if isinstance(member, bytes) else str(member) for member in value]

    def array(self, path: str) -> Array:
        """The array at a path.

        Raises:
            LoadError: there is none, it lies outside of the file, or it declares more than the file stores.
        """
        dataset = self._member(path)
        if dataset is None or not hasattr(dataset, "dtype"):
            raise LoadError(f"{self.name} has no array {path!r}")
        if dataset.external or dataset.is_virtual:
            raise LoadError(f"{self.name} refers to another file for the array {path!r}, which is not read")
        shape, size = dataset.shape or (), dataset.dtype.itemsize
        declared, stored = math.prod(shape) * size, dataset.id.get_storage_size()
        if declared > _MAX_EXPANSION * stored + _SMALL or declared > self._budget:
            raise LoadError(
                f"{self.name} declares {declared:,} bytes for the array {path!r} and stores {stored:,}: it is not read"
            )
        self._budget -= declared
        if dataset.dtype.kind not in "fiub":
            raise LoadError(f"{self.name} holds {dataset.dtype} in the array {path!r}, and no numbers")
        values: Array = dataset[()] if dataset.shape else dataset[()].reshape(())
        return values

    def _member(self, path: str) -> Any:
        """The group or array at a path, following no links; None if there is none."""
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            current = self._file
            for part in folder.split("/"):
                current = _child(current, part)
            self._folders[folder] = current
        return _child(self._folders[folder], name)


def _child(group: Any, name: str) -> Any:
    """The group or array of that name in a group, which itself has no name; None if there is none."""
    from h5py import HardLink

    if not name:
        return group
    is_there = hasattr(group, "keys") and isinstance(group.get(name, getlink=True), HardLink)
    return group[name] if is_there else None


@functools.lru_cache(maxsize=8)
def _file_ends_well(path: Path, _size: int, _changed: int) -> bool:
    """Whether the file, which is known by its size and time of change, can be walked through, once per file."""
    return ends_well(path)


@contextmanager
def open_hdf5(source: Path | IO[bytes], name: str) -> Iterator[Hdf5File]:
    """Open an HDF5 file from its path, or from an open file.

    Raises:
        LoadError: it is not an HDF5 file, or a part of it that is read is damaged.
        MissingExtra: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("h5py", "keras") from error
    status = source.stat() if isinstance(source, Path) else os.fstat(source.fileno())
    size = status.st_size
    if not (_file_ends_well(source, size, status.st_mtime_ns) if isinstance(source, Path) else ends_well(source)):
        raise LoadError(
            f"{name} is not a complete HDF5 file: reading its headers does not end or crashes; {SAVE_AGAIN}"
        )
    try:
        with h5py.File(source, "r") as file:
            yield Hdf5File(file, name, size)
    except LoadError:
        raise
    except (
        OSError,
        KeyError,
        RuntimeError,
        ValueError,
        TypeError,
        OverflowError,
        MemoryError,
        AttributeError,
    ) as error:
        reason = " ".join(str(error).split())[:160]
        raise LoadError(f"{name} is not a complete HDF5 file: {reason}; {SAVE_AGAIN}") from error
