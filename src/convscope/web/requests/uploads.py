"""Uploaded files, kept in memory: pictures, and numbers in the formats of input files.

Files come from strangers. A picture is decoded by few decoders; numbers are read from a temporary file, after the
number of them is known to be small enough, and by no reader that opens other files.
"""

import hashlib
import io
import re
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image as Pillow

from convscope.engine.inputs.image_io import convert_mode, decode_image
from convscope.engine.inputs.input_files import find_format, read_input, split_address
from convscope.engine.inputs.raw_input import RawInput, limited_to
from convscope.engine.inputs.readers.pictures import picture_numbers
from convscope.errors import InputError
from convscope.spec import InputFormat
from convscope.web.requests.temporary_files import in_temporary_folder
from convscope.web.requests.upload_checks import check_upload
from convscope.web.requests.zip_uploads import is_zip, unpack_slices

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Formats of pictures that can be uploaded: none whose decoder starts an external program."""
NUMBER_FORMATS = ("npy", "npz", "wav", "table", "tiff", "nifti", "nrrd", "dicom", "animation", "film")
"""Formats of numbers that can be uploaded, by their names in `INPUT_FORMATS`."""
NUMBER_ENDINGS = (
    *(".npy", ".npz", ".wav", ".csv", ".tsv", ".tif", ".tiff", ".nii", ".nii.gz", ".gz", ".nrrd", ".dcm", ".gif"),
    *(".mp4", ".mov", ".mkv", ".avi", ".webm", ".zip"),
)
"""The endings of their files, for the dialog of a browser."""
MAX_NUMBERS = 2**26
"""Numbers in an uploaded file, at most: 256 MiB in single precision."""
MAX_UNPACKED = 4 * MAX_NUMBERS
"""Bytes of the slices in an uploaded archive, at most."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURES_OR_NUMBERS = (*_TIFF, b"GIF8")
"""The first bytes of files that may be a picture, or bands or frames."""
_ENDING = re.compile(r"(\.nii\.gz|\.\w{1,8})$", re.IGNORECASE)


@dataclass(frozen=True)
class Upload:
    """One uploaded file.

    Attributes:
        name: its file name, which may end in options, such as ``scan.nii.gz?frame=0``.
        kinds: the kinds of input that it may be; empty if any.
        is_picture: whether it can be opened as a picture; ``is_measured``, whether it can be read as numbers.
    """

    name: str
    content: bytes
    kinds: tuple[str, ...]
    is_picture: bool
    is_measured: bool

    @property
    def key(self) -> str:
        """What identifies its content: a hash of the bytes, and of the ending and options by which they are read."""
        reading = "".join([*_ending_and_options(self.name), "\0"]).encode() if self.is_measured else b""
        return hashlib.sha256(reading + self.content).hexdigest()[:24]

    def opened(self, *, measured: bool = False) -> Pillow.Image | RawInput:
        """The file as a picture or as numbers.

        Args:
            measured: as numbers where it can be both, for networks that take measurements.

        Raises:
            InputError: it can no longer be read.
        """
        if self.is_measured and (measured or not self.is_picture):
            return _read_numbers(self.name, self.content)
        picture = _decode(self.name, self.content)
        return picture_numbers(picture, repr(self.name)) if measured else picture


def receive(name: str, content: bytes) -> Upload:
    """An uploaded file, after it has been read once.

    Raises:
        InputError: it can be read neither as a picture nor as numbers.
    """
    if not content:
        raise InputError(f"{name!r} is empty (0 bytes)")
    if is_zip(name, content):
        _read_numbers(name, content)
        return Upload(name, content, ("volume",), is_picture=False, is_measured=True)
    refusal: InputError | None = None
    try:
        convert_mode(_decode(name, content).crop((0, 0, 2, 2)), 3)  # raises if its pixels cannot be decoded
    except InputError as error:
        refusal = error
    if refusal is None and not content.startswith(_PICTURES_OR_NUMBERS):
        return Upload(name, content, ("image",), is_picture=True, is_measured=False)
    format = in_temporary_folder(lambda folder: _format_of(_stored(folder, name, content)))
    if format is not None:
        try:
            _read_numbers(name, content)
        except InputError as error:
            if refusal is not None and format.name != "animation":  # its frames are pictures, refused as such
                refusal = error
            format = None
    if format is None and refusal is not None:
        raise refusal
    kinds = ("image",) if format is None else format.kinds
    return Upload(name, content, kinds, is_picture=refusal is None, is_measured=format is not None)


def _format_of(path: Path) -> InputFormat | None:
    """The format of a file of numbers; None if it is no such file."""
    try:
        format = find_format(split_address(path)[0])
    except InputError:
        return None
    return format if format.name in NUMBER_FORMATS else None


def _stored(folder: Path, name: str, content: bytes) -> Path:
    """The file on disk, with the ending that its format may need and the options of its name."""
    ending, options = _ending_and_options(name)
    path = folder / f"uploaded-file{ending}"
    if is_zip(name, content):
        unpack_slices(content, path, MAX_UNPACKED)
    else:
        path.write_bytes(content)
    return Path(f"{path}{options}")


def _ending_and_options(name: str) -> tuple[str, str]:
    """The ending of a file name, and the options after it with their question mark."""
    head, mark, options = name.partition("?")
    ending = _ENDING.search(head)
    return ending[0] if ending else "", mark + options


def _read_numbers(name: str, content: bytes) -> RawInput:
    """The numbers of a file, with its own name in messages."""

    def read(folder: Path) -> RawInput:
        path = folder
        try:
            path = _stored(folder, name, content)
            file = split_address(path)[0]
            for part in sorted(file.iterdir()) if file.is_dir() else [file]:
                check_upload(find_format(part), part, MAX_NUMBERS)
            with limited_to(MAX_NUMBERS):
                raw = read_input(path)
        except InputError as error:
            stored_name = split_address(path)[0].name
            raise InputError(
                str(error).replace(f"{folder}/", "").replace(stored_name, name.partition("?")[0])
            ) from error
        return replace(raw, title=repr(name))

    return in_temporary_folder(read)


def _decode(name: str, content: bytes) -> Pillow.Image:
    """A picture; one that is too large is refused before decoding."""
    return decode_image(io.BytesIO(content), name, kinds=PICTURE_FORMATS)
