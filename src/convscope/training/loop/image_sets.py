"""Labelled images for training, from their address: bundled digits and shapes, IDX files, NPZ files, class folders.

Images are uint8 (N, C, H, W) of one size and stay in memory; a batch is prepared when it is used.
"""

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convscope.engine.inputs.image_io import convert_mode, image_extensions, open_image
from convscope.engine.inputs.specs import ImageInput
from convscope.errors import ConvScopeError, InputError
from convscope.samples import digits, shapes

NAMES = ("digits", "shapes", "mnist", "fashion", "cifar")
SHAPES_FOR_TRAINING, SHAPES_SIDE, DIGITS_SIDE, FOLDER_SIDE = 2000, 48, 32, 64
HELD_OUT_SHARE, SPLIT_SEED = 0.15, 0
"""The share of the images that a data set without a validation part holds out, and the seed of their choice."""


@dataclass(frozen=True)
class Labelled:
    """Images uint8 (N, C, H, W) with the indices of their classes."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: Tensor) -> "Labelled":
        """Some of them."""
        return Labelled(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class ImageSet:
    """What a network is trained and measured on.

    Attributes:
        skipped: files that could not be read, with the reason.
        mirrored: whether a mirrored image shows the same class, as digits do not.
    """

    name: str
    training: Labelled
    validation: Labelled
    classes: tuple[str, ...]
    mirrored: bool = False
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def unlearnt(self) -> tuple[str, ...]:
        """The classes without a training image, as where the only one of a class was held out."""
        present = set(self.training.labels.tolist())
        return tuple(name for index, name in enumerate(self.classes) if index not in present)

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel of the training images, of pixels from 0 to 1."""
        levels = torch.arange(256, dtype=torch.float64, device="cpu") / 255
        means, deviations = [], []
        for channel in self.training.images.unbind(1):
            parts = channel.split(4096)  # type: ignore[no-untyped-call]
            counts = torch.stack([torch.bincount(part.reshape(-1), minlength=256) for part in parts]).sum(0)
            shares = counts / counts.sum()
            means.append(float((shares * levels).sum()))
            deviations.append(max(1e-3, float((shares * (levels - means[-1]).square()).sum().sqrt())))
        return tuple(means), tuple(deviations)


def open_image_set(address: str, folder: str | Path | None = None) -> ImageSet:
    """The images of an address.

    Args:
        address: ``digits``, ``shapes``, ``mnist``, ``fashion``, ``cifar``, or a folder or an NPZ file.
        folder: where the files of ``mnist``, ``fashion`` and ``cifar`` lie.

    Raises:
        InputError: there are no such files, they are damaged, or they hold fewer than two classes.
    """
    if address == "digits":
        return _digits()
    if address == "shapes":
        return _shapes()
    path = Path(folder or address).expanduser()
    if not path.exists():
        known = f"; the data sets with a name are {', '.join(NAMES)}" if address not in NAMES else ""
        place = f"name its folder with --data FOLDER, since {address} is not bundled" if address in NAMES else ""
        raise InputError(f"there are no images at {str(path)!r}: {place or 'name a folder or an NPZ file'}{known}")
    return _checked(_from_files(path, address), address)


def _digits() -> ImageSet:
    def labelled(part: digits.Digits) -> Labelled:
        images = torch.stack([_pixels(Image.fromarray(image), DIGITS_SIDE) for image in part.images])
        return Labelled(images, torch.from_numpy(part.labels.copy()))

    return ImageSet("digits", labelled(digits.training_set()), labelled(digits.held_out_set()), digits.CLASSES)


def _shapes() -> ImageSet:
    """Scenes of seeds that no bundled sample has, reduced in size so that they train within minutes."""

    def drawn(first: int, count: int) -> Labelled:
        scenes = [shapes.scene(seed) for seed in range(first, first + count)]
        images = torch.stack([_pixels(Image.fromarray(scene.image), SHAPES_SIDE) for scene in scenes])
        return Labelled(images, torch.tensor([scene.label for scene in scenes], device="cpu"))

    return ImageSet("shapes", drawn(1_000_000, SHAPES_FOR_TRAINING), drawn(0, 300), shapes.CLASSES, mirrored=True)


def _from_files(path: Path, name: str) -> ImageSet:
    if path.is_file():
        return _npz(path, [path])
    idx = {part: _idx_pair(path, part) for part in ("train", "t10k")}
    if idx["train"]:
        training, validation = Labelled(*idx["train"]), Labelled(*idx["t10k"]) if idx["t10k"] else None
        return _split(name, training, validation, None)
    npz = sorted(path.glob("*.npz"))
    return _npz(path, npz) if npz else _class_folders(path)


def _idx_pair(folder: Path, part: str) -> tuple[Tensor, Tensor] | None:
    """Images and labels of a pair of IDX files; None if they are not there."""
    files = [next(iter(sorted(folder.glob(f"{part}-{kind}*"))), None) for kind in ("images", "labels")]
    if files[0] is None or files[1] is None:
        return None
    images, labels = (_idx(file) for file in files if file)
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise InputError(f"{files[0].name} holds {images.shape} and {files[1].name} {labels.shape}: they do not match")
    return torch.from_numpy(images.copy())[:, None], torch.from_numpy(labels.astype(np.int64))


def _idx(path: Path) -> "np.ndarray[Any, Any]":
    """The array of an IDX file, compressed or not."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zero, kind, axes = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{axes}I", data, 4)
        array = np.frombuffer(data, np.uint8, offset=4 + 4 * axes)
    except (OSError, EOFError, struct.error, ValueError) as error:
        raise InputError(f"{str(path)!r} is no IDX file ({type(error).__name__}: {error})") from error
    if zero or kind != 8 or int(np.prod(shape, dtype=np.int64)) != array.size:
        raise InputError(f"{str(path)!r} is no IDX file of bytes: its header does not fit its {array.size:,} bytes")
    return array.reshape(shape)


def _npz(path: Path, files: list[Path]) -> ImageSet:
    """NPZ files with images (N, H, W[, C]) and labels (N,), in arrays of whatever name."""
    images, labels = [], []
    for file in files:
        try:
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
                arrays = [stored[key] for key in stored.files]
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise InputError(f"{str(file)!r} is no NPZ file of arrays ({type(error).__name__}: {error})") from error
        pictures = [a for a in arrays if a.ndim in (3, 4) and a.dtype == np.uint8]
        targets = [a for a in arrays if a.ndim == 1 and np.issubdtype(a.dtype, np.integer)]
        if len(pictures) != 1 or len(targets) != 1 or len(pictures[0]) != len(targets[0]):
            raise InputError(
                f"{str(file)!r} must hold images, uint8 (N, H, W) or (N, H, W, 3), and whole numbers (N,) as labels; "
                f"it holds {', '.join(f'{a.dtype} {a.shape}' for a in arrays)}"
            )
        if len(targets[0]) and targets[0].min() < 0:
            raise InputError(
                f"{str(file)!r} has labels below 0, as of images whose class is unknown: leave these images out"
            )
        images.append(pictures[0] if pictures[0].ndim == 4 else pictures[0][..., None])
        labels.append(targets[0].astype(np.int64))
    stacked = torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2).contiguous()
    return _split(path.stem, Labelled(stacked, torch.from_numpy(np.concatenate(labels))), None, None, mirrored=True)


def _class_folders(path: Path) -> ImageSet:
    """A folder with a folder per class, or with ``train`` and ``val`` (or ``validation``, ``test``) of these."""
    parts = {p.name.lower(): p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")}
    held_out = next((parts[name] for name in ("val", "validation", "valid", "test") if name in parts), None)
    training = parts.get("train", parts.get("training")) if held_out is not None else None
    root = training or path
    classes = tuple(sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")))
    skipped: list[tuple[str, str]] = []
    labelled = _read_classes(root, classes, skipped)
    validation = None
    if training and held_out:
        validation = _read_classes(held_out, classes, skipped)
        unknown = sorted(
            p.name for p in held_out.iterdir() if p.is_dir() and p.name not in classes and p.name[0] != "."
        )
        skipped += [(f"{held_out.name}/{name}", "there is no such class in the training part") for name in unknown]
    return _split(path.name, labelled, validation, classes, mirrored=True, skipped=tuple(skipped))


def _read_classes(root: Path, classes: tuple[str, ...], skipped: list[tuple[str, str]]) -> Labelled:
    endings = tuple(image_extensions())
    images, labels = [], []
    for index, name in enumerate(classes):
        for file in sorted((root / name).rglob("*")):
            if not file.name.lower().endswith(endings) or file.name.startswith("."):
                continue
            try:
                images.append(_pixels(convert_mode(open_image(file), 3), FOLDER_SIDE))
                labels.append(index)
            except (ConvScopeError, OSError) as error:
                skipped.append((str(file.relative_to(root)), str(error)))
    empty = torch.zeros(0, 3, FOLDER_SIDE, FOLDER_SIDE, dtype=torch.uint8, device="cpu")
    return Labelled(torch.stack(images) if images else empty, torch.tensor(labels, dtype=torch.int64, device="cpu"))


def _pixels(picture: Image.Image, side: int) -> Tensor:
    """A picture as uint8 (C, side, side), prepared as the network file of the training will prepare it."""
    spec = ImageInput(size=(side, side), channels=1 if picture.mode == "L" else 3)
    return (spec.prepare(picture) * 255).round().byte()


def _split(
    name: str,
    training: Labelled,
    validation: Labelled | None,
    classes: tuple[str, ...] | None,
    *,
    mirrored: bool = False,
    skipped: tuple[tuple[str, str], ...] = (),
) -> ImageSet:
    """A data set with its own validation part, or with a part of the training images held out."""
    if classes is None:
        classes = _numbered_classes(name, training, validation)
    if validation is None:
        generator = torch.Generator(device="cpu").manual_seed(SPLIT_SEED)
        order = torch.randperm(len(training), generator=generator, device="cpu")
        count = max(1, round(HELD_OUT_SHARE * len(training)))
        training, validation = training.part(order[count:]), training.part(order[:count])
    return ImageSet(name, training, validation, classes, mirrored, skipped)


def _numbered_classes(name: str, training: Labelled, validation: Labelled | None) -> tuple[str, ...]:
    """The names of classes of which only numbers are known."""
    count, largest = len(training), int(training.labels.max()) if len(training) else -1
    if largest >= count > 0:
        raise InputError(
            f"{name!r} gives {count:,} images for {largest + 1:,} classes, since labels go up to {largest}: they must "
            "count from 0 without gaps, and every class needs images"
        )
    if validation is not None and len(validation) and int(validation.labels.max()) > largest:
        raise InputError(
            f"{name!r} has validation images of class {int(validation.labels.max())}, and its training images end with "
            f"class {largest}: both need the same classes"
        )
    return tuple(map(str, range(largest + 1)))


def _checked(images: ImageSet, address: str) -> ImageSet:
    labels = torch.cat([images.training.labels, images.validation.labels])
    present, count = len(set(labels.tolist())), len(labels)
    if present < 2 or not len(images.validation):
        hint = (
            f", and {len(images.skipped)} more were left out: {': '.join(images.skipped[0])}" if images.skipped else ""
        )
        raise InputError(
            f"{address!r} gives {count} images of {present} class{'es' * (present != 1)}{hint}; "
            "training needs images of two classes or more, each class in a folder of its own"
        )
    if len(images.classes) - len(images.unlearnt) < 2:
        raise InputError(
            f"{address!r} gives {count} images, of which those held out leave one class: training needs several images "
            "of each class"
        )
    return images
