"""The pixels of the objects on the images of a network: those of samples, or given ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

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


def given_masks(masks: Any, shape: torch.Size) -> Tensor:
    """Masks of one's own in the size of the prepared images (N, C, height, width).

    Raises:
        InputError: there is not one mask (height, width) for each image.
    """
    arrays = [np.asarray(mask) for mask in masks]
    if len(shape) != 4 or len(arrays) < shape[0] or any(array.ndim != 2 for array in arrays):
        raise InputError(
            f"masks are one array (height, width) for each image, true at the object: {len(arrays)} were given for "
            f"{shape[0]} images of shape {tuple(shape[1:])}"
        )
    return torch.stack([_resized(array, shape) for array in arrays[: shape[0]]])


def _resized(mask: np.ndarray[Any, Any], shape: torch.Size) -> Tensor:
    values = torch.from_numpy(np.ascontiguousarray(mask != 0)).float()[None, None]
    return F.interpolate(values, tuple(shape[2:]), mode="nearest")[0, 0] > 0.5
