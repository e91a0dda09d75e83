"""Images in another size, as TensorFlow defines it for each method.

Every method is a sum over the pixels near the place of a new one, along rows and then along columns. The weights of an
axis are a matrix (new, old); those of pixels outside of the image are left out, and the others sum to 1.
"""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor


def _triangle(x: Tensor) -> Tensor:
    return (1 - x).clamp_min(0)


def _cubic(x: Tensor, b: float, c: float) -> Tensor:
    """The cubic filters of Mitchell and Netravali; b = 0 and c = 1/2 is that of Keys."""
    near = ((12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + 6 - 2 * b) / 6
    far = ((-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x + 8 * b + 24 * c) / 6
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _lanczos(x: Tensor, radius: int) -> Tensor:
    return torch.where(x < radius, torch.sinc(x) * torch.sinc(x / radius), torch.zeros_like(x))


def _gaussian(x: Tensor) -> Tensor:
    return torch.where(x < 1.5, torch.exp(-(x**2) / (2 * 0.5**2)), torch.zeros_like(x))


_FILTERS: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {
    "bilinear": (1, _triangle),
    "bicubic": (2, functools.partial(_cubic, b=0.0, c=0.5)),
    "mitchellcubic": (2, functools.partial(_cubic, b=1 / 3, c=1 / 3)),
    "lanczos3": (3, functools.partial(_lanczos, radius=3)),
    "lanczos5": (5, functools.partial(_lanczos, radius=5)),
    "gaussian": (1.5, _gaussian),
}
"""The filter of each method, and how far it reaches in pixels."""

_TABLE = 1024
"""The entries of TensorFlow's table of the cubic filter for each pixel."""

METHODS = (*_FILTERS, "area")
"""The methods that are known here."""


def resampled(x: Tensor, height: int, width: int, method: str, *, antialias: bool = False) -> Tensor:
    """Images (N, C, H, W) in another size."""
    rows = _weights(x.shape[-2], height, method, antialias=antialias).to(x)
    columns = _weights(x.shape[-1], width, method, antialias=antialias).to(x)
    return rows @ x @ columns.T


def _weights(old: int, new: int, method: str, *, antialias: bool) -> Tensor:
    """The weights (new, old) of the pixels along one axis."""
    scale = old / new
    pixels = torch.arange(old, dtype=torch.float64, device="cpu")
    if method == "area":  # the part of each old pixel that a new one covers
        start = torch.arange(new, dtype=torch.float64, device="cpu")[:, None] * scale
        covered = torch.minimum(pixels + 1, start + scale) - torch.maximum(pixels, start)
        return covered.clamp_min(0) / scale
    radius, function = _FILTERS[method]
    extent = max(scale, 1.0) if antialias else 1.0
    places = (torch.arange(new, dtype=torch.float64, device="cpu")[:, None] + 0.5) * scale
    if method == "bicubic" and not antialias:  # TensorFlow reads this filter from a table
        places = ((places - 0.5) * _TABLE).round() / _TABLE + 0.5
    distances = (pixels + 0.5 - places).abs() / extent
    weights = torch.where(distances <= radius, function(distances), torch.zeros_like(distances))
    totals = weights.sum(1, keepdim=True)
    if not math.isfinite(float(totals.sum())) or bool((totals == 0).any()):
        raise ValueError(f"no pixel counts when {old} become {new} by the method {method}")
    return weights / totals
