"""Masks of regions in files: pictures and arrays, brought to the pixels of a network's input."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from convscope.engine.inputs.image_io import open_image
from convscope.engine.inputs.specs import ImageInput, Images
from convscope.errors import InputError, OutputError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


_SAME_PROPORTIONS = 0.02
"""Pictures whose proportions differ by a smaller share have the same."""


def read_mask(path: str, model: "Model") -> tuple[Tensor, tuple[int, ...]]:
    """A mask (…) of zeros and ones in the extent of the model's input: what is not black in a picture, or not zero.

    A picture of the size of the prepared input is taken as it is; any other is scaled and cropped as the photograph
    that it was drawn over, and its own height and width are given too, for `check_proportions`.

    Raises:
        InputError: the file is no picture and no array.
        OutputError: nothing is marked in it, or an array has another shape than the input.
    """
    size: tuple[int, ...] = ()
    if Path(path).suffix == ".npy":
        mask = _read_array(path, model)
    else:
        mask, size = _read_picture(path, model)
    if not bool(mask.any()):
        raise OutputError(f"the mask {path!r} is empty: it marks nothing of the input")
    return mask, size


def check_proportions(path: str, size: tuple[int, ...], images: Images) -> None:
    """Refuse a mask of other proportions than the picture that it is scaled and cropped with.

    Raises:
        OutputError: there is such a picture among ``images``.
    """
    if not size:
        return
    for name, own_size in zip(images.names, images.sizes, strict=False):
        if own_size and abs(size[0] * own_size[1] / (size[1] * own_size[0]) - 1) > _SAME_PROPORTIONS:
            raise OutputError(
                f"the mask {path!r} has {size[0]} × {size[1]} pixels, and {name} {own_size[0]} × {own_size[1]}: a mask "
                "has the proportions of the picture that it was drawn over, or the size of the network's input"
            )


def _read_array(path: str, model: "Model") -> Tensor:
    try:
        values = np.load(path, allow_pickle=False)
        mask = torch.from_numpy(np.asarray(values != 0)).float()
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path!r} is no mask saved as .npy ({type(error).__name__}: {error})") from error
    extent = _extent(model)
    if extent is not None and tuple(mask.shape) != extent:
        raise OutputError(
            f"the mask {path!r} has shape {tuple(mask.shape)}, and the input {extent}: give it this shape"
        )
    return mask


def _read_picture(path: str, model: "Model") -> tuple[Tensor, tuple[int, ...]]:
    """The mask, and the size of the picture where it was scaled and cropped."""
    gray = open_image(path).convert("L")
    spec = model.input
    if not isinstance(spec, ImageInput) or (gray.height, gray.width) == spec.size:
        mask = torch.from_numpy(np.asarray(gray) > 0).float()
        extent = _extent(model)
        if extent is not None and tuple(mask.shape) != extent:
            raise OutputError(
                f"the mask {path!r} has {mask.shape[0]} × {mask.shape[1]} pixels, and the input {extent}: give it this "
                "size"
            )
        return mask, ()
    as_photo = ImageInput(
        size=spec.size,
        fit=spec.fit,
        resize=spec.resize,
        crop_margin=spec.crop_margin,
        interpolation="nearest",
        channels=1,
    )
    return (as_photo.prepare(gray)[0] > 0).float(), (gray.height, gray.width)


def _extent(model: "Model") -> tuple[int, ...] | None:
    """The spatial extent of the model's input, if it is known."""
    if isinstance(model.input, ImageInput):
        return tuple(model.input.size)  # type: ignore[arg-type]
    return None if model.input.shape is None else tuple(model.input.shape[1:])
