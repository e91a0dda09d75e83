"""What the checks of a folder of images look at: brightness, hashes of the pixels, classes and parts."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter1d

from convscope.engine.data.sources import FolderSource
from convscope.engine.inputs.image_io import convert_mode
from convscope.engine.network.model import Model
from convscope.errors import ConvScopeError, InputError
from convscope.training.checks.features import features_of_inputs
from convscope.values.facts import Fact

Floats = np.ndarray[Any, np.dtype[np.float32]]
Rows = np.ndarray[Any, np.dtype[np.int64]]
THUMBNAIL_SIDE, BLUR_SIDE, BLUR_LENGTH = 16, 256, 9
TRAINING_PARTS, VALIDATION_PARTS = ("train", "training"), ("val", "valid", "validation", "test")
_PARTS = TRAINING_PARTS, VALIDATION_PARTS


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
        color, saturation: red minus blue, and the mean difference of the largest and the smallest channel, from 0 to 1.
        sharpness: the mean difference of neighbors relative to the contrast.
        edge_loss: the share of the differences of neighbors that a further blur takes, from 0 to 1, at 256 pixels at
            most; small if the image is blurred.
        thumbnail: the image in 16 × 16 pixels as one vector of mean zero and length one.
        path: its file, for pictures of the evidence.
    """

    name: str
    part: str
    label: str
    digest: str
    size: tuple[int, int]
    brightness: float
    contrast: float
    color: float = 0.0
    saturation: float = 0.0
    sharpness: float = 0.0
    edge_loss: float = 1.0
    thumbnail: Floats = field(default_factory=lambda: np.zeros(0, np.float32), compare=False, repr=False)
    path: Path | None = field(default=None, compare=False, repr=False)


@dataclass
class FolderEvidence:
    """A folder of images.

    Attributes:
        unreadable: name → why it cannot be read.
        empty_classes: folders of classes of the training images without an image that can be read.
        features: what a network makes of each image (N, features): the input of its last linear layer; None without a
            network, or with one that has no such layer.
    """

    images: list[ImageFile] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    empty_classes: list[str] = field(default_factory=list)
    features: Floats | None = None

    def parts(self) -> "tuple[Rows, Rows]":
        """The rows of the training images, and those of the validation images."""
        of_part = [[row for row, image in enumerate(self.images) if image.part in names] for names in _PARTS]
        return np.array(of_part[0], np.int64), np.array(of_part[1], np.int64)


def read_folder(folder: str | Path, model: Model | None = None) -> FolderEvidence:
    """Read every image below a folder.

    Args:
        model: the network whose features are compared too.

    Raises:
        InputError: there is no such folder, or no picture in it.
    """
    evidence, inputs = _read_images(_existing(folder), "")
    evidence.features = None if model is None else features_of_inputs(model, inputs)
    return evidence


def read_folders(folder: str | Path, reference: str | Path, model: Model | None = None) -> FolderEvidence:
    """Read two folders as the parts of one: the first as validation images, the reference as training images.

    Args:
        model: the network whose features are compared too.

    Raises:
        InputError: one of the folders is not there, or has no picture; or they are the same.
    """
    paths = {"val": _existing(folder), "train": _existing(reference)}
    if paths["val"].resolve() == paths["train"].resolve():
        raise InputError(f"{str(folder)!r} is compared with itself: name another folder")
    joined, inputs = FolderEvidence(), []
    for part, path in paths.items():
        evidence, of_folder = _read_images(path, part)
        joined.images += evidence.images
        joined.unreadable |= evidence.unreadable
        joined.empty_classes += evidence.empty_classes if part in TRAINING_PARTS else []
        inputs += of_folder
    joined.features = None if model is None else features_of_inputs(model, inputs)
    return joined


def _existing(folder: str | Path) -> Path:
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise InputError(f"there is no folder {str(path)!r}: name a folder of images")
    return path


def _read_images(path: Path, part: str) -> tuple[FolderEvidence, list[Path]]:
    """The images of a folder, and the paths of those that can be read; all of one part, if that is given."""
    source, evidence, inputs = FolderSource(path), FolderEvidence(), []
    for index in range(len(source)):
        name = source.title(index)
        try:
            image = replace(_read(name, source.open(index).input), path=source.paths[index])
        except (ConvScopeError, OSError) as error:
            evidence.unreadable[name] = str(error)
            continue
        evidence.images.append(replace(image, name=f"{path.name}/{name}", part=part) if part else image)
        inputs.append(source.paths[index])
    evidence.empty_classes = _empty_classes(path, evidence.images)
    return evidence, inputs


def _empty_classes(root: Path, images: list[ImageFile]) -> list[str]:
    """The folders below the training part, or below the folder if it has no parts, that hold none of the images."""
    parts = [part for part in _subfolders(root) if part.name.lower() in (*TRAINING_PARTS, *VALIDATION_PARTS)]
    roots = [part for part in parts if part.name.lower() in TRAINING_PARTS] if parts else [root]
    present = {image.label for image in images if image.part not in VALIDATION_PARTS}
    return sorted({folder.name for root in roots for folder in _subfolders(root)} - present)


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.is_dir() and not path.name.startswith(".")]


def _read(name: str, picture: Image.Image) -> ImageFile:
    parts = name.split("/")[:-1]
    part = parts[0].lower() if parts and parts[0].lower() in (*TRAINING_PARTS, *VALIDATION_PARTS) else ""
    labels = parts[1:] if part else parts
    pixels = np.asarray(convert_mode(picture, 3))
    grey = pixels.mean(2) / 255
    digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()
    label, size = labels[0] if labels else "", (pixels.shape[1], pixels.shape[0])
    brightness, contrast = float(grey.mean()), float(grey.std())
    return ImageFile(
        name, part, label, digest, size, brightness, contrast, _color(pixels), _saturation(pixels),
        _sharpness(grey, contrast), _edge_loss(pixels), _thumbnail(pixels),
    )  # fmt: skip


def _color(pixels: Any) -> float:
    return float(pixels[..., 0].mean() - pixels[..., 2].mean()) / 255


def _saturation(pixels: Any) -> float:
    return float((pixels.max(2).astype(np.float32) - pixels.min(2)).mean()) / 255


def _sharpness(grey: Any, contrast: float) -> float:
    steps = [np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1) if grey.shape[axis] > 1]
    return float(sum(steps)) / max(contrast, 1e-6)


def _edge_loss(pixels: Any) -> float:
    """The share of the differences of neighbors that the mean over `BLUR_LENGTH` pixels takes (Crété et al., 2007).

    An image that is sharp at the size at which networks take it is not blurred, however soft its finest pixels are.
    The paper weighs all differences equally; here each counts by its size, so that edges decide, not backgrounds.
    Images too small for this mean are taken as sharp.
    """
    if min(pixels.shape[:2]) < 2 * BLUR_LENGTH:
        return 1.0
    picture = Image.fromarray(pixels)
    picture.thumbnail((BLUR_SIDE, BLUR_SIDE), Image.Resampling.BOX)
    grey = np.asarray(picture, np.float32).mean(2)
    total = lost = 0.0
    for axis in (0, 1):
        smooth = uniform_filter1d(grey, BLUR_LENGTH, axis, mode="nearest")
        steps, left = np.abs(np.diff(grey, axis=axis)), np.abs(np.diff(smooth, axis=axis))
        total, lost = total + float((steps**2).sum()), lost + float((steps * (steps - left).clip(0)).sum())
    return lost / total if total else 1.0


def _thumbnail(pixels: Any) -> Floats:
    """What near-duplicates have in common: neither size nor brightness, contrast and compression."""
    size = THUMBNAIL_SIDE, THUMBNAIL_SIDE
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX), np.float32).ravel()
    centred = small - small.mean()
    result: Floats = centred / max(float(np.linalg.norm(centred)), 1e-6)
    return result


PROPERTIES: dict[Fact, Callable[[ImageFile], float]] = {
    Fact("width"): lambda image: float(image.size[0]),
    Fact("height"): lambda image: float(image.size[1]),
    Fact("shape"): lambda image: image.size[0] / image.size[1],
    Fact("brightness"): lambda image: image.brightness,
    Fact("contrast"): lambda image: image.contrast,
    Fact("color"): lambda image: image.color,
    Fact("saturation"): lambda image: image.saturation,
    Fact("sharpness"): lambda image: image.sharpness,
}
"""What can be measured of an image without a look at what it shows."""


def groups(images: list[ImageFile], attribute: str) -> Iterator[tuple[Any, list[ImageFile]]]:
    """The images by one of their attributes."""
    by_value: dict[Any, list[ImageFile]] = {}
    for image in images:
        by_value.setdefault(getattr(image, attribute), []).append(image)
    yield from by_value.items()
