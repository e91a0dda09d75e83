"""Operators that read an image at positions between its pixels: features of regions, deformable convolutions."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.errors import LoadError
from convscope.loaders.onnx.operators.declaration import operator
from convscope.loaders.onnx.operators.numbers import check_elements
from convscope.loaders.onnx.operators.translation import UnsupportedOperator

_HALF_PIXEL_BY_DEFAULT = 16
"""The version of the operators from which on RoiAlign takes pixels to be centred at 0.5."""


@operator("RoiAlign")
def roi_align(
    x: Tensor,
    regions: Tensor,
    samples: Tensor,
    *,
    coordinate_transformation_mode: str = "",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
    opset: int,
) -> Tensor:
    """For each region (x1, y1, x2, y2) of a sample, the mean or the maximum over points of each cell of a grid."""
    default = "half_pixel" if opset >= _HALF_PIXEL_BY_DEFAULT else "output_half_pixel"
    centred = (coordinate_transformation_mode or default) == "half_pixel"
    check_elements((len(regions), x.shape[1], output_height, output_width), "RoiAlign")
    features = []
    for region, sample in zip(regions, samples.tolist(), strict=True):
        image = x[sample]
        left, top, right, bottom = (region * spatial_scale - (0.5 if centred else 0.0)).unbind()
        rows = _grid(top, bottom, output_height, sampling_ratio, malformed=not centred)
        columns = _grid(left, right, output_width, sampling_ratio, malformed=not centred)
        check_elements((4, x.shape[1], rows.numel(), columns.numel()), "RoiAlign")
        features.append(_pooled(image, rows, columns, mode))
    shape = (0, x.shape[1], output_height, output_width)
    return torch.stack(features) if features else x.new_zeros(shape)


def _grid(start: Tensor, end: Tensor, cells: int, ratio: int, *, malformed: bool) -> Tensor:
    """The positions of points along an axis, (cells, points of a cell)."""
    length = (end - start).clamp_min(1.0) if malformed else end - start
    points = ratio if ratio > 0 else max(math.ceil(length.item() / cells), 0)
    within = (torch.arange(points, device=start.device) + 0.5) / max(points, 1)
    return start + (torch.arange(cells, device=start.device)[:, None] + within) * (length / cells)


def _pooled(image: Tensor, rows: Tensor, columns: Tensor, mode: str) -> Tensor:
    """What an image (C, h, w) has at the points of a grid, put together within each cell."""
    if not rows.numel() or not columns.numel():
        return image.new_zeros(image.shape[0], rows.shape[0], columns.shape[0])
    vertical, horizontal = _neighbours(rows.flatten(), image.shape[1]), _neighbours(columns.flatten(), image.shape[2])
    corners = torch.stack([
        image[:, row][:, :, column] * (row_share[:, None] * column_share)
        for row, row_share in vertical
        for column, column_share in horizontal
    ])  # fmt: skip
    points = corners.amax(0) if mode == "max" else corners.sum(0)
    cells: Tensor = points.unflatten(1, rows.shape).unflatten(3, columns.shape)  # type: ignore[no-untyped-call]
    return cells.amax((2, 4)) if mode == "max" else cells.mean((2, 4))


def _neighbours(positions: Tensor, extent: int) -> list[tuple[Tensor, Tensor]]:
    """The pixels before and after each position, and their shares; nothing more than one pixel outside has a share."""
    inside = ((positions >= -1) & (positions <= extent)).to(positions.dtype)
    positions = positions.clamp(0, extent - 1)
    before = positions.detach().floor().long()
    share = positions - before
    return [(before, (1 - share) * inside), ((before + 1).clamp_max(extent - 1), share * inside)]


@operator("DeformConv")
def deformable_convolution(
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
) -> Tensor:
    """A convolution whose kernel reads at positions that are moved by offsets, and weighted by a mask."""
    if x.ndim != 4:
        raise UnsupportedOperator(f"DeformConv of {x.ndim - 2} spatial axes")
    count, channels, height, width = x.shape
    rows, columns = offset.shape[2:]
    taps = weight.shape[2] * weight.shape[3]
    if kernel_shape is not None and tuple(kernel_shape) != tuple(weight.shape[2:]):
        raise LoadError(f"the kernel is {tuple(weight.shape[2:])}, and kernel_shape says {tuple(kernel_shape)}")
    check_elements((count, channels, taps, rows, columns), "DeformConv")
    moved = offset.reshape(count, offset_group, taps, 2, rows, columns)
    vertical = _kernel_rows(rows, weight.shape[2], strides[0], dilations[0], pads[0], x.device)
    horizontal = _kernel_rows(columns, weight.shape[3], strides[1], dilations[1], pads[1], x.device)
    y = moved[:, :, :, 0] + vertical[:, None, :, None].expand(-1, weight.shape[3], -1, 1).flatten(0, 1)
    z = moved[:, :, :, 1] + horizontal[None, :, None, :].expand(weight.shape[2], -1, 1, -1).flatten(0, 1)
    grid = torch.stack([(2 * z + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    images = x.reshape(count * offset_group, channels // offset_group, height, width)
    read = F.grid_sample(images, grid.reshape(count * offset_group, taps * rows, columns, 2), align_corners=False)
    read = read.reshape(count, offset_group, channels // offset_group, taps, rows * columns)
    if mask is not None:
        read = read * mask.reshape(count, offset_group, 1, taps, rows * columns)
    patches = read.reshape(count, group, channels // group, taps, rows * columns)
    kernels = weight.reshape(group, weight.shape[0] // group, weight.shape[1], taps)
    out = torch.einsum("ngckp,gock->ngop", patches, kernels).reshape(count, weight.shape[0], rows, columns)
    return out if bias is None else out + bias[:, None, None]


def _kernel_rows(outputs: int, kernel: int, stride: int, dilation: int, padding: int, device: torch.device) -> Tensor:
    """Where each row of a kernel reads for each output, (kernel, outputs)."""
    starts = torch.arange(outputs, device=device) * stride - padding
    return (torch.arange(kernel, device=device) * dilation)[:, None] + starts
