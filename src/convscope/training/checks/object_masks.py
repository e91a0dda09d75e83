"""The pixels of the objects on the images of a network: those of samples, or given ones."""

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.inputs.image_io import open_image
from convscope.errors import InputError, UnknownName
from convscope.samples import sample


def masks_of(names: Sequence[str], shape: torch.Size) -> Tensor | None:
    """The masks (N, height, width) of samples in the size of the prepared images; None if one has none."""
    masks = []
    for name in names:
        try:
            mask = sample(name).mask if name.startswith("sample:") else None
        except UnknownName:
            mask = None
        if mask is None or mask.ndim != 2 or len(shape) != 4:
            return None
        masks.append(_resized(mask, shape))
    return torch.stack(masks) if masks else None


def given_masks(masks: Any, shape: torch.Size, names: Sequence[str] = ()) -> Tensor:
    """Masks of one's own in the size of the prepared images (N, C, height, width).

    Args:
        masks: one array for each image, or a folder that has a picture of the same name for each.
        names: of the images.

    Raises:
        InputError: there is not one mask (height, width) for each image.
    """
    if isinstance(masks, (str, Path)):
        masks = _masks_in(Path(masks).expanduser(), names)
    arrays = [np.asarray(mask) for mask in masks]
    if len(shape) != 4 or len(arrays) < shape[0] or any(array.ndim != 2 for array in arrays):
        raise InputError(
            f"masks are one array (height, width) for each image, true at the object: {len(arrays)} were given for "
            f"{shape[0]} images of shape {tuple(shape[1:])}"
        )
    return torch.stack([_resized(array, shape) for array in arrays[: shape[0]]])


def _masks_in(folder: Path, names: Sequence[str]) -> list[np.ndarray[Any, Any]]:
    """Of each image the picture of the same name in a folder, whatever its ending; black is the background."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}: name the folder of the masks of the images")
    by_path = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.*"))}
    by_name = {path.stem: path for path in by_path.values()}
    masks = []
    for name in names:
        image = PurePath(name).with_suffix("")
        path = by_path.get(image.as_posix()) or by_name.get(image.name)
        if path is None:
            raise InputError(f"there is no mask of {name!r} in {str(folder)!r}: give each image one of the same name")
        masks.append(np.asarray(open_image(path).convert("L")))
    return masks


def _resized(mask: np.ndarray[Any, Any], shape: torch.Size) -> Tensor:
    values = torch.from_numpy(np.ascontiguousarray(mask != 0)).float()[None, None]
    return F.interpolate(values, tuple(shape[2:]), mode="nearest")[0, 0] > 0.5
