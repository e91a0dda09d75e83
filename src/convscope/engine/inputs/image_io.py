"""Image files of any format, opened safely, rotated as their metadata says, and converted to grayscale or RGB.

The size is checked before pixels are decoded, and every failure is reported in one sentence.
"""

import functools
import importlib
import io
import math
import re
import stat
import sys
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from convscope.errors import InputError
from convscope.spec import FILE_FORMATS, SAMPLES

MAX_SIDE, MAX_PIXELS = 20_000, 100_000_000
"""An image larger than this is refused before it is decoded."""

_NAMED = re.compile(r"[A-Za-z_]\w*=")
"""How an input that is named begins, ``photo=a.jpg``."""

FILTERS = {name: Pillow.Resampling[name.upper()] for name in ("bilinear", "bicubic", "nearest", "lanczos")}


def open_image(path: str | Path) -> Pillow.Image:
    """Read an image file, rotated as its metadata says; its size is checked before it is decoded."""
    if isinstance(path, str) and path.startswith("sample:"):
        return sample_image(path)
    path = require_file(path)
    return decode_image(io.BytesIO(path.read_bytes()) if path.is_fifo() else path, str(path))


def decode_image(file: Path | IO[bytes], name: str, *, kinds: tuple[str, ...] | None = None) -> Pillow.Image:
    """Decode an image file, on disk or in memory.

    Args:
        name: the name of the file in messages.
        kinds: the only formats to try, such as ``PNG``; by default any that Pillow reads.
    """
    if not kinds and _is_heic(file) and not _register_heic():
        raise InputError(
            f"{name!r} is a HEIC photograph, for which Pillow needs a package: {sys.executable or 'python'} -m pip "
            "install pillow-heif, or save it as JPEG"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)  # our own limit is checked below
            with Pillow.open(file, formats=kinds) as picture:
                check_size(picture.size, name)
                picture.load()
                return ImageOps.exif_transpose(picture)
    except InputError:
        raise
    except Pillow.DecompressionBombError as error:
        raise InputError(f"{name!r} is too large to open safely ({error})") from error
    except UnidentifiedImageError as error:
        reason = (
            f"no image of a kind that is taken here: {', '.join(kinds)}"
            if kinds
            else "not an image that Pillow can read" + _if_a_model(name)
        )
        raise InputError(f"{name!r} is {reason}") from error
    except Exception as error:  # Pillow's decoders raise all kinds of exceptions for damaged bytes
        raise InputError(f"{name!r} is damaged: {_one_line(error)}") from error


def _if_a_model(name: str) -> str:
    """What to do with a file whose name is that of a model; nothing for other files."""
    endings = tuple(ending for spec in FILE_FORMATS.values() for ending in spec.extensions)
    return "; a model's file is given as the model" if name.lower().endswith(endings) else ""


def image_extensions() -> frozenset[str]:
    """The file extensions that count as images; HEIC is among them whether or not it can be read."""
    readable = (
        extension for extension, format_name in Pillow.registered_extensions().items() if format_name in Pillow.OPEN
    )
    return frozenset({*readable, *_HEIC})


_HEIC = (".heic", ".heif")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def _is_heic(file: Path | IO[bytes]) -> bool:
    """Whether a file has the signature of HEIC images."""
    try:
        if isinstance(file, Path):
            with file.open("rb") as stream:
                head = stream.read(12)
        else:
            offset = file.tell()
            head = file.read(12)
            file.seek(offset)
    except OSError:  # opening the file reports the error
        return False
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS


@functools.cache
def _register_heic() -> bool:
    """Register the HEIC decoder with Pillow; returns whether its package is installed."""
    try:
        pillow_heif = importlib.import_module("pillow_heif")
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def is_existing_folder(path: str | Path) -> bool:
    """Whether ``path`` is an existing folder; False for names that no file can have or whose home is unknown."""
    if isinstance(path, str) and not path.strip():  # not the current folder
        return False
    try:
        return Path(path).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):
        return False


def require_file(path: str | Path) -> Path:
    """Return the expanded path of a file that exists and is not empty; raise `InputError` otherwise."""
    try:
        expanded = Path(path).expanduser()
        if not expanded.exists():
            named = "; names of inputs, NAME=FILE, are for networks of several" if _NAMED.match(str(path)) else ""
            raise InputError(f"no such file: {str(path)!r}{named}")
        if expanded.is_dir():
            raise InputError(f"{str(path)!r} is a folder, not an image")
        if expanded.stat().st_size == 0 and not stat.S_ISFIFO(expanded.stat().st_mode):
            raise InputError(f"{str(path)!r} is empty (0 bytes)")
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        shown = str(path) if len(str(path)) < 80 else f"{str(path)[:77]}…"
        raise InputError(f"cannot open {shown!r}: {_one_line(error)}") from error
    return expanded


def sample_image(address: str) -> Pillow.Image:
    """The image at the address ``sample:NAME/KEY``."""
    name, _, key = address.removeprefix("sample:").partition("/")
    sample = SAMPLES.find(name).function(key)
    if sample.axes:
        raise InputError(f"{address} is no picture, but has the axes {', '.join(sample.axes)}; this takes pictures")
    return Pillow.fromarray(sample.image)


def image_from_array(array: np.ndarray[Any, Any]) -> Pillow.Image:
    """A NumPy array (height, width[, channels]) as a Pillow image."""
    shape = array.shape
    if array.ndim not in (2, 3) or 0 in shape or (array.ndim == 3 and shape[2] not in (1, 3, 4)):
        raise InputError(f"an array is (height, width) or (height, width, 1, 3 or 4), got shape {shape}")
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise InputError("the array holds NaN or infinite numbers")
        if array.min() < 0 or array.max() > 1:
            low, high = float(array.min()), float(array.max())
            raise InputError(f"a float array holds numbers from 0 to 1, got {low:g} to {high:g}; scale it first")
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype == np.uint16:
        array = np.rint(array / 257).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise InputError(f"an array of pixels is uint8, uint16 or float, got {array.dtype}")
    return Pillow.fromarray(array[..., 0] if array.ndim == 3 and shape[2] == 1 else array)


def center_crop(picture: Pillow.Image, height: int, width: int, *, margin: str | None = None) -> Pillow.Image:
    """The central ``height`` × ``width`` pixels of an image; margins of half a pixel are rounded to even or down."""
    whole = math.floor if margin == "floor" else round
    top, left = whole((picture.height - height) / 2), whole((picture.width - width) / 2)
    return picture.crop((left, top, left + width, top + height))


def apply_orientation(picture: Pillow.Image) -> Pillow.Image:
    """An image rotated as its EXIF orientation says."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception as error:  # an image that the caller opened is decoded only here, and may be damaged
        raise InputError(f"the image is damaged: {_one_line(error)}") from error


def convert_mode(picture: Pillow.Image, channels: int) -> Pillow.Image:
    """Convert any of Pillow's modes to grayscale or RGB; transparency is composited on white."""
    if channels not in (1, 3):
        raise InputError(f"this model takes {channels} channels; pass a prepared tensor, a picture has 1 or 3")
    try:
        if picture.mode.startswith("I"):  # 16-bit grayscale, which Pillow would clip at 255
            values = np.asarray(picture, np.float64)
            picture = Pillow.fromarray(np.clip(np.rint(values / 257), 0, 255).astype(np.uint8))
        elif picture.mode == "F":
            raise InputError("a floating-point image has no known range: load it as an array scaled to 0 … 1")
        elif picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            white = Pillow.new("RGBA", picture.size, "white")
            picture = Pillow.alpha_composite(white, picture)
        return picture.convert("L" if channels == 1 else "RGB")
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"the image is damaged: {_one_line(error)}") from error


def check_size(size: tuple[int, int], name: str) -> None:
    """Raise `InputError` for an image that is too large to decode or too small to process."""
    width, height = size
    if max(size) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InputError(f"{name} has {width}×{height} pixels, more than {MAX_SIDE} a side or 100 million: shrink it")
    if width * height < 4 or min(size) < 2:
        raise InputError(f"{name} has {width}×{height} pixels: there is nothing in it to look at")


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
