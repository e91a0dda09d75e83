"""Operations that read windows: convolutions, pooling, unfold and fold, enlarging."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from convscope.engine.graph import dependence as places
from convscope.engine.graph.axes import lines_through, placed
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.enlarging import enlargement
from convscope.engine.graph.interval_map import Reach, Reads, adaptive, sliding, transposed
from convscope.engine.graph.kinds import packet
from convscope.engine.graph.lines import recounted, without_line
from convscope.engine.graph.observed_call import Done, Rule


def _convolved(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    tensor, weight, _, stride, padding, dilation, is_transposed, _, groups = done.args
    seen = done.look(tensor)
    if seen is None or done.look(weight) is not None:
        return None
    make = transposed if is_transposed else sliding
    kernel = weight.shape[2:]
    each = [
        tuple(values) * len(kernel) if len(values) == 1 else tuple(values) for values in (stride, padding, dilation)
    ]
    reach = {2 + a: make(k, s, p, d) for a, (k, s, p, d) in enumerate(zip(kernel, *each, strict=True))}
    out = done.outs[0]
    counted = tuple(_places_beside_channels(axis, reach, groups) for axis in seen)
    grouped = tuple(places.mixed_in_groups(axis, groups, out.shape[1]) for axis in counted)
    return [_through(grouped, reach, tensor, out)]


def _windows_laid_out(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """``unfold``: the windows of a map (N, C, H, W), each with all its numbers as one column (N, C·k·k, L)."""
    tensor, kernel, dilation, padding, stride = done.args
    seen, shape = done.look(tensor), tuple(tensor.shape)
    if seen is None or tensor.ndim != 4:
        return None
    blank = done.func(torch.ones(1, *shape[1:], dtype=torch.float64, device="cpu"), *done.args[1:]) == 0
    reach = {2 + a: sliding(kernel[a], stride[a], padding[a], dilation[a]) for a in range(2)}
    counts = [(shape[2 + a] + 2 * padding[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in range(2)]
    grid = torch.arange(counts[0] * counts[1], dtype=torch.float64, device="cpu").view(1, 1, -1)
    found = []
    for axis, before in zip(seen, lines_through(seen, reach, tensor, (*shape[:2], *counts)), strict=True):
        low, high = (done.func(end.expand(shape), *done.args[1:]) for end in (axis.low, axis.high))
        low, high = low.masked_fill(blank, places.NOTHING), high.masked_fill(blank, -places.NOTHING)
        dim = 2 if axis.varies(2) else 3 if axis.varies(3) else None
        place = axis.place[..., 0] if dim is None else grid // counts[1] if dim == 2 else grid % counts[1]
        found.append(replace(before, low=places.compact(low), high=places.compact(high), place=places.compact(place)))
    return [tuple(found)]


def _windows_put_back(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """``fold``: columns (N, C·k·k, L) are added up to a map (N, C, H, W), each number of them where it was cut."""
    tensor, _, kernel, dilation, padding, stride = done.args
    seen, out = done.look(tensor), done.outs[0]
    if seen is None or tensor.ndim != 3:
        return None
    size = [out.shape[2 + a] + 2 * padding[a] for a in range(2)]
    counts = [(size[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in range(2)]
    inner = tuple(slice(padding[a], padding[a] + out.shape[2 + a]) for a in range(2))

    def put_back(end: Tensor, join: Callable[[Tensor, Tensor], Tensor], nothing: float) -> Tensor:
        columns = end.expand(-1, *tensor.shape[1:]).reshape(len(end), -1, *kernel, *counts)
        whole = end.new_full((len(end), columns.shape[1], *size), nothing)
        for at in itertools.product(range(kernel[0]), range(kernel[1])):
            first = [at[a] * dilation[a] for a in range(2)]
            cells = tuple(slice(first[a], first[a] + stride[a] * counts[a], stride[a]) for a in range(2))
            whole[:, :, *cells] = join(whole[:, :, *cells], columns[:, :, *at])
        return places.compact(whole[:, :, *inner])

    found = []
    for a, axis in enumerate(seen):
        low = put_back(axis.low, torch.minimum, places.NOTHING)
        high = put_back(axis.high, torch.maximum, -places.NOTHING)
        put = replace(axis.each(lambda end: end.unsqueeze(-1)), low=low, high=high)
        found.append(placed(put, 2 + a, out) if a < len(seen) - 1 and len(seen) == 3 else put)
    return [tuple(found)]


def _places_beside_channels(axis: Dependence, dims: Iterable[int], groups: int) -> Dependence:
    """The same once channels are mixed that lay at places of their own: positions put among the channels."""
    if axis.place.shape[1] == 1 or (groups > 1 and places.holds_moved_copies(axis.place)):
        return axis
    for dim in dims:
        axis = recounted(axis, dim)
    if axis.place.shape[1] == 1:
        return axis
    return replace(without_line(axis), place=places.gathered(axis.place, [1]))


def _convolved_packed(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """A convolution with packed int8 weights: the packed object knows how it is done."""
    tensor, packed = done.args[:2]
    axes = tensor.ndim - 2  # a signal's is packed as one of pictures with a side of one
    settings = [list(getattr(packed, name)())[-axes:] for name in ("stride", "padding", "dilation", "output_padding")]
    stride, padding, dilation, wider = settings
    weight = packed.unpack()[0].dequantize()
    weight = weight.reshape(*weight.shape[:2], *weight.shape[-axes:])
    plain = (tensor, weight, None, stride, padding, dilation, packed.transpose(), wider, packed.groups())
    return _convolved(replace(done, args=plain))


def _multiplied_packed(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """A linear layer with packed int8 weights: each number sees the last axis of what it reads."""
    seen = done.look(done.args[0])
    return None if seen is None else [tuple(places.mixed(axis, [done.args[0].ndim - 1]) for axis in seen)]


def _pooled(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """Pooling with windows: kernel, stride, padding and, of maxima, dilation."""
    tensor: Tensor = done.args[0]
    seen = done.look(tensor)
    if seen is None:
        return None
    kernel = done.args[1]
    count = 1 if "1d" in packet(done.func) else 3 if "3d" in packet(done.func) else 2
    strides = _several(done.arg(2) or kernel, count)
    paddings = _several(done.arg(3) or [0], count)
    dilations = _several((done.arg(4) if "max" in packet(done.func) else None) or [1], count)
    first = tensor.ndim - count
    windows = enumerate(zip(_several(kernel, count), strides, paddings, dilations, strict=True))
    reach = {first + a: sliding(*window) for a, window in windows}
    return [_through(seen, reach, tensor, out) for out in done.outs]


def _several(sizes: Sequence[int], count: int) -> tuple[int, ...]:
    """One size for all axes, or one for each."""
    return tuple(sizes) * count if len(sizes) == 1 else tuple(sizes)


def _pooled_to_size(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    tensor, out = done.args[0], done.outs[0]
    seen = done.look(tensor)
    if seen is None:
        return None
    count = len(done.args[1])
    dims = range(tensor.ndim - count, tensor.ndim)
    to_one = [d for d in dims if out.shape[d] == 1 and tensor.shape[d] > 1]
    reach = {d: adaptive(tensor.shape[d], out.shape[d]) for d in dims if d not in to_one}
    whole = tuple(places.mixed(axis, to_one) for axis in seen)
    return [_through(whole, reach, tensor, made) for made in done.outs]


def _enlarged(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    tensor, out = done.args[0], done.outs[0]
    seen = done.look(tensor)
    if seen is None:
        return None
    how = enlargement(done.func, done.args, done.kwargs, out)
    reach = {2 + axis: how.reach(axis) for axis in range(how.axes)}
    reads = {2 + axis: how.taps(axis, tensor) for axis in range(how.axes)}
    return [_through(seen, reach, tensor, out, reads)]


def _through(
    seen: tuple[Dependence, ...],
    reach: Mapping[int, Reach],
    tensor: Tensor,
    out: Tensor,
    reads: Mapping[int, Reads] | None = None,
) -> tuple[Dependence, ...]:
    """Every axis through the windows along every dimension; ``reads`` says what is read where it is no plain reach."""
    found = list(lines_through(seen, reach, tensor, out.shape))
    for dim, one in (reads or reach).items():
        found = [places.through(axis, one, dim, tensor.shape[dim], out.shape[dim]) for axis in found]
    return tuple(found)


RULES: dict[str, Rule] = {
    "convolution": _convolved,
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d"), _pooled),
    **dict.fromkeys((f"{a}adaptive_avg_pool{n}d" for a in ("", "_") for n in (2, 3)), _pooled_to_size),
    **dict.fromkeys((f"adaptive_max_pool{n}d" for n in (2, 3)), _pooled_to_size),
    "im2col": _windows_laid_out,
    "col2im": _windows_put_back,
}

BY_KIND: dict[str, Rule] = {
    "enlargement": _enlarged,
    "int8 convolution": _convolved_packed,
    "int8 linear": _multiplied_packed,
}
