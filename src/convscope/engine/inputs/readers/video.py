"""Clips: animated GIF, PNG and WebP, a folder of frames, and films (``.mp4`` …) where a decoder is installed."""

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from convscope.engine.inputs.image_io import convert_mode, image_extensions, open_image
from convscope.engine.inputs.raw_input import RawInput, check_count
from convscope.errors import InputError, MissingExtra
from convscope.spec import input_format

_AXES = ("time", "height", "width")
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
"""What the first box of an MP4 or QuickTime file may be called."""


def _is_folder_of_frames(path: Path, head: bytes) -> bool:
    return path.is_dir() and any(file.suffix.lower() in image_extensions() for file in path.iterdir())


@input_format(
    name="frames",
    title="a folder of frames",
    extensions=(),
    recognizes=_is_folder_of_frames,
    folder_axes=3,
    kinds=("video",),
)
def read_frames(path: Path, options: Mapping[str, str]) -> RawInput:
    """Read the pictures of a folder in the order of the numbers in their names."""
    files = [file for file in path.iterdir() if file.suffix.lower() in image_extensions() and file.is_file()]
    pictures = [open_image(file) for file in sorted(files, key=_natural_order)]
    sizes = {picture.size for picture in pictures}
    if len(sizes) > 1:
        raise InputError(f"the frames in {path.name!r} have several sizes: {', '.join(map(str, sorted(sizes)))}")
    return RawInput(_stacked(iter(pictures), len(pictures), path), _AXES, title=repr(path.name))


def _is_animated(path: Path, head: bytes) -> bool:
    is_candidate = head[:4] in (b"GIF8", b"\x89PNG") or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    if not is_candidate:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
            with Pillow.open(path) as picture:
                return int(getattr(picture, "n_frames", 1)) > 1
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError):
        return False  # a damaged or too large picture, which the reader of pictures reports


@input_format(
    name="animation",
    title="an animated picture",
    extensions=(".gif",),
    recognizes=_is_animated,
    kinds=("image", "video"),
)
def read_animation(path: Path, options: Mapping[str, str]) -> RawInput:
    """Read all frames of an animated picture."""
    with Pillow.open(path) as picture:
        count = int(getattr(picture, "n_frames", 1))
        duration = picture.info.get("duration") or 0
        values = _stacked(_animation_frames(picture, count), count, path)
    return RawInput(values, _AXES, (duration / 1000, 1.0, 1.0) if duration else (), title=repr(path.name))


@input_format(
    name="film",
    title="a film",
    extensions=(".mp4", ".mov", ".mkv", ".avi", ".webm"),
    recognizes=lambda path, head: head[4:8] == b"ftyp" and path.suffix.lower() in (".mp4", ".mov", ".m4v"),
    extra="video",
    kinds=("video",),
)
def read_film(path: Path, options: Mapping[str, str]) -> RawInput:
    """Read all frames of the first video stream."""
    try:
        import av
    except ImportError as error:
        raise MissingExtra("av", "video") from error
    with av.open(str(path), format=_container_format(path)) as container:
        stream = container.streams.video[0]
        check_count((stream.frames or 1, 3, stream.height, stream.width), repr(path.name))
        frames: list[np.ndarray[Any, Any]] = []
        for frame in container.decode(stream):  # the number of frames in the header may be missing or wrong
            check_count((len(frames) + 1, 3, frame.height, frame.width), repr(path.name))
            frames.append(frame.to_ndarray(format="rgb24"))
        rate = float(stream.average_rate or 0)
    values = np.stack(frames).transpose(3, 0, 1, 2).astype(np.float32)
    return RawInput(values, _AXES, (1 / rate, 1.0, 1.0) if rate else (), title=repr(path.name))


def _container_format(path: Path) -> str:
    """FFmpeg's name of a film's format, by its signature; left to itself, it also takes playlists of other files."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in _BOXES:
        return "mov"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if head[:4] == b"RIFF" and head[8:] == b"AVI ":
        return "avi"
    raise InputError(f"{path.name!r} is no film in MP4, QuickTime, Matroska, WebM or AVI, whatever it is called")


def _animation_frames(picture: Pillow.Image, count: int) -> Iterator[Pillow.Image]:
    for index in range(count):
        picture.seek(index)
        yield picture.copy()


def _stacked(
    pictures: Iterator[Pillow.Image], count: int, path: Path
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Pictures as (3, frames, height, width), from 0 to 255."""
    frames = []
    for picture in pictures:
        check_count((count, 3, *picture.size), repr(path.name))
        frames.append(np.asarray(convert_mode(picture, 3), np.float32))
    return np.ascontiguousarray(np.stack(frames).transpose(3, 0, 1, 2))


def _natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sorts numbers within names by their value: frame 10 comes after frame 9."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
