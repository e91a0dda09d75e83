"""A series of DICOM slices as one upload: a ZIP archive, unpacked within bounds."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from convscope.errors import InputError

MAX_SLICES = 2048
"""Files in an uploaded archive, at most."""
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PREAMBLE = 128
_MARK = b"DICM"


def is_zip(name: str, content: bytes) -> bool:
    """Whether a file is an archive of files, and not one of arrays, which NumPy reads."""
    return content.startswith(b"PK\3\4") and name.partition("?")[0].lower().endswith(".zip")


def unpack_slices(content: bytes, folder: Path, max_bytes: int) -> None:
    """Write the DICOM files of an archive into a folder, under names of our own; other files are left out.

    Raises:
        InputError: the archive is damaged, holds no slices, too many files, or more than ``max_bytes`` bytes.
    """
    folder.mkdir()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > MAX_SLICES:
                raise InputError(f"the archive holds {len(members):,} files, more than {MAX_SLICES:,}: send one series")
            left, count = max_bytes, 0
            for member in members:
                slice_bytes = _unpacked(archive, member, left)
                left -= len(slice_bytes)
                if slice_bytes[_PREAMBLE : _PREAMBLE + 4] == _MARK:
                    (folder / f"{count:05d}.dcm").write_bytes(slice_bytes)
                    count += 1
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise InputError(f"the archive is damaged or encrypted: {error}") from error
    except zlib.error as error:
        raise InputError(f"the archive is damaged: {error}") from error
    if not count:
        raise InputError("the archive holds no DICOM slices: a ZIP archive is read as one series of them")


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """The content of a member; what it states of its size is not believed."""
    if member.compress_type not in _COMPRESSIONS:
        raise InputError("the archive is compressed in an unusual way: pack it again as an ordinary ZIP file")
    with archive.open(member) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise InputError("the archive unpacks to more than a series may have: shrink it first")
    return content


def grouped(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Files that were chosen together, by name: several DICOM slices become one archive."""
    if len(files) > 1 and all(name.lower().endswith(".dcm") for name in files):
        return {f"{len(files)} slices.zip": zip_of(files)}
    return files


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """Several files as one archive, as if it had been uploaded."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()
