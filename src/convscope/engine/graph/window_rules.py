"""Rules for operations that read windows: convolutions, pooling, unfold and fold, upsampling."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from convscope.engine.graph import dependence, position_tensors
from convscope.engine.graph.aten_operations import base_name
from convscope.engine.graph.axes import numbered_along, patterns_through
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.interval_map import IntervalMap, ReadIntervals, adaptive, sliding, transposed
from convscope.engine.graph.observed_call import DependenceRule, ObservedCall
from convscope.engine.graph.position_numbering import renumbered, without_pattern
from convscope.engine.graph.upsampling import upsampling


def _convolution(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    tensor, weight, _, stride, padding, dilation, is_transposed, _, groups = call.args
    axes = call.dependence_of(tensor)
    if axes is None or call.dependence_of(weight) is not None:
        return None
    make_map = transposed if is_transposed else sliding
    kernel = weight.shape[2:]
    settings = [
        tuple(values) * len(kernel) if len(values) == 1 else tuple(values) for values in (stride, padding, dilation)
    ]
    interval_maps = {2 + a: make_map(k, s, p, d) for a, (k, s, p, d) in enumerate(zip(kernel, *settings, strict=True))}
    output = call.outputs[0]
    numbered = tuple(_without_channel_positions(axis, interval_maps, groups) for axis in axes)
    mixed = tuple(dependence.mixed_in_groups(axis, groups, output.shape[1]) for axis in numbered)
    return [_through_windows(mixed, interval_maps, tensor, output)]


def _unfold(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """``unfold``: the windows of a map (N, C, H, W), each with all its values as one column (N, C·k·k, L)."""
    tensor, kernel, dilation, padding, stride = call.args
    axes, shape = call.dependence_of(tensor), tuple(tensor.shape)
    if axes is None or tensor.ndim != 4:
        return None
    is_padding = call.func(torch.ones(1, *shape[1:], dtype=torch.float64, device="cpu"), *call.args[1:]) == 0
    interval_maps = {2 + a: sliding(kernel[a], stride[a], padding[a], dilation[a]) for a in range(2)}
    counts = [(shape[2 + a] + 2 * padding[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in range(2)]
    window_numbers = torch.arange(counts[0] * counts[1], dtype=torch.float64, device="cpu").view(1, 1, -1)
    results = []
    sources = patterns_through(axes, interval_maps, tensor, (*shape[:2], *counts))
    for axis, source in zip(axes, sources, strict=True):
        low, high = (call.func(part.expand(shape), *call.args[1:]) for part in (axis.low, axis.high))
        low, high = low.masked_fill(is_padding, dependence.EMPTY), high.masked_fill(is_padding, -dependence.EMPTY)
        dim = 2 if axis.lies_along(2) else 3 if axis.lies_along(3) else None
        if dim is None:
            position = axis.position[..., 0]
        else:
            position = window_numbers // counts[1] if dim == 2 else window_numbers % counts[1]
        low, high, position = (position_tensors.compact(part) for part in (low, high, position))
        results.append(replace(source, low=low, high=high, position=position))
    return [tuple(results)]


def _fold(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """``fold``: columns (N, C·k·k, L) are summed into a map (N, C, H, W), each value where its window lies."""
    tensor, _, kernel, dilation, padding, stride = call.args
    axes, output = call.dependence_of(tensor), call.outputs[0]
    if axes is None or tensor.ndim != 3:
        return None
    size = [output.shape[2 + a] + 2 * padding[a] for a in range(2)]
    counts = [(size[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in range(2)]
    inner = tuple(slice(padding[a], padding[a] + output.shape[2 + a]) for a in range(2))

    def fold(part: Tensor, combine: Callable[[Tensor, Tensor], Tensor], empty: float) -> Tensor:
        columns = part.expand(-1, *tensor.shape[1:]).reshape(len(part), -1, *kernel, *counts)
        padded = part.new_full((len(part), columns.shape[1], *size), empty)
        for cell in itertools.product(range(kernel[0]), range(kernel[1])):
            first = [cell[a] * dilation[a] for a in range(2)]
            target = tuple(slice(first[a], first[a] + stride[a] * counts[a], stride[a]) for a in range(2))
            padded[:, :, *target] = combine(padded[:, :, *target], columns[:, :, *cell])
        return position_tensors.compact(padded[:, :, *inner])

    results = []
    for a, axis in enumerate(axes):
        low = fold(axis.low, torch.minimum, dependence.EMPTY)
        high = fold(axis.high, torch.maximum, -dependence.EMPTY)
        folded = replace(axis.map(lambda part: part.unsqueeze(-1)), low=low, high=high)
        results.append(numbered_along(folded, 2 + a, output) if a < len(axes) - 1 and len(axes) == 3 else folded)
    return [tuple(results)]


def _without_channel_positions(axis: Dependence, dims: Iterable[int], groups: int) -> Dependence:
    """The axis once a convolution has mixed channels that held different positions (as after ``pixel_unshuffle``)."""
    if axis.position.shape[1] == 1 or (groups > 1 and position_tensors.holds_permuted_copies(axis.position)):
        return axis
    for dim in dims:
        axis = renumbered(axis, dim)
    if axis.position.shape[1] == 1:
        return axis
    return replace(without_pattern(axis), position=position_tensors.reduced_position(axis.position, [1]))


def _packed_convolution(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """A convolution with packed int8 weights: its settings are read from the packed object."""
    tensor, packed = call.args[:2]
    axes = tensor.ndim - 2  # that of a signal is packed as one of images with height one
    settings = [list(getattr(packed, name)())[-axes:] for name in ("stride", "padding", "dilation", "output_padding")]
    stride, padding, dilation, output_padding = settings
    weight = packed.unpack()[0].dequantize()
    weight = weight.reshape(*weight.shape[:2], *weight.shape[-axes:])
    arguments = (
        tensor, weight, None, stride, padding, dilation, packed.transpose(), output_padding, packed.groups()
    )  # fmt: skip
    return _convolution(replace(call, args=arguments))


def _packed_linear(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """A linear layer with packed int8 weights: each value depends on the whole last dimension of the input."""
    axes = call.dependence_of(call.args[0])
    return None if axes is None else [tuple(dependence.reduced(axis, [call.args[0].ndim - 1]) for axis in axes)]


def _pooling(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Pooling with windows: kernel, stride, padding and, of max pooling, dilation."""
    tensor: Tensor = call.args[0]
    axes = call.dependence_of(tensor)
    if axes is None:
        return None
    name = base_name(call.func)
    kernel = call.args[1]
    count = 1 if "1d" in name else 3 if "3d" in name else 2
    strides = _per_axis(call.argument(2) or kernel, count)
    paddings = _per_axis(call.argument(3) or [0], count)
    dilations = _per_axis((call.argument(4) if "max" in name else None) or [1], count)
    first = tensor.ndim - count
    windows = enumerate(zip(_per_axis(kernel, count), strides, paddings, dilations, strict=True))
    interval_maps = {first + a: sliding(*window) for a, window in windows}
    return [_through_windows(axes, interval_maps, tensor, output) for output in call.outputs]


def _per_axis(sizes: Sequence[int], count: int) -> tuple[int, ...]:
    """One size for each axis, from one for all or one for each."""
    return tuple(sizes) * count if len(sizes) == 1 else tuple(sizes)


def _adaptive_pooling(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    tensor, output = call.args[0], call.outputs[0]
    axes = call.dependence_of(tensor)
    if axes is None:
        return None
    count = len(call.args[1])
    dims = range(tensor.ndim - count, tensor.ndim)
    to_one = [d for d in dims if output.shape[d] == 1 and tensor.shape[d] > 1]
    interval_maps = {d: adaptive(tensor.shape[d], output.shape[d]) for d in dims if d not in to_one}
    reduced = tuple(dependence.reduced(axis, to_one) for axis in axes)
    return [_through_windows(reduced, interval_maps, tensor, result) for result in call.outputs]


def _upsampling(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    tensor, output = call.args[0], call.outputs[0]
    axes = call.dependence_of(tensor)
    if axes is None:
        return None
    upsample = upsampling(call.func, call.args, call.kwargs, output)
    interval_maps = {2 + axis: upsample.interval_map(axis) for axis in range(upsample.axes)}
    reads = {2 + axis: upsample.listed_intervals(axis, tensor) for axis in range(upsample.axes)}
    return [_through_windows(axes, interval_maps, tensor, output, reads)]


def _through_windows(
    axes: tuple[Dependence, ...],
    interval_maps: Mapping[int, IntervalMap],
    tensor: Tensor,
    output: Tensor,
    reads: Mapping[int, ReadIntervals] | None = None,
) -> tuple[Dependence, ...]:
    """Every axis after reading windows along each dimension.

    Args:
        interval_maps: by dimension, which positions are read.
        reads: the exact intervals, where ``interval_maps`` only approximate them.
    """
    results = list(patterns_through(axes, interval_maps, tensor, output.shape))
    for dim, intervals in (reads or interval_maps).items():
        size, count = tensor.shape[dim], output.shape[dim]
        results = [dependence.through_windows(axis, intervals, dim, size, count) for axis in results]
    return tuple(results)


RULES: dict[str, DependenceRule] = {
    "convolution": _convolution,
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d"), _pooling),
    **dict.fromkeys((f"{a}adaptive_avg_pool{n}d" for a in ("", "_") for n in (2, 3)), _adaptive_pooling),
    **dict.fromkeys((f"adaptive_max_pool{n}d" for n in (2, 3)), _adaptive_pooling),
    "im2col": _unfold,
    "col2im": _fold,
}

BY_KIND: dict[str, DependenceRule] = {
    "enlargement": _upsampling,
    "int8 convolution": _packed_convolution,
    "int8 linear": _packed_linear,
}
