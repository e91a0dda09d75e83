"""What is refused in an uploaded file of numbers before its reader opens it.

Such files come from strangers: a reader must not open other files, nor unpack more than the largest upload. What counts
is what the library of a format makes of a file, so it is asked, and never the text of the file.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from convscope.errors import InputError
from convscope.spec import InputFormat

_GZIP = b"\x1f\x8b"
_DEFLATED_DICOM = "1.2.840.10008.1.2.1.99"
_UNPACKED_PAGES = (1, 5, 32773)
"""How pages of TIFF files may be compressed: not at all, by LZW, or by PackBits."""
_HEADER_BYTES = 2**20
"""Room for a header besides the numbers."""


def check_upload(format: InputFormat, path: Path, max_numbers: int) -> None:
    """Refuse a file that would open other files, or unpack to more than ``max_numbers`` numbers.

    Raises:
        InputError: it is such a file, or it is damaged.
    """
    max_bytes = 8 * max_numbers + _HEADER_BYTES
    try:
        with path.open("rb") as file:
            if file.read(2) == _GZIP:
                file.seek(0)
                _check_unpacked_size(file, path, max_bytes, max_numbers)
        if format.name in _CHECKS:
            _CHECKS[format.name](path, max_bytes, max_numbers)
    except InputError:
        raise
    except ImportError:
        return  # the reader says what to install
    except Exception as error:  # the libraries raise all kinds of exceptions for damaged bytes
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path.name!r} is damaged, or no {format.title} that can be read: {reason}") from error


def _check_nrrd(path: Path, max_bytes: int, max_numbers: int) -> None:
    import nrrd

    with path.open("rb") as file:
        header = nrrd.read_header(file)
        numbers = file.read()
    if "datafile" in header or "data file" in header:
        raise InputError(f"{path.name!r} keeps its numbers in another file: save it as one file (.nrrd)")
    if any(int(header.get(field, 0)) > 0 for field in ("lineskip", "line skip", "byteskip", "byte skip")):
        raise InputError(f"{path.name!r} skips bytes before its numbers: save it again without")
    encoding = str(header.get("encoding"))
    if encoding in ("bzip2", "bz2"):
        raise InputError(f"{path.name!r} is compressed with bzip2: save it with gzip, or as .nii.gz")
    if encoding in ("gzip", "gz"):
        _check_unpacked_size(io.BytesIO(numbers), path, max_bytes, max_numbers)


def _check_dicom(path: Path, max_bytes: int, max_numbers: int) -> None:
    from pydicom.filereader import read_file_meta_info

    if read_file_meta_info(path).get("TransferSyntaxUID") == _DEFLATED_DICOM:  # pydicom unpacks it whole
        raise InputError(f"{path.name!r} is a deflated DICOM file: save it with an uncompressed transfer syntax")


def _check_tiff(path: Path, max_bytes: int, max_numbers: int) -> None:
    import tifffile

    with tifffile.TiffFile(path, _multifile=False) as file:
        if any(page.compression not in _UNPACKED_PAGES for page in file.pages):
            raise InputError(f"{path.name!r} is compressed: save it without compression to upload it as numbers")
        if file.is_micromanager or (file.is_ome and any(series.kind != "ome" for series in file.series)):
            raise InputError(f"{path.name!r} names other files with more of its pages: save it as one file")


_CHECKS: Mapping[str, Callable[[Path, int, int], None]] = {
    "nrrd": _check_nrrd,
    "dicom": _check_dicom,
    "tiff": _check_tiff,
}
"""The checks of formats, by their names."""


def _check_unpacked_size(file: IO[bytes], path: Path, max_bytes: int, max_numbers: int) -> None:
    """Refuse gzip data that would take more memory than the largest upload of numbers; all members count."""
    size = 0
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            while part := unpacked.read(2**20):
                size += len(part)
                if size > max_bytes:
                    raise InputError(f"{path.name!r} unpacks to more than {max_numbers:,} numbers: shrink it first")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path.name!r} is damaged: {error}") from error
