"""How each operation changes what is seen: from the tensors it reads to those it makes.

An operation that is not known here may mix all it reads: its output then sees everything its inputs see, which is an
upper bound, and it is named among the notes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from convscope.engine.graph import seen as places
from convscope.engine.graph.flops import settled
from convscope.engine.graph.kinds import COPIES, MOVES, kind, packet, pointwise
from convscope.engine.graph.reach import Reach, adaptive, linear, moved, nearest, sliding, transposed
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
    rule = _rule_for(done.func)
    try:
        found = rule(done) if rule is not None else None
    except (RuntimeError, TypeError, ValueError, LookupError):  # called in a way that its rule does not know
        found = None
    if found is not None and all(_fits(seen, out) for seen, out in zip(found, done.outs, strict=False)):
        return list(found), True
    parts = done.reading()
    return [tuple(places.mixed_whole(axis, out.ndim) for axis in zip(*parts, strict=True)) for out in done.outs], False


def _fits(seen: tuple[Seen, ...], out: Tensor) -> bool:
    """Whether what is seen can be laid over a tensor."""
    return all(
        end.ndim == out.ndim and all(n in (1, size) for n, size in zip(end.shape, out.shape, strict=True))
        for axis in seen
        for end in (axis.low, axis.high, axis.place)
    )


def _rule_for(func: Any) -> Rule | None:
    name = packet(func)
    if name in _RULES:
        return _RULES[name]
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
    seen, dims = done.look(done.args[0]), done.arg(len(done.args) - 1, None, "dims")
    if seen is None or not dims:
        return _moved(done)
    return [tuple(axis.each(lambda end: done.func(end, *done.args[1:])) for axis in seen)]


def _beside(thing: Any) -> Any:
    """Positions are kept in main memory: what picks them is brought there."""
    return thing.cpu() if isinstance(thing, Tensor) else thing


def _reshaped(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    seen = done.look(done.args[0])
    before, after = tuple(done.args[0].shape), tuple(done.outs[0].shape)
    return None if seen is None else [tuple(places.reshaped(axis, before, after) for axis in seen)]


def _restrided(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    """The mean over space is given other strides, and no more."""
    seen = done.look(done.args[0])
    if seen is None or tuple(done.arg(1)) != tuple(done.outs[0].shape) or any(s.place.numel() > 1 for s in seen):
        return None
    return [seen]


def _cut(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    tensor, dim = done.args[0], done.arg(1, 0, "dim")
    start, step = done.arg(2, None, "start") or 0, done.arg(4, 1, "step")
    size = tensor.shape[dim]
    first = max(0, start + size if start < 0 else start)
    return _follow(done, _moved(done), {dim % tensor.ndim: moved(first, step)})


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
        Seen(filled(a.low, places.NOTHING), filled(a.high, -places.NOTHING), _counted(a, done), a.line, a.whole)
        for a in seen
    )
    reach = {tensor.ndim - 1 - k // 2: moved(-widths[k]) for k in range(0, len(widths), 2)}
    return _follow(done, [out], reach)


def _counted(axis: Seen, done: Done) -> Tensor:
    """The places of a padded tensor, counted anew along the dimensions on which they lie."""
    place = axis.place
    for dim, size in enumerate(done.outs[0].shape):
        place = places.counted(place, dim, size)
    return place


def _mirrored(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    tensor, widths = done.args[0], done.args[1]
    reach = {tensor.ndim - 1 - k // 2: moved(-widths[k]) for k in range(0, len(widths), 2)}
    return _follow(done, _moved(done), reach)


def _shuffled(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    tensor, factor = done.args[0], done.args[1]
    reach = {d: nearest(tensor.shape[d], tensor.shape[d] * factor) for d in (tensor.ndim - 2, tensor.ndim - 1)}
    return _follow(done, _moved(done), reach)


def _unshuffled(done: Done) -> Sequence[tuple[Seen, ...]] | None:
    tensor, factor = done.args[0], done.args[1]
    reach = {d: sliding(factor, factor) for d in (tensor.ndim - 2, tensor.ndim - 1)}
    return _follow(done, _moved(done), reach)


def _follow(
    done: Done, outs: Sequence[tuple[Seen, ...]] | None, reach: Mapping[int, Reach]
) -> Sequence[tuple[Seen, ...]] | None:
    """Have the lines go the way that the numbers were moved."""
    seen = done.look(done.args[0])
    if outs is None or seen is None:
        return outs
    lines = [axis.line for axis in seen]
    for dim, one in reach.items():
        for place in _axes_along(seen, dim, done.args[0]):
            line = lines[place]
            lines[place] = None if line is None else line.through(one)
    return [tuple(replace(a, line=line) for a, line in zip(axes, lines, strict=True)) for axes in outs]


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
    return [tuple(places.concatenated(along, dim) for along in joined)]


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
    grouped = tuple(places.mixed_in_groups(axis, groups, out.shape[1]) for axis in seen)
    return [_through(grouped, reach, tensor, out)]


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
    if seen is None or "_aa" in packet(done.func):
        return None
    name = packet(done.func)
    corners = bool(done.arg(2, False, "align_corners")) if "nearest" not in name else False
    reach = {}
    for dim in range(2, tensor.ndim):
        size, count = tensor.shape[dim], out.shape[dim]
        if "nearest" in name:
            reach[dim] = nearest(size, count)
        else:
            reach[dim] = linear(size, count, corners=corners, taps=2 if "bicubic" in name else 1)
    return [_through(seen, reach, tensor, out)]


def _through(seen: tuple[Seen, ...], reach: Mapping[int, Reach], tensor: Tensor, out: Tensor) -> tuple[Seen, ...]:
    """Every axis through the windows along every dimension."""
    found = []
    for place, axis in enumerate(seen):
        for dim, one in reach.items():
            if axis.line is not None and place in _axes_along(seen, dim, tensor):
                axis = replace(axis, line=axis.line.through(one))
            axis = places.through(axis, one, dim, tensor.shape[dim], out.shape[dim])
        found.append(axis)
    return tuple(found)


def _axes_along(seen: tuple[Seen, ...], dim: int, tensor: Tensor) -> list[int]:
    """Which axes of the input lie along a dimension; on maps of one position, those that lay there at first."""
    usual = dim - 2 if tensor.ndim == len(seen) + 2 else -1
    return [a for a, s in enumerate(seen) if s.varies(dim) or (a == usual and s.place.numel() == 1)]


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
    outs = []
    for out in done.outs:
        kept = out.ndim == tensor.ndim
        axes = []
        for axis in seen:
            one = places.mixed(axis, dims)
            axes.append(one if kept else _without(one, dims))
        outs.append(tuple(axes))
    return outs


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
    out = tuple(places.together([places.mixed(axis, dims), axis], tensor.ndim) for axis in seen)
    rest = [tuple(places.mixed_whole([axis], one.ndim) for axis in seen) for one in done.outs[1:]]
    return [out, *rest]


_ALONG = (
    "mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod", "argmax", "any",
    "all", "logsumexp", "_softmax", "_log_softmax", "cumsum", "sort",
)  # fmt: skip

_RULES: dict[str, Rule] = {
    "copy_": _written,
    "view": _reshaped,
    "_unsafe_view": _reshaped,
    "reshape": _reshaped,
    "_reshape_alias": _reshaped,
    **dict.fromkeys(("clone", "contiguous", "_to_copy", "alias", "detach", "lift_fresh"), _in_place),
    "roll": _turned,
    "flip": _turned,
    "as_strided_": _restrided,
    "as_strided": _restrided,
    "slice": _cut,
    "constant_pad_nd": _padded,
    "cat": _joined,
    "stack": _joined,
    "pixel_shuffle": _shuffled,
    "pixel_unshuffle": _unshuffled,
    "convolution": _convolved,
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), _multiplied),
    **dict.fromkeys((f"{m}_pad{n}d" for m in ("reflection", "replication") for n in (1, 2, 3)), _mirrored),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d"), _pooled),
    **dict.fromkeys((f"{a}adaptive_avg_pool{n}d" for a in ("", "_") for n in (2, 3)), _pooled_to_size),
    **dict.fromkeys((f"adaptive_max_pool{n}d" for n in (2, 3)), _pooled_to_size),
    **dict.fromkeys(_ALONG, _along),
}

_BY_KIND: dict[str, Rule] = {
    "attention": _attended,
    "enlargement": _enlarged,
    "batch norm": _normed,
    "layer norm": _normed,
    "group norm": _normed,
}
