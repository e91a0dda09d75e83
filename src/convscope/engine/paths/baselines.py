"""Baselines: the uninformative inputs at which paths to an image start."""

from typing import Any, Literal

import torch
from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.named_inputs import of_each_input
from convscope.engine.inputs.specs import Images
from convscope.engine.paths.blur import gaussian_blur
from convscope.errors import InputError

BaselineName = Literal["black", "white", "mean", "blur", "noise"]

BLUR_WIDTH = 0.08
"""The standard deviation of the ``blur`` baseline, as a share of the image's longer side."""


def make_baseline(baseline: BaselineName | Tensor | Any, images: Images, *, seed: int = 0) -> Tensor:
    """The baseline (N, C, …) of each image.

    ``black`` and ``white`` are these colours after preprocessing, ``mean`` is the image's own mean colour (or a
    vector's mean), ``blur`` the image blurred beyond recognition, ``noise`` uniform noise over the image's own range. A
    tensor is a prepared baseline with the shape of one image (used for all) or of the batch. Packed inputs have each
    its own mean, blur and range.
    """
    x = images.tensor
    if isinstance(baseline, Tensor):
        if baseline.shape not in (x.shape, x.shape[1:]):
            raise InputError(f"a baseline has the image's shape {tuple(x.shape[1:])}, got {tuple(baseline.shape)}")
        if not bool(torch.isfinite(baseline).all()):
            raise InputError("the baseline holds NaN or infinite numbers")
        return baseline.to(x).expand_as(x)
    if baseline in ("black", "white"):
        return images.spec.level(float(baseline == "white")).to(x).expand_as(x)
    if baseline == "noise":
        low = of_each_input(images, lambda part: noise.smallest(part.tensor))
        spread = of_each_input(images, lambda part: noise.value_range(part.tensor))
        copies = torch.zeros(1, dtype=torch.long, device="cpu")
        return low + noise.uniform(x.shape[1:], seed=seed, copies=copies, like=x) * spread
    return of_each_input(images, lambda part: _mean_or_blur(baseline, part))


def _mean_or_blur(baseline: Any, images: Images) -> Tensor:
    """The mean colour (N, C, …) of each image, or the blurred image."""
    x = images.tensor
    if baseline == "blur" and x.ndim < 3:
        raise InputError(
            f"the baseline {baseline!r} needs spatial axes, the input has shape {tuple(x.shape)}: use 'black' or 'mean'"
        )
    if baseline == "mean" and x.ndim < 3:
        return x.mean(1, keepdim=True).expand_as(x)
    if baseline == "mean":
        return x.flatten(2).mean(2).view(*x.shape[:2], *[1] * (x.ndim - 2)).expand_as(x)
    return gaussian_blur(x, BLUR_WIDTH * max(images.extent))
