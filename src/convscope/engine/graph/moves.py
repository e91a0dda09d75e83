"""Operations that leave numbers where they are, or only move them about."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from convscope.engine.graph import dependence as places
from convscope.engine.graph.axes import lines_through, without_dims
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.interval_map import Reach, moved, nearest, sliding
from convscope.engine.graph.kinds import packet
from convscope.engine.graph.observed_call import Done, Rule


def in_place(done: Done) -> Sequence[tuple[Dependence, ...]]:
    ndim = done.outs[0].ndim
    joined = tuple(places.together(axis, ndim) for axis in zip(*done.reading(), strict=True))
    return [joined for _ in done.outs]


def _written(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """``copy_``: what is written takes the place of what was there."""
    source = done.look(done.args[1])
    if source is None:
        return [tuple(_blind(axis) for axis in done.look(done.args[0]) or ())]
    return [tuple(places.together([axis], done.args[0].ndim) for axis in source)]


def _blind(axis: Dependence) -> Dependence:
    low = torch.full([1] * axis.low.ndim, places.NOTHING, dtype=torch.float64, device="cpu")
    return Dependence(low, -low, axis.place, axis.line)


def moved_about(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
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


def _turned(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """Rolled or flipped along some dimensions: what is the same throughout stays so."""
    seen, dims = done.look(done.args[0]), done.arg(2 if packet(done.func) == "roll" else 1, None, "dims")
    if seen is None or not dims:
        return moved_about(done)
    return [tuple(axis.each(lambda end: done.func(end, *done.args[1:], **done.kwargs)) for axis in seen)]


def _reordered(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """``transpose_`` and its like, after which the tensor itself has the new shape."""
    seen, move = done.look(done.args[0]), getattr(Tensor, packet(done.func).rstrip("_"))
    return None if seen is None else [tuple(axis.each(lambda end: move(end, *done.args[1:])) for axis in seen)]


def _beside(thing: Any) -> Any:
    """Positions are kept in main memory: what picks them is brought there."""
    return thing.cpu() if isinstance(thing, Tensor) else thing


def _reshaped(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    seen = done.look(done.args[0])
    before, after = tuple(done.args[0].shape), tuple(done.outs[0].shape)
    return None if seen is None else [tuple(places.reshaped(axis, before, after) for axis in seen)]


def _restrided(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
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


def _gated(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """``glu``: one half of a dimension times a function of the other."""
    tensor: Tensor = done.args[0]
    seen, dim = done.look(tensor), done.arg(1, -1, "dim")
    if seen is None:
        return None
    halves = [places.carried(axis, tuple(tensor.shape), lambda end: end.chunk(2, dim)) for axis in seen]
    return [tuple(places.together(both, tensor.ndim) for both in halves)]


def _split_in_two(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """Real and imaginary part along a dimension of their own."""
    seen = done.look(done.args[0])
    return None if seen is None else [tuple(axis.each(lambda end: end.unsqueeze(-1)) for axis in seen)]


def _joined_from_two(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """Complex numbers of the last dimension, which holds their real and imaginary parts."""
    seen, last = done.look(done.args[0]), done.args[0].ndim - 1
    return None if seen is None else [tuple(without_dims(places.mixed(axis, [last]), [last]) for axis in seen)]


def _padded(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
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
        for a in lines_through(seen, _before(done), tensor, done.outs[0].shape)
    )
    return [tuple(_counted(a, done) for a in out)]


def _before(done: Done) -> dict[int, Reach]:
    """Where the positions of a padded tensor come from, along each dimension."""
    tensor, widths = done.args[0], done.args[1]
    return {tensor.ndim - 1 - k // 2: moved(-widths[k]) for k in range(0, len(widths), 2) if widths[k] or widths[k + 1]}


def _counted(axis: Dependence, done: Done) -> Dependence:
    """The same with places counted anew along the dimensions whose size has changed."""
    for dim, (size, count) in enumerate(zip(done.args[0].shape, done.outs[0].shape, strict=True)):
        if size != count:
            axis = replace(axis, place=places.counted(axis.place, dim, count))
    return axis


def _mirrored(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """Padding with numbers that are there already."""
    tensor = done.args[0]
    seen, outs = done.look(tensor), moved_about(done)
    if outs is None or seen is None:
        return None
    return [_followed(done, outs[0], _before(done))]


def _shuffled(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """Channels become positions in between, or the other way round."""
    tensor, factor, outs = done.args[0], done.args[1], moved_about(done)
    if outs is None:
        return None
    dims = (tensor.ndim - 2, tensor.ndim - 1)
    if packet(done.func) == "pixel_shuffle":
        return [_followed(done, outs[0], {d: nearest(Fraction(1, factor)) for d in dims})]
    return [_followed(done, outs[0], {d: sliding(factor, factor) for d in dims})]


def _followed(done: Done, out: tuple[Dependence, ...], reach: Mapping[int, Reach]) -> tuple[Dependence, ...]:
    """What was moved, with the lines gone the way of the numbers and the places counted as those of the output."""
    tensor, shape = done.args[0], done.outs[0].shape
    found = []
    for axis, before in zip(out, lines_through(done.look(tensor) or (), reach, tensor, shape), strict=True):
        place = before.place
        for dim in reach:
            place = places.counted(place, dim, shape[dim])
        found.append(replace(axis, place=place, line=before.line, whole=before.whole))
    return tuple(found)


def _joined(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
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


RULES: dict[str, Rule] = {
    "copy_": _written,
    "view": _reshaped,
    "_unsafe_view": _reshaped,
    "reshape": _reshaped,
    "_reshape_alias": _reshaped,
    **dict.fromkeys(("clone", "contiguous", "_to_copy", "alias", "detach", "lift_fresh"), in_place),
    **dict.fromkeys(("complex", "polar", "_conj", "_neg_view", "tril", "triu"), in_place),
    "roll": _turned,
    "flip": _turned,
    "as_strided_": _restrided,
    "as_strided": _restrided,
    "constant_pad_nd": _padded,
    "cat": _joined,
    "stack": _joined,
    "pixel_shuffle": _shuffled,
    "pixel_unshuffle": _shuffled,
    **dict.fromkeys((f"{m}_pad{n}d" for m in ("reflection", "replication") for n in (1, 2, 3)), _mirrored),
    **dict.fromkeys(("transpose_", "t_", "unsqueeze_", "squeeze_", "swapaxes_", "swapdims_"), _reordered),
    "view_as_real": _split_in_two,
    "view_as_complex": _joined_from_two,
    "glu": _gated,
}
