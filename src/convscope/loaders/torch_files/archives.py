"""Zip archives of PyTorch: which kind a file is, and checks of their sizes before anything is unpacked."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from convscope.errors import LoadError, brief_reason
from convscope.loaders.zip_records import read_record

Kind = Literal["exported", "scripted", "pickled"]

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
MAX_RECORDS = 200_000
_SMALL = 16 * 2**20
"""Bytes that a file may unpack to beyond twice its own size: the code of a script is compressed."""


def archive_kind(path: Path, head: bytes) -> Kind | None:
    """The kind of a file of PyTorch by its content; None for any other file.

    Args:
        head: the first bytes of the file.
    """
    if head[:1] == PICKLE and b"." in head:
        return "pickled"
    if not head.startswith(ZIP):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "pickled" if b"data.pkl" in head else None
    inner = {name.partition("/")[2] for name in names}
    if "serialized_exported_program.json" in names or any(_is_program(name) for name in inner):
        return "exported"
    if any(name.startswith("code/") for name in inner) or "constants.pkl" in inner:
        return "scripted"
    return "pickled" if "data.pkl" in inner else None


def _is_program(name: str) -> bool:
    return name.startswith("models/") and name.endswith(".json")


def check_sizes(archive: zipfile.ZipFile, name: str, size: int) -> None:
    """Refuse an archive that unpacks to far more than its own size, or has a record twice.

    Args:
        archive: an open archive.
        name: what messages call it.
        size: its bytes.

    Raises:
        LoadError: it does.
    """
    records = archive.infolist()
    unpacked = sum(record.file_size for record in records)
    if unpacked > 2 * size + _SMALL or len(records) > MAX_RECORDS:
        raise LoadError(
            f"{name!r} is refused: its {size:,} bytes would unpack to {unpacked:,} in {len(records):,} records"
        )
    names = [record.filename for record in records]
    if len({*names}) != len(names):
        raise LoadError(f"{name!r} is refused: it has two records of one name")


class Records:
    """The records of an archive by their names within its folder."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        check_sizes(archive, str(path), path.stat().st_size)
        self._archive, self._path = archive, path
        names = archive.namelist()
        folders = {name.partition("/")[0] + "/" for name in names if "/" in name}
        prefix = folders.pop() if len(folders) == 1 and all("/" in name for name in names) else ""
        self._names = {name.removeprefix(prefix): name for name in names}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def read(self, name: str) -> bytes:
        """The content of a record.

        Raises:
            LoadError: there is none of that name, or it is damaged.
        """
        if name not in self._names:
            raise LoadError(f"{str(self._path)!r} is incomplete: it has no record {name!r}")
        try:
            return read_record(self._archive, self._names[name])
        except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, RuntimeError) as error:
            raise LoadError(f"{str(self._path)!r} is damaged: {brief_reason(error)}") from error
