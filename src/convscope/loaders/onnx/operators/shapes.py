"""Operators that change the shape or the type of a tensor, or read it."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.loaders.onnx.operators.declaration import operator, translator
from convscope.loaders.onnx.operators.numbers import check_elements, integers, number
from convscope.loaders.onnx.operators.translation import NodeView, Translation, UnsupportedOperator
from convscope.loaders.onnx.tensors import torch_dtype


@operator("Reshape", numbers="shape")
def reshape(x: Tensor, shape: Any, *, allowzero: int = 0) -> Tensor:
    """Another shape; 0 keeps the extent at its place, -1 is what remains."""
    extents = integers(shape)
    if not allowzero:
        extents = [x.shape[axis] if extent == 0 else extent for axis, extent in enumerate(extents)]
    return x.reshape(extents)


class Reshaping(nn.Module):
    """A reshape to a constant shape.

    Attributes:
        shape, allowzero: as the node has them.
        example: the shapes of input and output when the network was opened.
        rebatches: whether the shape was written for one batch size and is scaled for others.
    """

    def __init__(self, shape: Sequence[int], allowzero: int, example: tuple[Sequence[int], Sequence[int]]) -> None:
        super().__init__()
        self.shape, self.allowzero, self.example, self.rebatches = list(shape), allowzero, example, False

    def forward(self, x: Tensor) -> Tensor:
        """The input in its new shape."""
        if self.rebatches and tuple(x.shape) != tuple(self.example[0]):
            return x.reshape(shape_for_batch(x.shape, *self.example))
        return reshape(x, self.shape, allowzero=self.allowzero)

    def extra_repr(self) -> str:
        """The shape."""
        return str(tuple(self.shape))


def shape_for_batch(shape: Sequence[int], before: Sequence[int], after: Sequence[int]) -> list[int]:
    """The shape of a reshaped tensor that has another batch size than an example.

    In the example a tensor of shape ``before`` became one of shape ``after``. A tensor that differs in the extent of
    one axis (the batch) becomes one that differs in the axis that holds this one: (197, 1, 768) became (197, 12, 64),
    so (197, 5, 768) becomes (197, 60, 64).

    Raises:
        ValueError: several axes differ.
    """
    different = [axis for axis, (n, m) in enumerate(zip(shape, before, strict=True)) if n != m]
    if len(different) != 1:
        raise ValueError(f"a tensor of shape {tuple(shape)} instead of {tuple(before)} differs in more than the batch")
    axis, extents = different[0], list(after)
    outer = math.prod(before[:axis])
    first, last = (_axes_of_one(after, boundary) for boundary in (outer, outer * before[axis]))
    if first or last:  # the batch has an axis of its own, as the outer or the inner part of the one that differs
        own = first or last
        place = axis if axis in own else own[0]
    else:
        place = next((i for i in range(len(after)) if math.prod(after[: i + 1]) > outer), len(after) - 1)
        joined = len(after[place:]) <= len(before[axis + 1 :])
        if place and before[axis] == 1 and joined and math.prod(after[:place]) == outer:
            place -= 1  # (50, 1, 12, 64) became (50, 768): the rows are those of all samples
    extents[place] = extents[place] * shape[axis] // before[axis]
    return extents


def _axes_of_one(shape: Sequence[int], boundary: int) -> list[int]:
    """The axes of extent 1 that have so many elements before them."""
    return [axis for axis, extent in enumerate(shape) if extent == 1 and math.prod(shape[:axis]) == boundary]


@translator("Reshape")
def reshape_module(node: NodeView) -> Translation | None:
    """A reshape to a constant shape."""
    shape, allowzero = node.constant(1), int(node.attributes.get("allowzero", 0))
    if shape is None:
        return None
    extents = integers(shape)
    after = reshape(node.examples[0], extents, allowzero=allowzero).shape
    return Translation(Reshaping(extents, allowzero, (tuple(node.examples[0].shape), tuple(after))))


@operator("Flatten")
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """A matrix: the axes before ``axis``, and those from there on."""
    if axis == 1 and x.ndim > 1:
        return torch.flatten(x, 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@translator("Flatten")
def flatten_module(node: NodeView) -> Translation | None:
    """Everything but the batch in one axis."""
    return Translation(nn.Flatten()) if node.attributes.get("axis", 1) == 1 and node.rank > 1 else None


@operator("Transpose")
def transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    """The axes in another order; reversed by default."""
    return x.permute(list(perm) if perm is not None else list(reversed(range(x.ndim))))


@operator("Squeeze", numbers="places")
def squeeze(x: Tensor, places: Any = None, *, axes: Sequence[int] | None = None) -> Tensor:
    """Without axes of extent 1."""
    chosen = axes if places is None else integers(places)
    return x.squeeze() if chosen is None else x.squeeze(tuple(chosen))


@operator("Unsqueeze", numbers="places")
def unsqueeze(x: Tensor, places: Any = None, *, axes: Sequence[int] | None = None) -> Tensor:
    """With more axes of extent 1."""
    chosen = list(axes or ()) if places is None else integers(places)
    rank = x.ndim + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def concatenate(*tensors: Tensor, axis: int) -> Tensor:
    """Tensors one after the other along an axis; one that is the same for all samples is repeated for each."""
    batches = {tensor.shape[0] for tensor in tensors if tensor.ndim}
    if len(batches) == 2 and 1 in batches and axis % tensors[0].ndim != 0:
        tensors = tuple(t.expand(max(batches), *t.shape[1:]) if len(t) == 1 else t for t in tensors)
    return torch.cat(tensors, axis)


@operator("Split", numbers="sizes")
def split_tensor(
    x: Tensor,
    sizes: Any = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    split: Sequence[int] | None = None,
    outputs: int,
) -> Any:
    """Parts of a tensor along an axis, of given extents or of equal ones (the last may be smaller)."""
    extents = split if sizes is None else integers(sizes)
    if extents is None:
        count = num_outputs or outputs
        part = -(-x.shape[axis] // count)
        extents = [max(min(part, x.shape[axis] - i * part), 0) for i in range(count)]
    return torch.split(x, list(extents), axis)


@operator("Slice", numbers="first last along step")
def slice_tensor(
    x: Tensor,
    first: Any = None,
    last: Any = None,
    along: Any = None,
    step: Any = None,
    *,
    axes: Sequence[int] | None = None,
    ends: Sequence[int] | None = None,
    starts: Sequence[int] | None = None,
) -> Tensor:
    """A range of positions along some axes, as Python counts them."""
    begin = list(starts or ()) if first is None else integers(first)
    end = list(ends or ()) if last is None else integers(last)
    given = axes if along is None else integers(along)
    chosen = list(range(len(begin))) if given is None else [axis % x.ndim for axis in given]
    steps = [1] * len(begin) if step is None else integers(step)
    index: list[Any] = [slice(None)] * x.ndim
    for axis, start, stop, stride in zip(chosen, begin, end, steps, strict=True):
        if stride > 0:
            index[axis] = slice(start, stop, stride)
        else:
            stop = None if stop < -x.shape[axis] else stop  # type: ignore[assignment]
            positions = range(x.shape[axis])[slice(start, stop, stride)]
            x = x.index_select(axis, torch.tensor(list(positions), dtype=torch.long, device=x.device))
    return x[tuple(index)]


@operator("Expand", numbers="shape")
def expand(x: Tensor, shape: Any) -> Tensor:
    """Broadcast with a shape."""
    extents = torch.broadcast_shapes(x.shape, tuple(integers(shape)))  # type: ignore[no-untyped-call]
    check_elements(extents, "Expand")
    return x.expand(extents)


@operator("Tile", numbers="repeats")
def tile(x: Tensor, repeats: Any) -> Tensor:
    """The tensor, repeated along each axis."""
    counts = integers(repeats)
    check_elements([n * count for n, count in zip(x.shape, counts, strict=True)], "Tile")
    return x.repeat(counts)


@operator("Shape")
def shape_of(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """The shape, as a tensor."""
    return torch.tensor(list(x.shape)[start:end], dtype=torch.int64, device="cpu")


@operator("Size")
def size_of(x: Tensor) -> Tensor:
    """The number of elements, as a tensor."""
    return torch.tensor(x.numel(), dtype=torch.int64, device="cpu")


@operator("Cast")
def cast(x: Tensor, *, to: int, round_mode: str = "up") -> Tensor:
    """Another type."""
    return x.to(torch_dtype(to, "Cast"))


@operator("BitCast")
def bit_cast(x: Tensor, *, to: int) -> Tensor:
    """The same bits, read as another type of the same size."""
    dtype = torch_dtype(to, "BitCast")
    if dtype.itemsize != x.element_size():
        raise UnsupportedOperator(f"BitCast from {str(x.dtype)[6:]} to {str(dtype)[6:]}")
    return x.view(dtype)


@operator("CastLike")
def cast_like(x: Tensor, other: Tensor, *, round_mode: str = "up") -> Tensor:
    """The type of another tensor."""
    return x.to(other.dtype)


@operator("DepthToSpace")
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Channels, arranged as blocks of positions."""
    if mode == "CRD":
        return F.pixel_shuffle(x, blocksize)
    n, channels, height, width = x.shape
    blocks = x.reshape(n, blocksize, blocksize, channels // blocksize**2, height, width)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, height * blocksize, width * blocksize)


@operator("SpaceToDepth")
def space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Blocks of positions, arranged as channels."""
    if mode == "CRD":
        return F.pixel_unshuffle(x, blocksize)
    n, channels, height, width = x.shape
    blocks = x.reshape(n, channels, height // blocksize, blocksize, width // blocksize, blocksize)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, height // blocksize, width // blocksize)


@operator("Pad", numbers="widths fill along")
def pad(
    x: Tensor,
    widths: Any = None,
    fill: Any = None,
    along: Any = None,
    *,
    mode: str = "constant",
    pads: Sequence[int] | None = None,
    value: float = 0.0,
) -> Tensor:
    """Elements added before and after each axis (or removed, for negative widths)."""
    amounts = list(pads or ()) if widths is None else integers(widths)
    axes = list(range(x.ndim)) if along is None else [axis % x.ndim for axis in integers(along)]
    before, after = [0] * x.ndim, [0] * x.ndim
    for axis, first, last in zip(axes, amounts[: len(axes)], amounts[len(axes) :], strict=True):
        before[axis], after[axis] = first, last
    check_elements([n + before[i] + after[i] for i, n in enumerate(x.shape)], "Pad")
    if mode == "constant":
        pairs = zip(reversed(before), reversed(after), strict=True)
        return F.pad(x, [width for pair in pairs for width in pair], value=value if fill is None else number(fill))
    return _pad_with_content(x, before, after, mode)


def _pad_with_content(x: Tensor, before: list[int], after: list[int], mode: str) -> Tensor:
    """Padding with the elements at the edge, with a reflection, or with the other side."""
    spatial = range(2, x.ndim)
    reflects = all(max(before[i], after[i]) < x.shape[i] for i in spatial)
    ordinary = 3 <= x.ndim <= 5 and not any((*before[:2], *after[:2])) and min((*before, *after)) >= 0
    if ordinary and (mode == "edge" or (mode == "reflect" and reflects)):
        pairs = zip(reversed(before[2:]), reversed(after[2:]), strict=True)
        widths = [width for pair in pairs for width in pair]
        return F.pad(x, widths, mode="replicate" if mode == "edge" else "reflect")
    for axis, extent in enumerate(x.shape):
        if before[axis] or after[axis]:
            positions = torch.arange(-before[axis], extent + after[axis], device=x.device)
            x = x.index_select(axis, _source_positions(positions, extent, mode))
    return x


def _source_positions(positions: Tensor, extent: int, mode: str) -> Tensor:
    """The position inside an axis that each position beyond its ends repeats."""
    if mode == "edge":
        return positions.clamp(0, extent - 1)
    if mode == "wrap":
        return positions % extent
    period = max(2 * (extent - 1), 1)
    folded = positions % period
    return torch.where(folded < extent, folded, period - folded)
