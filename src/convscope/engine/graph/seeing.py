"""How each operation changes what is seen: from the tensors it reads to those it makes.

An operation that is not known here may mix all it reads: its output then sees everything its inputs see, which is an
upper bound, and it is named among the notes.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from convscope.engine.graph import seen as places
from convscope.engine.graph.enlarging import enlargement
from convscope.engine.graph.flops import settled
from convscope.engine.graph.kinds import COPIES, MOVES, kind, packet, pointwise
from convscope.engine.graph.lines import recounted, without_line
from convscope.engine.graph.reach import Reach, Reads, adaptive, moved, nearest, sliding, transposed
from convscope.engine.graph.resampled import moves_nothing, read_at
from convscope.engine.graph.seen import Seen

Look = Callable[[Any], tuple[Seen, ...] | None]
"""What a tensor sees, axis by axis of the input; None for constants and what is no tensor."""


@dataclass(frozen=True)
class Done:
    """One operation that was done."""

    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    out: Any
    look: Look

    @property
    def outs(self) -> list[Tensor]:
        """The tensors it made."""
        listed = self.out if isinstance(self.out, (tuple, list)) else [self.out]
        return [one for one in listed if isinstance(one, Tensor)]

    def arg(self, index: int, default: Any = None, name: str = "") -> Any:
        """An argument by its place, or by its name."""
        return self.args[index] if index < len(self.args) else self.kwargs.get(name, default)

    def reading(self) -> list[tuple[Seen, ...]]:
        """What the tensors among its arguments see, those that see something."""
        return [seen for one in tensors_in((self.args, self.kwargs)) if (seen := self.look(one)) is not None]


Rule = Callable[[Done], Sequence[tuple[Seen, ...]] | None]
"""What each output sees; None where the rule does not fit this time."""


def tensors_in(thing: Any) -> list[Tensor]:
    """All tensors among arguments, also within lists and dicts."""
    if isinstance(thing, Tensor):
        return [thing]
    inner = thing.values() if isinstance(thing, Mapping) else thing if isinstance(thing, (tuple, list)) else ()
    return [tensor for one in inner for tensor in tensors_in(one)]


def sees(done: Done) -> tuple[list[tuple[Seen, ...]], bool]:
    """What each output of an operation sees, and whether that is more than an upper bound."""
    parts = done.reading()
    empty = done.outs[0].numel() == 0
    rule = None if empty else _rule_for(done.func)
    try:
        found = rule(done) if rule is not None else None
    except (RuntimeError, TypeError, ValueError, LookupError):  # called in a way that its rule does not know
        found = None
    outs = done.outs
    if found is not None and len(found) == len(outs) and all(map(_fits, found, outs)):
        return list(found), packet(done.func) not in _UPPER_BOUNDS or not any(axis.whole for axis in found[0][:-1])
    return [tuple(places.mixed_whole(axis, out.ndim) for axis in zip(*parts, strict=True)) for out in done.outs], empty


def _fits(seen: tuple[Seen, ...], out: Tensor) -> bool:
    """Whether what is seen can be laid over a tensor."""
    return all(
        end.ndim == out.ndim and all(n in (1, size) for n, size in zip(end.shape, out.shape, strict=True))
        for axis in seen
        for end in (axis.low, axis.high, axis.place)
    )


def _rule_for(func: Any) -> Rule | None:
    name = packet(func)
    rule = _RULES.get(name) or _RULES.get(name.removesuffix("_"))
    if rule is not None:
        return rule
    if kind(func) in _BY_KIND:
        return _BY_KIND[kind(func)]
    if pointwise(func):
        return _in_place
    return _moved if name in MOVES or name in COPIES or name.startswith("reflection_pad") else None


# Numbers that stay where they are


def _in_place(done: Done) -> Sequence[tuple[Seen, ...]]:
    ndim = done.outs[0].ndim
    joined = tuple(places.together(axis, ndim) for axis in zip(*done.reading(), strict=True))
    return [joined for _ in done.outs]


def _written(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """``copy_``: what is written takes the place of what was there."""
    source = done.look(done.args[1])
    if source is None:
        return [tuple(_blind(axis) for axis in done.look(done.args[0]) or ())]
    return [tuple(places.together([axis], done.args[0].ndim) for axis in source)]


def _blind(axis: Seen) -> Seen:
    low = torch.full([1] * axis.low.ndim, places.NOTHING, dtype=torch.float64, device="cpu")
    return Seen(low, -low, axis.place, axis.line)


# Numbers that are only moved


def _moved(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    tensor: Tensor = done.args[0]
    seen = done.look(tensor)
    if seen is None:
        return None
    shape = tuple(tensor.shape)

    rest, named = tree_map(_beside, (done.args[1:], {k: v for k, v in done.kwargs.items() if k in ("dim", "dims")}))

    def move(end: Tensor) -> Any:
        return done.func(end, *rest, **named)

    axes = [places.carried(axis, shape, move) for axis in seen]
    return list(zip(*axes, strict=True))


def _turned(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """Rolled or flipped along some dimensions: what is the same throughout stays so."""
    seen, dims = done.look(done.args[0]), done.arg(2 if packet(done.func) == "roll" else 1, None, "dims")
    if seen is None or not dims:
        return _moved(done)
    return [tuple(axis.each(lambda end: done.func(end, *done.args[1:], **done.kwargs)) for axis in seen)]


def _reordered(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """``transpose_`` and its like, after which the tensor itself has the new shape."""
    seen, move = done.look(done.args[0]), getattr(Tensor, packet(done.func).rstrip("_"))
    return None if seen is None else [tuple(axis.each(lambda end: move(end, *done.args[1:])) for axis in seen)]


def _beside(thing: Any) -> Any:
    """Positions are kept in main memory: what picks them is brought there."""
    return thing.cpu() if isinstance(thing, Tensor) else thing


def _reshaped(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    seen = done.look(done.args[0])
    before, after = tuple(done.args[0].shape), tuple(done.outs[0].shape)
    return None if seen is None else [tuple(places.reshaped(axis, before, after) for axis in seen)]


def _restrided(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """The mean over space is given other strides, and no more; or parts are cut from memory that lies plainly."""
    tensor = done.args[0]
    seen = done.look(tensor)
    if seen is None:
        return None
    shape = tuple(tensor.shape)
    if tuple(done.arg(1)) == tuple(done.outs[0].shape) == shape and not any(s.place.numel() > 1 for s in seen[:-1]):
        return [seen]
    if not tensor.is_contiguous() or tensor.storage_offset() or packet(done.func) != "as_strided":
        return None
    moved = [places.carried(a, shape, lambda end: done.func(end.contiguous(), *done.args[1:])) for a in seen]
    return [tuple(axis for (axis,) in moved)]


def _gated(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """``glu``: one half of a dimension times a function of the other."""
    tensor: Tensor = done.args[0]
    seen, dim = done.look(tensor), done.arg(1, -1, "dim")
    if seen is None:
        return None
    halves = [places.carried(axis, tuple(tensor.shape), lambda end: end.chunk(2, dim)) for axis in seen]
    return [tuple(places.together(both, tensor.ndim) for both in halves)]


def _split_in_two(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """Real and imaginary part along a dimension of their own."""
    seen = done.look(done.args[0])
    return None if seen is None else [tuple(axis.each(lambda end: end.unsqueeze(-1)) for axis in seen)]


def _joined_from_two(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """Complex numbers of the last dimension, which holds their real and imaginary parts."""
    seen, last = done.look(done.args[0]), done.args[0].ndim - 1
    return None if seen is None else [tuple(_without(places.mixed(axis, [last]), [last]) for axis in seen)]


def _padded(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """Padding with a constant, which sees nothing."""
    tensor, widths = done.args[0], done.args[1]
    seen = done.look(tensor)
    if seen is None:
        return None
    shape = tuple(tensor.shape)

    def filled(end: Tensor, value: float) -> Tensor:
        return places.compact(torch.nn.functional.pad(end.expand(shape), widths, value=value))

    out = tuple(
        replace(a, low=filled(a.low, places.NOTHING), high=filled(a.high, -places.NOTHING))
        for a in _lines_through(seen, _before(done), tensor, done.outs[0].shape)
    )
    return [tuple(_counted(a, done) for a in out)]


def _before(done: Done) -> dict[int, Reach]:
    """Where the positions of a padded tensor come from, along each dimension."""
    tensor, widths = done.args[0], done.args[1]
    return {tensor.ndim - 1 - k // 2: moved(-widths[k]) for k in range(0, len(widths), 2) if widths[k] or widths[k + 1]}


def _counted(axis: Seen, done: Done) -> Seen:
    """The same with places counted anew along the dimensions whose size has changed."""
    for dim, (size, count) in enumerate(zip(done.args[0].shape, done.outs[0].shape, strict=True)):
        if size != count:
            axis = replace(axis, place=places.counted(axis.place, dim, count))
    return axis


def _mirrored(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """Padding with numbers that are there already."""
    tensor = done.args[0]
    seen, outs = done.look(tensor), _moved(done)
    if outs is None or seen is None:
        return None
    return [_followed(done, outs[0], _before(done))]


def _shuffled(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """Channels become positions in between, or the other way round."""
    tensor, factor, outs = done.args[0], done.args[1], _moved(done)
    if outs is None:
        return None
    dims = (tensor.ndim - 2, tensor.ndim - 1)
    if packet(done.func) == "pixel_shuffle":
        return [_followed(done, outs[0], {d: nearest(Fraction(1, factor)) for d in dims})]
    return [_followed(done, outs[0], {d: sliding(factor, factor) for d in dims})]


def _followed(done: Done, out: tuple[Seen, ...], reach: Mapping[int, Reach]) -> tuple[Seen, ...]:
    """What was moved, with the lines gone the way of the numbers and the places counted as those of the output."""
    tensor, shape = done.args[0], done.outs[0].shape
    found = []
    for axis, before in zip(out, _lines_through(done.look(tensor) or (), reach, tensor, shape), strict=True):
        place = before.place
        for dim in reach:
            place = places.counted(place, dim, shape[dim])
        found.append(replace(axis, place=place, line=before.line, whole=before.whole))
    return tuple(found)


def _lines_through(
    seen: tuple[Seen, ...], reach: Mapping[int, Reach], tensor: Tensor, shape: Sequence[int]
) -> tuple[Seen, ...]:
    """Every axis with its line taken through the windows along every dimension, and places that it counts by.

    Args:
        shape: that of the result, as long as the tensor's.
    """
    found = list(seen)
    for dim, one in reach.items():
        for place in _axes_along(seen, dim, tensor):
            if one.moves_nothing:
                continue
            axis = recounted(found[place], dim, downwards=True)
            mirrored = places.is_mirrored(axis.place, dim)
            reads = one.mirrored(tensor.shape[dim], shape[dim]) if mirrored else one
            line = None if axis.line is None else axis.line.through(reads)
            found[place] = without_line(axis) if line is None else replace(axis, line=line)
    return tuple(found)


def _joined(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """Concatenation, and stacking, which is concatenation along a dimension of its own."""
    members: list[Tensor] = [one for one in done.args[0] if one.numel()]
    dim = done.arg(1, 0, "dim") % done.outs[0].ndim
    parts = []
    for one in members:
        seen, shape = done.look(one), tuple(one.shape)
        if packet(done.func) == "stack":
            seen = None if seen is None else tuple(axis.each(lambda end: end.unsqueeze(dim)) for axis in seen)
            shape = (*shape[:dim], 1, *shape[dim:])
        parts.append((seen, shape))
    axes = len(next(seen for seen, _ in parts if seen is not None))
    joined = [[(None if seen is None else seen[a], shape) for seen, shape in parts] for a in range(axes)]
    by_image = dim == 0 and any(seen is not None and seen[-1].varies(0) for seen, _ in parts)
    by_image |= packet(done.func) == "stack"
    return [tuple(places.concatenated(along, dim, by_image=by_image and along is not joined[-1]) for along in joined)]


# Windows


def _convolved(done: Done) -> Sequence[tuple[Seen, ...]] | None:
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


def _windows_laid_out(done: Done) -> Sequence[tuple[Seen, ...]] | None:
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
    for axis, before in zip(seen, _lines_through(seen, reach, tensor, (*shape[:2], *counts)), strict=True):
        low, high = (done.func(end.expand(shape), *done.args[1:]) for end in (axis.low, axis.high))
        low, high = low.masked_fill(blank, places.NOTHING), high.masked_fill(blank, -places.NOTHING)
        dim = 2 if axis.varies(2) else 3 if axis.varies(3) else None
        place = axis.place[..., 0] if dim is None else grid // counts[1] if dim == 2 else grid % counts[1]
        found.append(replace(before, low=places.compact(low), high=places.compact(high), place=places.compact(place)))
    return [tuple(found)]


def _windows_put_back(done: Done) -> Sequence[tuple[Seen, ...]] | None:
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
        found.append(_placed(put, 2 + a, out) if a < len(seen) - 1 and len(seen) == 3 else put)
    return [tuple(found)]


def _places_beside_channels(axis: Seen, dims: Iterable[int], groups: int) -> Seen:
    """The same once channels are mixed that lay at places of their own: positions put among the channels."""
    if axis.place.shape[1] == 1 or (groups > 1 and places.holds_moved_copies(axis.place)):
        return axis
    for dim in dims:
        axis = recounted(axis, dim)
    if axis.place.shape[1] == 1:
        return axis
    return replace(without_line(axis), place=places.gathered(axis.place, [1]))


def _convolved_packed(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """A convolution with packed int8 weights: the packed object knows how it is done."""
    tensor, packed = done.args[:2]
    axes = tensor.ndim - 2  # a signal's is packed as one of pictures with a side of one
    settings = [list(getattr(packed, name)())[-axes:] for name in ("stride", "padding", "dilation", "output_padding")]
    stride, padding, dilation, wider = settings
    weight = packed.unpack()[0].dequantize()
    weight = weight.reshape(*weight.shape[:2], *weight.shape[-axes:])
    plain = (tensor, weight, None, stride, padding, dilation, packed.transpose(), wider, packed.groups())
    return _convolved(replace(done, args=plain))


def _multiplied_packed(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """A linear layer with packed int8 weights: each number sees the last axis of what it reads."""
    seen = done.look(done.args[0])
    return None if seen is None else [tuple(places.mixed(axis, [done.args[0].ndim - 1]) for axis in seen)]


def _pooled(done: Done) -> Sequence[tuple[Seen, ...]] | None:
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


def _pooled_to_size(done: Done) -> Sequence[tuple[Seen, ...]] | None:
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


def _enlarged(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    tensor, out = done.args[0], done.outs[0]
    seen = done.look(tensor)
    if seen is None:
        return None
    how = enlargement(done.func, done.args, done.kwargs, out)
    reach = {2 + axis: how.reach(axis) for axis in range(how.axes)}
    reads = {2 + axis: how.taps(axis, tensor) for axis in range(how.axes)}
    return [_through(seen, reach, tensor, out, reads)]


def _through(
    seen: tuple[Seen, ...],
    reach: Mapping[int, Reach],
    tensor: Tensor,
    out: Tensor,
    reads: Mapping[int, Reads] | None = None,
) -> tuple[Seen, ...]:
    """Every axis through the windows along every dimension; ``reads`` says what is read where it is no plain reach."""
    found = list(_lines_through(seen, reach, tensor, out.shape))
    for dim, one in (reads or reach).items():
        found = [places.through(axis, one, dim, tensor.shape[dim], out.shape[dim]) for axis in found]
    return tuple(found)


def _axes_along(seen: tuple[Seen, ...], dim: int, tensor: Tensor) -> list[int]:
    """Which axes of the input lie along a dimension; on maps of one position, those that lay there at first."""
    spatial = seen[:-1]
    usual = dim - 2 if tensor.ndim == len(spatial) + 2 else -1
    return [a for a, s in enumerate(spatial) if s.varies(dim) or (a == usual and s.place.numel() == 1)]


# Sums over many places


def _multiplied(done: Done) -> Sequence[tuple[Seen, ...]]:
    """Matrix products: rows of the first with columns of the second, and a third that is added."""
    *added, left, right = (done.args[i] for i in range({"addmm": 3, "baddbmm": 3}.get(packet(done.func), 2)))
    ndim = done.outs[0].ndim
    parts = [seen for one in added if (seen := done.look(one)) is not None]
    for one, dim in ((left, -1), (right, -2)):
        seen = done.look(one)
        if seen is not None:
            parts.append(tuple(places.mixed(axis, [one.ndim + dim]) for axis in seen))
    return [tuple(places.together(axis, ndim) for axis in zip(*parts, strict=True))]


def _attended(done: Done) -> Sequence[tuple[Seen, ...]]:
    """Every query sees all keys and values of its head."""
    query, key, value = (done.look(one) for one in done.args[:3])
    ndim = done.args[0].ndim
    parts = []
    for seen, dims in ((query, [ndim - 1]), (key, [ndim - 2, ndim - 1]), (value, [ndim - 2, ndim - 1])):
        if seen is not None:
            parts.append(tuple(places.mixed(axis, dims) for axis in seen))
    out = done.outs[0]
    return [tuple(places.together(axis, out.ndim) for axis in zip(*parts, strict=True))] + [
        tuple(places.mixed_whole(axis, one.ndim) for axis in zip(*parts, strict=True)) for one in done.outs[1:]
    ]


def _along(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """What is taken along some dimensions: sums, means, maxima, softmax, running sums."""
    tensor: Tensor = done.args[0]
    seen = done.look(tensor)
    if seen is None:
        return None
    given = done.arg(1, None, "dim")
    dims = [given] if isinstance(given, int) else list(given or range(tensor.ndim))
    dims = sorted({d % tensor.ndim for d in dims}) if tensor.ndim else []
    if done.outs[0].shape == tensor.shape:  # softmax and sorting leave as many positions as there were
        return [tuple(_spread(axis, dims) for axis in seen) for _ in done.outs]
    outs = []
    for out in done.outs:
        kept = out.ndim == tensor.ndim
        axes = []
        for axis in seen:
            one = places.mixed(axis, dims)
            axes.append(one if kept else _without(one, dims))
        outs.append(tuple(axes))
    return outs


def _in_company(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """Softmax: each number sees all along a dimension and stays where it is."""
    tensor: Tensor = done.args[0]
    seen = done.look(tensor)
    if seen is None or tensor.ndim == 0:
        return None
    dim = done.arg(1, None, "dim") % tensor.ndim
    return [tuple(places.together([places.mixed(axis, [dim]), axis], tensor.ndim) for axis in seen)]


def _normed_along(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """The length of vectors: the dimension comes after the order of the norm."""
    rest = (done.arg(2, None, "dim"), *done.args[3:])
    return _along(replace(done, args=(done.args[0], *rest)))


def _recurrent(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """A recurrent layer over (T, N, F): every step may see all steps, the last state has no step."""
    tensor = done.args[0]
    seen = done.look(tensor)
    if seen is None:
        return None

    def every_step(axis: Seen) -> Seen:
        features = places.mixed(axis, [2])
        low, high = features.low.amin(0, keepdim=True), features.high.amax(0, keepdim=True)
        passed_on = features.varies(0)
        return replace(
            features, low=low, high=high, line=None if passed_on else features.line, whole=axis.whole or passed_on
        )

    steps = tuple(every_step(axis) for axis in seen)
    states = tuple(_without(places.mixed(axis, [0, 2]), [0]) for axis in seen)
    return [steps, *[states for _ in done.outs[1:]]]


def _running(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """Running sums, products, maxima: each number sees those before it."""
    tensor, seen = done.args[0], done.look(done.args[0])
    if seen is None:
        return None
    dim = done.arg(1, None, "dim") % tensor.ndim
    axes = tuple(
        replace(without_line(a), low=a.low.cummin(dim).values, high=a.high.cummax(dim).values) if a.differs(dim) else a
        for a in seen
    )
    return [axes for _ in done.outs]


def _spread(axis: Seen, dims: Sequence[int]) -> Seen:
    """What a number sees that is made from its own and from all along these dimensions; it stays in its place."""
    whole = places.mixed(axis, dims)
    return axis if whole is axis else places.together([whole, axis], axis.low.ndim)


def _placed(axis: Seen, dim: int, out: Tensor) -> Seen:
    """The same at places counted along a dimension of the output."""
    along = [1] * out.ndim
    along[dim] = out.shape[dim]
    place = torch.arange(out.shape[dim], dtype=torch.float64, device="cpu").view(along)
    return replace(without_line(axis), place=place, whole=True)


def _transformed(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """Fourier transforms: each number sees all along some dimensions, of which the last may get another size."""
    seen, dims = done.look(done.args[0]), [d % done.args[0].ndim for d in done.args[1]]
    return None if seen is None else [_anywhere(seen, dims, done.outs[0])]


def _sampled(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """Sampling at places that are computed, and what indices put somewhere: from anywhere on the map."""
    out = done.outs[0]
    parts = []
    for one in tensors_in(done.args):
        seen = done.look(one)
        if seen is not None:
            parts.append(
                tuple(
                    places.mixed(a, [d for d in range(1, one.ndim) if d > 1 or one is not done.args[0]]) for a in seen
                )
            )
    *spatial, batch = (places.together(list(axis), out.ndim) for axis in zip(*parts, strict=True))
    first = out.ndim - len(spatial)
    placed = tuple(_placed(axis, first + a, out) for a, axis in enumerate(spatial))
    return [(*placed, batch) for _ in done.outs]


def _resampled(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """``grid_sample``: known where a grid is even and the same for every input; else from anywhere on the map."""
    tensor, grid, corners = done.args[0], done.args[1], bool(done.arg(4, False))
    seen = done.look(tensor)
    if seen is not None and done.look(grid) is None:
        read = [read_at(axis, a, tensor, grid, corners=corners) for a, axis in enumerate(seen[:-1])]
        known = [axis for axis in read if axis is not None]
        if len(known) == len(read):
            return [(*known, seen[-1])]
    found = _sampled(done)
    if found is None or moves_nothing(tensor, grid, corners=corners):
        return found
    return [(*(replace(axis, resampled=True) for axis in found[0][:-1]), found[0][-1])]


def _anywhere(seen: tuple[Seen, ...], dims: Sequence[int], out: Tensor) -> tuple[Seen, ...]:
    """What sees all along some dimensions, with the places along them, counted anew where their number changes.

    Along overlapping windows, as those of a spectrogram, places lie from window to window; its frequencies are none.
    """
    found = []
    for axis in seen:
        whole, place = places.mixed(axis, dims), axis.place
        if whole.place.numel() > 1 and len(torch.unique(place)) < place.numel():
            found.append(without_line(whole))
            continue
        for dim in dims:
            place = place if place.shape[dim] in (1, out.shape[dim]) else places.counted(place, dim, out.shape[dim])
        found.append(replace(without_line(whole), place=place))
    return tuple(found)


def _without(seen: Seen, dims: Sequence[int]) -> Seen:
    return seen.each(lambda end: end.squeeze(tuple(dims)))


def _normed(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """Batch norm with kept statistics leaves numbers where they are; other norms look at all they take them from."""
    tensor: Tensor = done.args[0]
    seen = done.look(tensor)
    if seen is None:
        return None
    sort = kind(done.func)
    if sort == "layer norm":
        dims = list(range(tensor.ndim - len(done.args[1]), tensor.ndim))
    elif sort == "group norm":
        dims = list(range(1, tensor.ndim))
    else:
        dims = [] if settled(done.func, done.args) else [0, *range(2, tensor.ndim)]
    out = tuple(_spread(axis, dims) for axis in seen)
    rest = [tuple(places.mixed_whole([axis], one.ndim) for axis in seen) for one in done.outs[1:]]
    return [out, *rest]


_ALONG = (
    "mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod", "argmax", "any",
    "all", "logsumexp", "sort",
)  # fmt: skip

_UPPER_BOUNDS = frozenset({
    "grid_sampler_2d", "grid_sampler_3d", "max_unpool2d", "max_unpool3d", "fractional_max_pool2d",
    "fractional_max_pool3d",
})  # fmt: skip
"""Operations that read from places that only the numbers say."""

_RULES: dict[str, Rule] = {
    "copy_": _written,
    "view": _reshaped,
    "_unsafe_view": _reshaped,
    "reshape": _reshaped,
    "_reshape_alias": _reshaped,
    **dict.fromkeys(("clone", "contiguous", "_to_copy", "alias", "detach", "lift_fresh"), _in_place),
    **dict.fromkeys(("complex", "polar", "_conj", "_neg_view", "tril", "triu"), _in_place),
    "roll": _turned,
    "flip": _turned,
    "as_strided_": _restrided,
    "as_strided": _restrided,
    "constant_pad_nd": _padded,
    "cat": _joined,
    "stack": _joined,
    "pixel_shuffle": _shuffled,
    "pixel_unshuffle": _shuffled,
    "convolution": _convolved,
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), _multiplied),
    **dict.fromkeys((f"{m}_pad{n}d" for m in ("reflection", "replication") for n in (1, 2, 3)), _mirrored),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d"), _pooled),
    **dict.fromkeys((f"{a}adaptive_avg_pool{n}d" for a in ("", "_") for n in (2, 3)), _pooled_to_size),
    **dict.fromkeys((f"adaptive_max_pool{n}d" for n in (2, 3)), _pooled_to_size),
    **dict.fromkeys(_ALONG, _along),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), _in_company),
    "linalg_vector_norm": _normed_along,
    "mkldnn_rnn_layer": _recurrent,
    **dict.fromkeys(("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"), _running),
    **dict.fromkeys(("_fft_c2c", "_fft_r2c", "_fft_c2r"), _transformed),
    **dict.fromkeys(_UPPER_BOUNDS, _sampled),
    **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d"), _resampled),
    **dict.fromkeys(("transpose_", "t_", "unsqueeze_", "squeeze_", "swapaxes_", "swapdims_"), _reordered),
    "view_as_real": _split_in_two,
    "view_as_complex": _joined_from_two,
    "im2col": _windows_laid_out,
    "col2im": _windows_put_back,
    "glu": _gated,
}

_BY_KIND: dict[str, Rule] = {
    "attention": _attended,
    "enlargement": _enlarged,
    "batch norm": _normed,
    "layer norm": _normed,
    "group norm": _normed,
    "int8 convolution": _convolved_packed,
    "int8 linear": _multiplied_packed,
}
