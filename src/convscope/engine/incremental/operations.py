"""What each operation does to windows. Those not in `KNOWN` are done on whole maps.

An operation gets the `Run`, the function as torch calls it below autograd, and that function's own arguments.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.engine.incremental.lazy_tensor import Changed, OneChannel, Operation, Run, Unfit, Unread, changed_in
from convscope.engine.incremental.regions import Extent, Places, Reach, box_sums, cut_out, enclosing

aten = torch.ops.aten
KNOWN: dict[Any, Operation] = {}


def operation_on_windows(func: Any) -> Operation | None:
    """How ``func`` is done on windows, if it is known."""
    return KNOWN.get(func) or (_pointwise if torch.Tag.pointwise in func.tags else None)


def _known(*functions: Any) -> Callable[[Operation], Operation]:
    def declare(operation: Operation) -> Operation:
        KNOWN.update(dict.fromkeys(functions, operation))
        return operation

    return declare


# Operations that look at a neighbourhood


@_known(aten.convolution.default)
def _convolution(
    run: Run,
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
) -> Changed:
    if transposed or len(changed_in((x, weight, bias))) != 1 or not isinstance(x, Changed):
        raise Unfit("a transposed convolution, or one whose kernel changes, is not done on windows")
    reach = _reach(x, weight.shape[2:], stride, padding, dilation)
    extent = tuple(
        (n + 2 * p - w) // s + 1
        for n, p, w, s in zip(x.places.extent, reach.padding, reach.span, reach.stride, strict=True)
    )
    places = x.places.after(reach, extent)
    run.require_worth(places)
    rest = (transposed, output_padding, groups)
    base = run.clean(lambda: func(x.base, weight, bias, stride, padding, dilation, *rest))
    seen = x.seen_in(places.seen_by(reach))
    run.meet(seen)
    return Changed.in_windows(
        run, base, run.call(func, seen, weight, bias, stride, [0] * len(extent), dilation, *rest), places
    )


@_known(aten.max_pool2d_with_indices.default, aten.max_pool3d_with_indices.default)
def _max_pool(
    run: Run,
    func: Any,
    x: Changed,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil: bool = False,
) -> tuple[Changed, Unread]:
    base = run.clean(lambda: func(x.base, kernel, stride, padding, dilation, ceil)[0])
    places, reach = _pooled(run, x, base, kernel, stride, padding, dilation)
    out = func(x.seen_in(places.seen_by(reach), -math.inf), kernel, stride, 0, dilation)[0]
    made = Changed.in_windows(run, base, out, places)
    return made, Unread(tuple(made.shape))


@_known(aten.avg_pool2d.default, aten.avg_pool3d.default)
def _avg_pool(
    run: Run,
    func: Any,
    x: Changed,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Changed:
    rest = (ceil, count_include_pad, divisor_override)
    base, shares = run.clean(
        lambda: (func(x.base, kernel, stride, padding, *rest), _shares(func, x.base, kernel, stride, padding, *rest))
    )
    places, reach = _pooled(run, x, base, kernel, stride, padding, 1)
    out = func(x.seen_in(places.seen_by(reach)), kernel, stride, 0, divisor_override=1)
    if shares is not None:
        out = out * cut_out(shares, None, None, places)
    else:
        out = out / (divisor_override or math.prod(reach.kernel))
    return Changed.in_windows(run, base, out, places)


@_known(aten._adaptive_avg_pool2d.default, aten._adaptive_avg_pool3d.default)
def _adaptive_avg_pool(run: Run, _func: Any, x: Changed, extent: Sequence[int]) -> Changed:
    if any(n % m for n, m in zip(x.places.extent, extent, strict=True)):
        raise Unfit("adaptive pooling to a size that does not divide the map's is not done on windows")
    kernel = [n // m for n, m in zip(x.places.extent, extent, strict=True)]
    pool = aten.avg_pool2d.default if len(extent) == 2 else aten.avg_pool3d.default
    made: Changed = _avg_pool(run, pool, x, kernel, kernel)
    return made


def _pooled(
    run: Run, x: Changed, base: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> tuple[Places, Reach]:
    """The outputs of a pooling that the windows may change."""
    if x.ndim != base.ndim or x.ndim != 2 + len(x.places.extent):
        raise Unfit("pooling without a batch axis is not done on windows")
    kernel = _each(kernel, len(x.places.extent))
    reach = _reach(x, kernel, stride or kernel, padding, dilation)
    places = x.places.after(reach, tuple(base.shape[2:]))
    run.require_worth(places)
    return places, reach


def _shares(func: Any, base: Tensor, kernel: Any, stride: Any, padding: Any, *rest: Any) -> Tensor | None:
    """By what each output of an average pooling multiplies the sum, where padding makes that differ."""
    ceil, _, divisor = rest
    if divisor is not None or not (ceil or any(_each(padding, base.ndim - 2))):
        return None
    ones = torch.ones_like(base[:, :1])
    shares: Tensor = func(ones, kernel, stride, padding, *rest)
    sums: Tensor = func(ones, kernel, stride, padding, ceil, divisor_override=1)
    return shares / sums


def _reach(x: Changed, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Reach:
    axes = len(x.places.extent)
    return Reach(*(_each(given, axes) for given in (kernel, stride, padding, dilation)))


def _each(given: Any, axes: int) -> Extent:
    several = tuple(int(n) for n in given) if isinstance(given, Sequence) else (int(given),)
    return several * axes if len(several) == 1 else several


# Operations that look at one position


def _pointwise(run: Run, func: Any, *args: Any, **kwargs: Any) -> Changed:
    """Any function of the numbers at one position, of one map or of several that lie over each other."""
    changed = changed_in((*args, *kwargs.values()))
    first, batch = changed[0], changed[0].shape[0]
    if any(t.places.extent != first.places.extent for t in changed):
        raise Unfit(f"{func.__name__} of maps of different extent is not done on windows")
    writes = func._schema.is_mutable
    if writes and (args[0] is not first or first.shared or "out" in kwargs):
        raise Unfit(f"{func.__name__} writes to another tensor")
    places = enclosing([t.places for t in changed])

    def clean(thing: Any) -> Any:
        return thing.base if isinstance(thing, Changed) else thing

    def seen(thing: Any) -> Any:
        if isinstance(thing, Changed):
            return thing.seen_in(places)
        return _constant(thing, places, batch, first.ndim) if isinstance(thing, Tensor) else thing

    bases, named_bases = [clean(a) for a in args], {name: clean(a) for name, a in kwargs.items()}
    patches = func(*[seen(a) for a in args], **{name: seen(a) for name, a in kwargs.items()})
    if writes:
        first.base = run.clean(lambda: func(bases[0].clone(), *bases[1:], **named_bases))
        first.patches, first.places = patches, places
        return first
    return Changed.in_windows(run, run.clean(lambda: func(*bases, **named_bases)), patches, places)


def _constant(tensor: Tensor, places: Places, batch: int, axes: int) -> Tensor:
    """A tensor that is the same for the whole batch, as the windows see it."""
    if tensor.ndim > axes or (tensor.ndim == axes and len(tensor) == batch):
        raise Unfit("it meets a tensor that changes everywhere")
    space = len(places.extent)
    if all(n == 1 for n in tensor.shape[-space:]):
        return tensor
    full = tensor.reshape(*[1] * (axes - tensor.ndim), *tensor.shape)
    return cut_out(full.expand(*full.shape[:2], *places.extent), None, None, places)


_SPELLINGS = "hardswish hardswish_ mish_ threshold_ masked_fill_.Scalar masked_fill_.Tensor _prelu_kernel rsub.Tensor"
for _name in _SPELLINGS.split():  # pointwise, though torch does not label them so
    _packet, _, _overload = _name.partition(".")
    KNOWN[getattr(getattr(aten, _packet), _overload or "default")] = _pointwise


@_known(aten.native_batch_norm.default)
def _batch_norm(run: Run, func: Any, x: Changed, *rest: Any) -> tuple[Changed, Tensor, Tensor]:
    _require_alone(func, rest)
    if rest[4]:
        raise Unfit("a batch norm that takes its statistics from the batch is not done on windows")
    base = run.clean(lambda: func(x.base, *rest)[0])
    out, mean, scale = func(x.patches, *rest)
    return Changed.in_windows(run, base, out, x.places), mean, scale


@_known(aten._softmax.default, aten._log_softmax.default)
def _softmax(run: Run, func: Any, x: Changed, dim: int, half: bool) -> Changed:
    if dim % x.ndim != 1:
        raise Unfit("a softmax over positions is not done on windows")
    return Changed.in_windows(run, run.clean(lambda: func(x.base, dim, half)), func(x.patches, dim, half), x.places)


@_known(aten.clone.default, aten._to_copy.default)
def _copied(run: Run, func: Any, x: Changed, *, memory_format: Any = None, **kwargs: Any) -> Changed:
    plain = memory_format is torch.contiguous_format
    return Changed.in_windows(
        run, run.clean(lambda: func(x.base, **kwargs)), func(x.patches, **kwargs), x.places, plain=plain
    )


@_known(aten.copy_.default)
def _overwritten(run: Run, func: Any, x: Any, source: Any, non_blocking: bool = False) -> Changed:
    if not isinstance(x, Changed) or not isinstance(source, Changed) or x.shared or x.dtype != source.dtype:
        raise Unfit("a copy into another tensor is not done on windows")
    x.base, x.patches, x.places = source.base, source.patches.clone(), source.places
    return x


# Operations on channels and axes


@_known(aten.cat.default)
def _cat(run: Run, func: Any, maps: Sequence[Any], dim: int = 0) -> Changed:
    if dim % maps[0].ndim != 1 or not all(isinstance(m, Changed) for m in maps):
        raise Unfit("only windows are joined, channel to channel")
    places = enclosing([m.places for m in maps])
    base = run.clean(lambda: func([m.base for m in maps], dim))
    return Changed.in_windows(run, base, func([m.seen_in(places) for m in maps], dim), places)


@_known(aten.split.Tensor, aten.split_with_sizes.default)
def _split(run: Run, func: Any, x: Changed, sizes: Any, dim: int = 0) -> list[Changed]:
    _require_channels(func, x, dim)
    base = run.clean(lambda: tuple(func(x.base, sizes, dim)))
    return [_view(x, b, p) for b, p in zip(base, func(x.patches, sizes, dim), strict=True)]


@_known(aten.slice.Tensor)
def _slice(run: Run, func: Any, x: Changed, dim: int = 0, *rest: Any) -> Changed:
    _require_channels(func, x, dim)
    return _view(x, run.clean(lambda: func(x.base, dim, *rest)), func(x.patches, dim, *rest))


@_known(aten.select.int)
def _select(run: Run, func: Any, x: Changed, dim: int, index: int) -> OneChannel:
    _require_channels(func, x, dim)
    one = (1, index % x.shape[1], index % x.shape[1] + 1)
    base = run.clean(lambda: aten.slice.Tensor(x.base, *one))
    return OneChannel(_view(x, base, aten.slice.Tensor(x.patches, *one)))


@_known(aten.detach.default, aten.alias.default)
def _same(run: Run, func: Any, x: Changed) -> Changed:
    return _view(x, run.clean(lambda: func(x.base)), func(x.patches))


@_known(aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.dims)
def _axis(run: Run, func: Any, x: Changed, dim: Any) -> Changed:
    """An axis of length one more or less: one-dimensional pooling is two-dimensional pooling to torch."""
    if not isinstance(dim, int):
        raise Unfit("several axes at once are not squeezed on windows")
    more = func is aten.unsqueeze.default
    place = dim % (x.ndim + more) - 2
    if place < 0 or (not more and x.shape[dim] != 1) or (not more and x.ndim == 3):
        raise Unfit(f"{func.__name__} of batch or channels is not done on windows")
    made = _view(x, run.clean(lambda: func(x.base, dim)), func(x.patches, dim))
    made.places = x.places.with_axis(place) if more else x.places.without_axis(place)
    return made


@_known(aten.constant_pad_nd.default)
def _pad(run: Run, func: Any, x: Changed, pad: Sequence[int], value: float = 0.0) -> Changed:
    before = [*reversed([int(n) for n in pad[::2]])]
    if min(pad) < 0 or len(before) > len(x.places.extent):
        raise Unfit("padding of channels and cropping by padding are not done on windows")
    base = run.clean(lambda: func(x.base, pad, value))
    before = [0] * (len(x.places.extent) - len(before)) + before
    return Changed.in_windows(run, base, x.patches.clone(), x.places.shifted(before, tuple(base.shape[2:])))


@_known(aten.upsample_nearest1d.default, aten.upsample_nearest2d.default, aten.upsample_nearest3d.default)
def _upsample(run: Run, func: Any, x: Changed, extent: Sequence[int], *_: Any) -> Changed:
    """Each position becomes a block of equal ones."""
    times = [m // n for n, m in zip(x.places.extent, extent, strict=True)]
    if any(n * t != m for n, t, m in zip(x.places.extent, times, extent, strict=True)):
        raise Unfit("upsampling by a fraction is not done on windows")
    base = run.clean(lambda: func(x.base, extent))
    size = [n * t for n, t in zip(x.places.size, times, strict=True)]
    places = Places(x.places.starts * np.array(times), tuple(size), tuple(base.shape[2:]))
    return Changed.in_windows(run, base, func(x.patches, size), places)


# Operations on all positions at once


@_known(aten.mean.dim, aten.sum.dim_IntList)
def _mean(run: Run, func: Any, x: Changed, dims: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The clean map's mean, and what the windows add to it."""
    if dtype is not None or not dims or sorted(d % x.ndim for d in dims) != list(range(2, x.ndim)):
        raise Unfit(f"{func.__name__} over other axes than the map's is not done on windows")
    base: Tensor = run.clean(lambda: func(x.base, dims, keepdim))
    change = x.patches.sum(dims, keepdim)
    change = change - box_sums(x.base, x.places).view_as(change)
    return base + (change / math.prod(x.places.extent) if func is aten.mean.dim else change)


def _view(x: Changed, base: Tensor, patches: Tensor) -> Changed:
    made = Changed.in_windows(x.run, base, patches, x.places)
    made.shared = x.shared = True
    return made


def _require_channels(func: Any, x: Changed, dim: int) -> None:
    if dim % x.ndim != 1:
        raise Unfit(f"{func.__name__} of positions is not done on windows")


def _require_alone(func: Any, rest: Any) -> None:
    if changed_in(rest):
        raise Unfit(f"{func.__name__} whose parameters change is not done on windows")
