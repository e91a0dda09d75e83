"""Resizing by interpolation: PyTorch's where it computes the same, else a weighted sum of neighbors along each axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.loaders.onnx.operators.declaration import operator
from convscope.loaders.onnx.operators.numbers import check_elements, integers, numbers
from convscope.loaders.onnx.operators.translation import UnsupportedOperator


@dataclass(frozen=True)
class Resampling:
    """How positions of the output correspond to positions of the input along one axis, and how values are combined."""

    mode: str
    coordinates: str
    nearest: str = "round_prefer_floor"
    cubic_coefficient: float = -0.75
    exclude_outside: bool = False
    extrapolation: float = 0.0
    antialias: bool = False

    def positions(self, extent: int, size: int, scale: float, roi: tuple[float, float]) -> Tensor:
        """The position in the input, in float64, of each position of the output."""
        out = torch.arange(size, dtype=torch.float64, device="cpu")
        if self.coordinates == "asymmetric":
            return out / scale
        if self.coordinates == "align_corners":
            return out * ((extent - 1) / (size - 1) if size > 1 else 0.0)
        if self.coordinates == "pytorch_half_pixel" and size <= 1:
            return torch.zeros_like(out)
        if self.coordinates == "half_pixel_symmetric":
            center = extent / 2 * (1 - size / (scale * extent))
            return center + (out + 0.5) / scale - 0.5
        if self.coordinates == "tf_half_pixel_for_nn":
            return (out + 0.5) / scale
        if self.coordinates == "tf_crop_and_resize":
            start, end = roi
            if size > 1:
                return start * (extent - 1) + out * (end - start) * (extent - 1) / (size - 1)
            return torch.full_like(out, 0.5 * (start + end) * (extent - 1))
        if self.coordinates not in ("half_pixel", "pytorch_half_pixel"):
            raise UnsupportedOperator(f"Resize with coordinate_transformation_mode={self.coordinates!r}")
        return (out + 0.5) / scale - 0.5

    def nearest_index(self, positions: Tensor, extent: int) -> Tensor:
        """The index of the input element nearest to each position."""
        if self.nearest == "round_prefer_ceil":
            rounded = (positions + 0.5).floor()
        elif self.nearest == "floor":
            rounded = positions.floor()
        elif self.nearest == "ceil":
            rounded = positions.ceil()
        else:
            rounded = (positions - 0.5).ceil()
        return rounded.long().clamp(0, extent - 1)

    def weights(self, positions: Tensor, extent: int, scale: float) -> Tensor:
        """The weight (output, input) of each element of the input in each element of the output."""
        stretch = max(1 / scale, 1.0) if self.antialias else 1.0
        radius = {"linear": 1, "cubic": 2}[self.mode] * stretch
        taps = torch.arange(math.floor(-radius), math.ceil(radius) + 2, dtype=torch.float64, device="cpu")
        neighbors = positions.floor()[:, None] + taps
        kernel = self._kernel((neighbors - positions[:, None]) / stretch)
        inside = (neighbors >= 0) & (neighbors <= extent - 1)
        if self.exclude_outside:
            kernel = kernel * inside
        kernel = kernel / kernel.sum(1, keepdim=True)
        weights = torch.zeros(len(positions), extent, dtype=torch.float64, device="cpu")
        return weights.scatter_add(1, neighbors.long().clamp(0, extent - 1), kernel)

    def _kernel(self, distance: Tensor) -> Tensor:
        """The weight of a neighbor at a distance."""
        d = distance.abs()
        if self.mode == "linear":
            return (1 - d).clamp_min(0)
        a = self.cubic_coefficient
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))


def _with_torch(x: Tensor, resampling: Resampling, sizes: list[int], scales: list[float]) -> Tensor | None:
    """PyTorch's interpolation over all spatial axes; None where it would compute something else."""
    axes = range(2, x.ndim)
    if not 3 <= x.ndim <= 5 or sizes[:2] != list(x.shape[:2]) or resampling.antialias or resampling.exclude_outside:
        return None
    if resampling.mode == "nearest":
        return _nearest_with_torch(x, resampling, sizes, scales)
    exact = all(math.isclose(scales[i], sizes[i] / x.shape[i], rel_tol=1e-9) for i in axes)
    corners = resampling.coordinates == "align_corners"
    half = resampling.coordinates == "half_pixel" or (
        resampling.coordinates == "pytorch_half_pixel" and min(sizes[2:]) > 1
    )
    cubic = resampling.mode == "cubic"
    if not (corners or (half and exact)) or (cubic and (x.ndim != 4 or resampling.cubic_coefficient != -0.75)):
        return None
    mode = "bicubic" if cubic else ("linear", "bilinear", "trilinear")[x.ndim - 3]
    return F.interpolate(x, size=sizes[2:], mode=mode, align_corners=corners)


def _nearest_with_torch(x: Tensor, resampling: Resampling, sizes: list[int], scales: list[float]) -> Tensor | None:
    """PyTorch's nearest interpolation, if it reads the same elements."""
    if resampling.coordinates == "tf_crop_and_resize":
        return None
    modes = ["nearest", "nearest-exact"]
    for axis in range(2, x.ndim):
        extent, size = x.shape[axis], sizes[axis]
        positions = resampling.positions(extent, size, scales[axis], (0.0, 1.0))
        index = resampling.nearest_index(positions, extent)
        out = torch.arange(size, dtype=torch.float64, device="cpu")
        candidates = {"nearest": out, "nearest-exact": out + 0.5}
        modes = [m for m in modes if torch.equal((candidates[m] * (extent / size)).floor().long(), index)]
    return F.interpolate(x, size=sizes[2:], mode=modes[0]) if modes else None


def _along_axis(
    x: Tensor, axis: int, resampling: Resampling, size: int, scale: float, roi: tuple[float, float]
) -> Tensor:
    """The input resized along one axis."""
    extent = x.shape[axis]
    positions = resampling.positions(extent, size, scale, roi)
    if resampling.mode == "nearest":
        out = x.index_select(axis, resampling.nearest_index(positions, extent).to(x.device))
    else:
        weights = resampling.weights(positions, extent, scale).to(x)
        out = torch.matmul(x.movedim(axis, -1), weights.T).movedim(-1, axis)
    if resampling.coordinates != "tf_crop_and_resize":
        return out
    outside = ((positions < 0) | (positions > extent - 1)).to(x.device)
    return torch.where(outside.view(-1, *[1] * (x.ndim - 1 - axis)), resampling.extrapolation, out)


def _resized(
    x: Tensor, resampling: Resampling, sizes: list[int], scales: list[float], roi: list[float], axes: Sequence[int]
) -> Tensor:
    check_elements(sizes, "Resize")
    if min(sizes) < 1 or min(scales) <= 0:
        raise UnsupportedOperator(f"Resize to the shape {tuple(sizes)}")
    with_torch = _with_torch(x, resampling, sizes, scales)
    if with_torch is not None:
        return with_torch
    regions = dict(zip(axes, zip(roi[: len(axes)], roi[len(axes) :], strict=True), strict=True)) if roi else {}
    for axis in range(x.ndim):
        region = regions.get(axis, (0.0, 1.0))
        if sizes[axis] != x.shape[axis] or scales[axis] != 1 or region != (0.0, 1.0):
            x = _along_axis(x, axis, resampling, sizes[axis], scales[axis], region)
    return x


@operator("Resize", numbers="roi scales sizes")
def resize(
    x: Tensor,
    roi: Any = None,
    scales: Any = None,
    sizes: Any = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str | None = None,
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    opset: int,
) -> Tensor:
    """An interpolation to given extents, or by given factors."""
    if opset < 11:  # the second input are the scales, and positions are not shifted
        roi, scales = None, roi
        coordinate_transformation_mode, nearest_mode = "asymmetric", "floor"
    resampling = Resampling(
        mode,
        coordinate_transformation_mode or "half_pixel",
        nearest_mode,
        cubic_coeff_a,
        bool(exclude_outside),
        extrapolation_value,
        bool(antialias),
    )
    chosen = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in axes]
    extents, factors = list(x.shape), [1.0] * x.ndim
    if sizes is not None and len(integers(sizes)):
        policy = {"not_larger": min, "not_smaller": max}.get(keep_aspect_ratio_policy)
        wanted = dict(zip(chosen, integers(sizes), strict=True))
        common = policy(n / x.shape[axis] for axis, n in wanted.items()) if policy else None
        for axis, size in wanted.items():
            factors[axis] = size / x.shape[axis] if common is None else common
            extents[axis] = size if common is None else math.floor(x.shape[axis] * common + 0.5)
    else:
        for axis, factor in zip(chosen, numbers(scales), strict=True):
            factors[axis], extents[axis] = factor, math.floor(x.shape[axis] * factor)
    crops = coordinate_transformation_mode == "tf_crop_and_resize" and roi is not None
    return _resized(x, resampling, extents, factors, numbers(roi) if crops else [], chosen)


@operator("Upsample", numbers="factors")
def upsample(x: Tensor, factors: Any = None, *, mode: str = "nearest", scales: Sequence[float] | None = None) -> Tensor:
    """An interpolation by given factors, whose positions are not shifted."""
    given = list(scales or ()) if factors is None else numbers(factors)
    sizes = [math.floor(n * factor) for n, factor in zip(x.shape, given, strict=True)]
    resampling = Resampling(mode, "asymmetric", "floor")
    return _resized(x, resampling, sizes, given, [], range(x.ndim))
