"""How each operation is run on windows. Operations without a rule in `RULES` are run on whole maps.

A rule gets the `IncrementalRun`, the function that torch calls below autograd, and that function's own arguments.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.engine.incremental.lazy_tensor import (
    ChannelSlice,
    IncrementalRun,
    NotOnWindows,
    PatchedTensor,
    PatchRule,
    UnusedIndices,
    patched_in,
)
from convscope.engine.incremental.regions import (
    Extent,
    SlidingWindow,
    WindowPositions,
    bounding_windows,
    crop_patched,
    window_sums,
)
from convscope.values.facts import Fact

aten = torch.ops.aten
RULES: dict[Any, PatchRule] = {}


def rule_for(func: Any) -> PatchRule | None:
    """The rule that runs ``func`` on windows, if there is one."""
    return RULES.get(func) or (_pointwise if torch.Tag.pointwise in func.tags else None)


def _rule(*functions: Any) -> Callable[[PatchRule], PatchRule]:
    def register(rule: PatchRule) -> PatchRule:
        RULES.update(dict.fromkeys(functions, rule))
        return rule

    return register


# Operations that read a neighbourhood


@_rule(aten.convolution.default)
def _convolution(
    run: IncrementalRun,
    func: Any,
    x: Any,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> PatchedTensor:
    if transposed or len(patched_in((x, weight, bias))) != 1 or not isinstance(x, PatchedTensor):
        raise _not_on_windows(Fact("a transposed convolution, or one whose kernel changes,"))
    sliding = _sliding_window(x, weight.shape[2:], stride, padding, dilation)
    extent = tuple(
        (n + 2 * p - w) // s + 1
        for n, p, w, s in zip(x.positions.extent, sliding.padding, sliding.span, sliding.stride, strict=True)
    )
    positions = x.positions.affected_outputs(sliding, extent)
    run.require_small(positions)
    rest = (transposed, output_padding, groups)
    base = run.clean(lambda: func(x.base, weight, bias, stride, padding, dilation, *rest))
    inputs = x.crop(positions.required_inputs(sliding))
    run.note_size(inputs)
    patches = run.call(func, inputs, weight, bias, stride, [0] * len(extent), dilation, *rest)
    return PatchedTensor.from_patches(run, base, patches, positions)


@_rule(aten.max_pool2d_with_indices.default, aten.max_pool3d_with_indices.default)
def _max_pool(
    run: IncrementalRun,
    func: Any,
    x: PatchedTensor,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil: bool = False,
) -> tuple[PatchedTensor, UnusedIndices]:
    base = run.clean(lambda: func(x.base, kernel, stride, padding, dilation, ceil)[0])
    positions, sliding = _pooled_positions(run, x, base, kernel, stride, padding, dilation)
    patches = func(x.crop(positions.required_inputs(sliding), -math.inf), kernel, stride, 0, dilation)[0]
    output = PatchedTensor.from_patches(run, base, patches, positions)
    return output, UnusedIndices(tuple(output.shape))


@_rule(aten.avg_pool2d.default, aten.avg_pool3d.default)
def _avg_pool(
    run: IncrementalRun,
    func: Any,
    x: PatchedTensor,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> PatchedTensor:
    rest = (ceil, count_include_pad, divisor_override)
    base, factors = run.clean(
        lambda: (
            func(x.base, kernel, stride, padding, *rest),
            _mean_factors(func, x.base, kernel, stride, padding, *rest),
        )
    )
    positions, sliding = _pooled_positions(run, x, base, kernel, stride, padding, 1)
    patches = func(x.crop(positions.required_inputs(sliding)), kernel, stride, 0, divisor_override=1)
    if factors is not None:
        patches = patches * crop_patched(factors, None, None, positions)
    else:
        patches = patches / (divisor_override or math.prod(sliding.kernel))
    return PatchedTensor.from_patches(run, base, patches, positions)


@_rule(aten._adaptive_avg_pool2d.default, aten._adaptive_avg_pool3d.default)
def _adaptive_avg_pool(run: IncrementalRun, _func: Any, x: PatchedTensor, extent: Sequence[int]) -> PatchedTensor:
    if any(n % m for n, m in zip(x.positions.extent, extent, strict=True)):
        raise _not_on_windows(Fact("adaptive pooling to a size that does not divide the map's"))
    kernel = [n // m for n, m in zip(x.positions.extent, extent, strict=True)]
    pool = aten.avg_pool2d.default if len(extent) == 2 else aten.avg_pool3d.default
    output: PatchedTensor = _avg_pool(run, pool, x, kernel, kernel)
    return output


def _pooled_positions(
    run: IncrementalRun, x: PatchedTensor, base: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> tuple[WindowPositions, SlidingWindow]:
    """The outputs of a pooling that the windows may change."""
    if x.ndim != base.ndim or x.ndim != 2 + len(x.positions.extent):
        raise _not_on_windows(Fact("pooling without a batch axis"))
    kernel = _per_axis(kernel, len(x.positions.extent))
    sliding = _sliding_window(x, kernel, stride or kernel, padding, dilation)
    positions = x.positions.affected_outputs(sliding, tuple(base.shape[2:]))
    run.require_small(positions)
    return positions, sliding


def _mean_factors(func: Any, base: Tensor, kernel: Any, stride: Any, padding: Any, *rest: Any) -> Tensor | None:
    """The factor by which each output of an average pooling multiplies the sum, where padding makes it vary."""
    ceil, _, divisor = rest
    if divisor is not None or not (ceil or any(_per_axis(padding, base.ndim - 2))):
        return None
    ones = torch.ones_like(base[:, :1])
    means: Tensor = func(ones, kernel, stride, padding, *rest)
    sums: Tensor = func(ones, kernel, stride, padding, ceil, divisor_override=1)
    return means / sums


def _sliding_window(x: PatchedTensor, kernel: Any, stride: Any, padding: Any, dilation: Any) -> SlidingWindow:
    axes = len(x.positions.extent)
    return SlidingWindow(*(_per_axis(setting, axes) for setting in (kernel, stride, padding, dilation)))


def _per_axis(setting: Any, axes: int) -> Extent:
    values = tuple(int(n) for n in setting) if isinstance(setting, Sequence) else (int(setting),)
    return values * axes if len(values) == 1 else values


# Operations on single positions


def _pointwise(run: IncrementalRun, func: Any, *args: Any, **kwargs: Any) -> PatchedTensor:
    """Any elementwise function of one map or of several of the same extent."""
    patched = patched_in((*args, *kwargs.values()))
    first, batch = patched[0], patched[0].shape[0]
    if any(t.positions.extent != first.positions.extent for t in patched):
        raise _not_on_windows(Fact("{operation} of maps of different extent", operation=func.__name__))
    writes = func._schema.is_mutable
    if writes and (args[0] is not first or first.shared or "out" in kwargs):
        raise NotOnWindows(Fact("{operation} writes to another tensor", operation=func.__name__))
    positions = bounding_windows([t.positions for t in patched])

    def clean(argument: Any) -> Any:
        return argument.base if isinstance(argument, PatchedTensor) else argument

    def cropped(argument: Any) -> Any:
        if isinstance(argument, PatchedTensor):
            return argument.crop(positions)
        return _cropped_constant(argument, positions, batch, first.ndim) if isinstance(argument, Tensor) else argument

    bases, named_bases = [clean(a) for a in args], {name: clean(a) for name, a in kwargs.items()}
    patches = func(*[cropped(a) for a in args], **{name: cropped(a) for name, a in kwargs.items()})
    if writes:
        first.base = run.clean(lambda: func(bases[0].clone(), *bases[1:], **named_bases))
        first.patches, first.positions = patches, positions
        return first
    return PatchedTensor.from_patches(run, run.clean(lambda: func(*bases, **named_bases)), patches, positions)


def _cropped_constant(tensor: Tensor, positions: WindowPositions, batch: int, ndim: int) -> Tensor:
    """The windows of a tensor that is the same for the whole batch."""
    if tensor.ndim > ndim or (tensor.ndim == ndim and len(tensor) == batch):
        raise NotOnWindows(Fact("it is combined with a tensor that changes everywhere"))
    axes = len(positions.extent)
    if all(n == 1 for n in tensor.shape[-axes:]):
        return tensor
    maps = tensor.reshape(*[1] * (ndim - tensor.ndim), *tensor.shape)
    return crop_patched(maps.expand(*maps.shape[:2], *positions.extent), None, None, positions)


_POINTWISE = "hardswish hardswish_ mish_ threshold_ masked_fill_.Scalar masked_fill_.Tensor _prelu_kernel rsub.Tensor"
for _name in _POINTWISE.split():  # pointwise, though torch does not tag them as such
    _base_name, _, _overload = _name.partition(".")
    RULES[getattr(getattr(aten, _base_name), _overload or "default")] = _pointwise


@_rule(aten.native_batch_norm.default)
def _batch_norm(run: IncrementalRun, func: Any, x: PatchedTensor, *rest: Any) -> tuple[PatchedTensor, Tensor, Tensor]:
    _require_constant(func, rest)
    if rest[4]:
        raise _not_on_windows(Fact("a batch norm that takes its statistics from the batch"))
    base = run.clean(lambda: func(x.base, *rest)[0])
    patches, mean, scale = func(x.patches, *rest)
    return PatchedTensor.from_patches(run, base, patches, x.positions), mean, scale


@_rule(aten._softmax.default, aten._log_softmax.default)
def _softmax(run: IncrementalRun, func: Any, x: PatchedTensor, dim: int, half: bool) -> PatchedTensor:
    if dim % x.ndim != 1:
        raise _not_on_windows(Fact("a softmax over positions"))
    base = run.clean(lambda: func(x.base, dim, half))
    return PatchedTensor.from_patches(run, base, func(x.patches, dim, half), x.positions)


@_rule(aten.clone.default, aten._to_copy.default)
def _copy(
    run: IncrementalRun, func: Any, x: PatchedTensor, *, memory_format: Any = None, **kwargs: Any
) -> PatchedTensor:
    contiguous = memory_format is torch.contiguous_format
    base = run.clean(lambda: func(x.base, **kwargs))
    return PatchedTensor.from_patches(run, base, func(x.patches, **kwargs), x.positions, contiguous=contiguous)


@_rule(aten.copy_.default)
def _copy_into(run: IncrementalRun, func: Any, x: Any, source: Any, non_blocking: bool = False) -> PatchedTensor:
    if not isinstance(x, PatchedTensor) or not isinstance(source, PatchedTensor) or x.shared or x.dtype != source.dtype:
        raise _not_on_windows(Fact("a copy into another tensor"))
    x.base, x.patches, x.positions = source.base, source.patches.clone(), source.positions
    return x


# Operations on channels and axes


@_rule(aten.cat.default)
def _cat(run: IncrementalRun, func: Any, maps: Sequence[Any], dim: int = 0) -> PatchedTensor:
    if dim % maps[0].ndim != 1 or not all(isinstance(m, PatchedTensor) for m in maps):
        raise NotOnWindows(Fact("only windows can be concatenated, along channels"))
    positions = bounding_windows([m.positions for m in maps])
    base = run.clean(lambda: func([m.base for m in maps], dim))
    return PatchedTensor.from_patches(run, base, func([m.crop(positions) for m in maps], dim), positions)


@_rule(aten.split.Tensor, aten.split_with_sizes.default)
def _split(run: IncrementalRun, func: Any, x: PatchedTensor, sizes: Any, dim: int = 0) -> list[PatchedTensor]:
    _require_channels(func, x, dim)
    base = run.clean(lambda: tuple(func(x.base, sizes, dim)))
    return [_view(x, b, p) for b, p in zip(base, func(x.patches, sizes, dim), strict=True)]


@_rule(aten.slice.Tensor)
def _slice(run: IncrementalRun, func: Any, x: PatchedTensor, dim: int = 0, *rest: Any) -> PatchedTensor:
    _require_channels(func, x, dim)
    return _view(x, run.clean(lambda: func(x.base, dim, *rest)), func(x.patches, dim, *rest))


@_rule(aten.select.int)
def _select(run: IncrementalRun, func: Any, x: PatchedTensor, dim: int, index: int) -> ChannelSlice:
    _require_channels(func, x, dim)
    channel = (1, index % x.shape[1], index % x.shape[1] + 1)
    base = run.clean(lambda: aten.slice.Tensor(x.base, *channel))
    return ChannelSlice(_view(x, base, aten.slice.Tensor(x.patches, *channel)))


@_rule(aten.detach.default, aten.alias.default)
def _alias(run: IncrementalRun, func: Any, x: PatchedTensor) -> PatchedTensor:
    return _view(x, run.clean(lambda: func(x.base)), func(x.patches))


@_rule(aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.dims)
def _squeeze(run: IncrementalRun, func: Any, x: PatchedTensor, dim: Any) -> PatchedTensor:
    """Adding or removing an axis of length one: torch runs one-dimensional pooling in two dimensions."""
    if not isinstance(dim, int):
        raise _not_on_windows(Fact("squeezing several axes at once"))
    adds = func is aten.unsqueeze.default
    axis = dim % (x.ndim + adds) - 2
    if axis < 0 or (not adds and x.shape[dim] != 1) or (not adds and x.ndim == 3):
        raise _not_on_windows(Fact("{operation} of batch or channels", operation=func.__name__))
    output = _view(x, run.clean(lambda: func(x.base, dim)), func(x.patches, dim))
    output.positions = x.positions.with_axis(axis) if adds else x.positions.without_axis(axis)
    return output


@_rule(aten.constant_pad_nd.default)
def _pad(run: IncrementalRun, func: Any, x: PatchedTensor, pad: Sequence[int], value: float = 0.0) -> PatchedTensor:
    before = [*reversed([int(n) for n in pad[::2]])]
    if min(pad) < 0 or len(before) > len(x.positions.extent):
        raise NotOnWindows(Fact("padding of channels and cropping by padding are not supported on windows"))
    base = run.clean(lambda: func(x.base, pad, value))
    before = [0] * (len(x.positions.extent) - len(before)) + before
    positions = x.positions.shifted(before, tuple(base.shape[2:]))
    return PatchedTensor.from_patches(run, base, x.patches.clone(), positions)


@_rule(aten.upsample_nearest1d.default, aten.upsample_nearest2d.default, aten.upsample_nearest3d.default)
def _upsample(run: IncrementalRun, func: Any, x: PatchedTensor, extent: Sequence[int], *_: Any) -> PatchedTensor:
    """Each position becomes a block of equal values."""
    factors = [m // n for n, m in zip(x.positions.extent, extent, strict=True)]
    if any(n * factor != m for n, factor, m in zip(x.positions.extent, factors, extent, strict=True)):
        raise _not_on_windows(Fact("upsampling by a fraction"))
    base = run.clean(lambda: func(x.base, extent))
    size = [n * factor for n, factor in zip(x.positions.size, factors, strict=True)]
    positions = WindowPositions(x.positions.starts * np.array(factors), tuple(size), tuple(base.shape[2:]))
    return PatchedTensor.from_patches(run, base, func(x.patches, size), positions)


# Operations on all positions at once


@_rule(aten.mean.dim, aten.sum.dim_IntList)
def _mean(
    run: IncrementalRun, func: Any, x: PatchedTensor, dims: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The clean map's mean or sum, plus the change that the windows make."""
    if dtype is not None or not dims or sorted(d % x.ndim for d in dims) != list(range(2, x.ndim)):
        raise _not_on_windows(Fact("{operation} over other axes than the map's", operation=func.__name__))
    base: Tensor = run.clean(lambda: func(x.base, dims, keepdim))
    change = x.patches.sum(dims, keepdim)
    change = change - window_sums(x.base, x.positions).view_as(change)
    return base + (change / math.prod(x.positions.extent) if func is aten.mean.dim else change)


def _view(x: PatchedTensor, base: Tensor, patches: Tensor) -> PatchedTensor:
    output = PatchedTensor.from_patches(x.run, base, patches, x.positions)
    output.shared = x.shared = True
    return output


def _require_channels(func: Any, x: PatchedTensor, dim: int) -> None:
    if dim % x.ndim != 1:
        raise _not_on_windows(Fact("{operation} of positions", operation=func.__name__))


def _require_constant(func: Any, parameters: Any) -> None:
    if patched_in(parameters):
        raise _not_on_windows(Fact("{operation} whose parameters change", operation=func.__name__))


def _not_on_windows(operation: Fact) -> NotOnWindows:
    """The refusal of an operation that has no rule in this case."""
    return NotOnWindows(Fact("{operation} is not supported on windows", operation=operation))
