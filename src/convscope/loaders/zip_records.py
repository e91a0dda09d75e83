"""Records of zip archives, read without believing the sizes that they state of themselves."""

import zipfile
from typing import IO

_CHUNK = 2**20


def read_record(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a record; no more is unpacked of it than the size that the archive states.

    ``archive.read`` unpacks all of it at once before it compares sizes.
    """
    information = archive.getinfo(name)
    with archive.open(information) as record:
        return record.read(information.file_size)


def copy_record(archive: zipfile.ZipFile, name: str, file: IO[bytes]) -> None:
    """Write the content of a record to a file, piece by piece; no more than the size that the archive states."""
    left = archive.getinfo(name).file_size
    with archive.open(name) as record:
        while left and (piece := record.read(min(left, _CHUNK))):
            file.write(piece)
            left -= len(piece)
    file.flush()
    file.seek(0)
