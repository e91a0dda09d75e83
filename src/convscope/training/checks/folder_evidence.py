"""What the checks of a folder of images look at: brightness, hashes of the pixels, classes and parts."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convscope.engine.data.sources import FolderSource
from convscope.engine.inputs.image_io import convert_mode
from convscope.errors import ConvScopeError, InputError

TRAINING_PARTS, VALIDATION_PARTS = ("train", "training"), ("val", "valid", "validation", "test")


@dataclass(frozen=True)
class ImageFile:
    """One image.

    Attributes:
        name: its path within the folder.
        part: ``train``, ``val`` … where the folder has such parts, else empty.
        label: its class, the name of a folder; empty if it has none.
        digest: a hash of its size and pixels.
        size: its width and height in pixels.
        brightness, contrast: mean and standard deviation of its grey levels, from 0 to 1.
    """

    name: str
    part: str
    label: str
    digest: str
    size: tuple[int, int]
    brightness: float
    contrast: float


@dataclass
class FolderEvidence:
    """A folder of images.

    Attributes:
        unreadable: name → why it cannot be read.
    """

    images: list[ImageFile] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


def read_folder(folder: str | Path) -> FolderEvidence:
    """Read every image below a folder.

    Raises:
        InputError: there is no such folder, or no picture in it.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise InputError(f"there is no folder {str(path)!r}: name a folder of images")
    source, evidence = FolderSource(path), FolderEvidence()
    for index in range(len(source)):
        name = source.title(index)
        try:
            evidence.images.append(_read(name, source.open(index).input))
        except (ConvScopeError, OSError) as error:
            evidence.unreadable[name] = str(error)
    return evidence


def _read(name: str, picture: Image.Image) -> ImageFile:
    parts = name.split("/")[:-1]
    part = parts[0].lower() if parts and parts[0].lower() in (*TRAINING_PARTS, *VALIDATION_PARTS) else ""
    labels = parts[1:] if part else parts
    pixels = np.asarray(convert_mode(picture, 3))
    grey = pixels.mean(2) / 255
    digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()
    label, size = labels[0] if labels else "", (pixels.shape[1], pixels.shape[0])
    return ImageFile(name, part, label, digest, size, float(grey.mean()), float(grey.std()))


def groups(images: list[ImageFile], attribute: str) -> Iterator[tuple[Any, list[ImageFile]]]:
    """The images by one of their attributes."""
    by_value: dict[Any, list[ImageFile]] = {}
    for image in images:
        by_value.setdefault(getattr(image, attribute), []).append(image)
    yield from by_value.items()
