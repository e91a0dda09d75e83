"""Opening the file of an input: the address is split into path and options, and the content decides the format."""

import urllib.parse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from convscope.engine.inputs.image_io import is_existing_folder, require_file
from convscope.engine.inputs.raw_input import RawInput
from convscope.errors import ConvScopeError, InputError, did_you_mean
from convscope.spec import HEAD_BYTES, INPUT_FORMATS, SAMPLES, InputFormat


def read_input(address: str | Path) -> RawInput:
    """Read an input file of any format in `INPUT_FORMATS`.

    Args:
        address: a path, or a path with options, such as ``scan.nii.gz?frame=3``.

    Raises:
        InputError: there is no such file, its format is unknown, it is damaged, or an option does not fit.
        MissingExtra: the library that reads this format is not installed.
    """
    if str(address).startswith("sample:"):
        return _read_sample(str(address))
    path, options = split_address(address)
    if not is_existing_folder(path):
        require_file(path)
    path = path.expanduser()
    format = find_format(path)
    _check_options(format, options, path)
    try:
        raw: RawInput = format.function(path, options)
    except ConvScopeError:
        raise
    except Exception as error:  # the libraries raise all kinds of exceptions for damaged bytes
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{str(path)!r} is damaged, or not {format.title} that can be read: {reason}") from error
    return raw


def _read_sample(address: str) -> RawInput:
    """The numbers of a bundled sample."""
    name, _, key = address.removeprefix("sample:").partition("/")
    sample = SAMPLES.find(name).function(key)
    values = np.asarray(sample.image, np.float32)
    if sample.axes:
        return RawInput(values, sample.axes, sample.spacing, sample.unit, title=address, words=sample.words)
    return RawInput(values[None] if values.ndim == 2 else values.transpose(2, 0, 1), ("height", "width"), title=address)


def split_address(address: str | Path) -> tuple[Path, Mapping[str, str]]:
    """The path and the options of an address; a file whose name contains a question mark is found as it is.

    Raises:
        InputError: an option is not written ``name=value``.
    """
    text = str(address)
    head, mark, query = text.rpartition("?")
    if not mark or _exists(text):
        return Path(text), {}
    options: dict[str, str] = {}
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if not equals or not name or not value:
            raise InputError(f"the options of {text!r} are written ?name=value&name=value, got {part!r}")
        options[name] = urllib.parse.unquote(value)
    return Path(head), options


def find_format(path: Path) -> InputFormat:
    """The format of a file or folder, by its content and then by its extension.

    Raises:
        InputError: it is of no known format.
    """
    INPUT_FORMATS.fill()
    head = b"" if path.is_dir() else _head(path)
    formats = list(INPUT_FORMATS.values())
    for format in formats:
        if format.recognizes(path, head):
            return format
    if not path.is_dir():
        for format in formats:
            if path.name.lower().endswith(format.extensions):
                return format
    known = ", ".join(extension for format in formats for extension in format.extensions[:1])
    kind = "folder holds no file" if path.is_dir() else "file is not"
    raise InputError(f"the {kind} of a known format: {str(path)!r} (known are {known})")


def is_one_input(folder: Path, axes: int) -> bool:
    """Whether a folder holds the parts of one input with this number of axes, and not many inputs."""
    INPUT_FORMATS.fill()
    return any(format.folder_axes == axes and format.recognizes(folder, b"") for format in INPUT_FORMATS.values())


def holds_slices(folder: Path) -> bool:
    """Whether a folder holds the slices of a volume."""
    INPUT_FORMATS.fill()
    return INPUT_FORMATS["dicom"].recognizes(folder, b"")


def input_extensions() -> tuple[str, ...]:
    """The extensions of all input files that can be read."""
    INPUT_FORMATS.fill()
    return tuple(extension for format in INPUT_FORMATS.values() for extension in format.extensions)


def _check_options(format: InputFormat, options: Mapping[str, str], path: Path) -> None:
    for name in options:
        if name not in format.options:
            known = f" (it has {', '.join(format.options)})" if format.options else ""
            raise InputError(
                f"{path.name!r} is read as {format.title}, which has no option {name!r}"
                f"{did_you_mean(name, format.options)}{known}"
            )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False
