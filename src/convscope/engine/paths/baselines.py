"""Where a path to the image starts: an input that says nothing, in several readings of "nothing"."""

from typing import Any, Literal

import torch
from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.paths.blur import gaussian_blur
from convscope.errors import InputError

BaselineName = Literal["black", "white", "mean", "blur", "noise"]

BLUR_WIDTH = 0.08
"""The spread of the ``blur`` baseline, as a share of the image's longer side."""


def baseline_of(given: BaselineName | Tensor | Any, images: Images, *, seed: int = 0) -> Tensor:
    """The starting point (N, C, …) for each image.

    ``black`` and ``white`` are those colours as the network sees them, ``mean`` is the image's own mean colour (or a
    vector's mean), ``blur`` the image blurred beyond recognition, ``noise`` uniform noise over the image's own range. A
    tensor is a prepared baseline of one image's shape (used for all) or of the batch's.
    """
    x = images.tensor
    if isinstance(given, Tensor):
        if given.shape not in (x.shape, x.shape[1:]):
            raise InputError(f"a baseline has the image's shape {tuple(x.shape[1:])}, got {tuple(given.shape)}")
        if not bool(torch.isfinite(given).all()):
            raise InputError("the baseline holds NaN or infinite numbers")
        return given.to(x).expand_as(x)
    if given in ("black", "white"):
        return images.spec.level(float(given == "white")).to(x).expand_as(x)
    if given == "blur" and x.ndim < 3:
        raise InputError(
            f"the baseline {given!r} needs spatial axes, the input has shape {tuple(x.shape)}: use 'black' or 'mean'"
        )
    if given == "mean" and x.ndim < 3:
        return x.mean(1, keepdim=True).expand_as(x)
    if given == "mean":
        return x.flatten(2).mean(2).view(*x.shape[:2], *[1] * (x.ndim - 2)).expand_as(x)
    if given == "blur":
        return gaussian_blur(x, BLUR_WIDTH * max(images.extent))
    low = x.flatten(1).amin(1).view(-1, *[1] * (x.ndim - 1))
    drawn = noise.uniform(x.shape[1:], seed=seed, copies=torch.zeros(1, dtype=torch.long, device="cpu"), like=x)
    return low + drawn * noise.value_range(x)
