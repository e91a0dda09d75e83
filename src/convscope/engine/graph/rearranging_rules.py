"""Rules for operations that keep values where they are or only rearrange them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from convscope.engine.graph import dependence, position_tensors
from convscope.engine.graph.aten_operations import base_name
from convscope.engine.graph.axes import patterns_through, squeezed
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.interval_map import IntervalMap, nearest, shifted, sliding
from convscope.engine.graph.observed_call import DependenceRule, ObservedCall


def elementwise(call: ObservedCall) -> Sequence[tuple[Dependence, ...]]:
    """Elementwise functions of one or several tensors, which are broadcast."""
    ndim = call.outputs[0].ndim
    combined = tuple(dependence.union(axis, ndim) for axis in zip(*call.input_dependences(), strict=True))
    return [combined for _ in call.outputs]


def _copy_into(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """``copy_``: the source replaces the values that were there."""
    source = call.dependence_of(call.args[1])
    if source is None:
        return [tuple(_independent(axis) for axis in call.dependence_of(call.args[0]) or ())]
    return [tuple(dependence.union([axis], call.args[0].ndim) for axis in source)]


def _independent(axis: Dependence) -> Dependence:
    low = torch.full([1] * axis.low.ndim, dependence.EMPTY, dtype=torch.float64, device="cpu")
    return Dependence(low, -low, axis.position, axis.pattern)


def rearranging(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Any operation that only rearranges the values of its first argument: the dependence is rearranged alike."""
    tensor: Tensor = call.args[0]
    axes = call.dependence_of(tensor)
    if axes is None or _reads_many_computed_places(call):
        return None
    shape = tuple(tensor.shape)
    dim_arguments = {name: value for name, value in call.kwargs.items() if name in ("dim", "dims")}
    rest, named = tree_map(_on_cpu, (call.args[1:], dim_arguments))

    def rearrange(part: Tensor) -> Any:
        return call.func(part, *rest, **named)

    results = [dependence.rearranged(axis, shape, rearrange) for axis in axes]
    return list(zip(*results, strict=True))


_MAX_COMPUTED_PLACES = 2**18
"""How many values are followed to places that were themselves computed from the input."""


def _reads_many_computed_places(call: ObservedCall) -> bool:
    """Whether very many values are read at indices computed from the input, as by ``roi_align`` in plain torch.

    Following each of them takes more time and memory than the network, and where they come from is another place for
    every input.
    """
    if base_name(call.func) != "index" or call.outputs[0].numel() <= _MAX_COMPUTED_PLACES:
        return False
    return any(call.dependence_of(index) is not None for index in call.args[1] if index is not None)


def _roll_or_flip(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Rolled or flipped along some dimensions: what is constant along them stays so."""
    axes = call.dependence_of(call.args[0])
    dims = call.argument(2 if base_name(call.func) == "roll" else 1, None, "dims")
    if axes is None or not dims:
        return rearranging(call)
    return [tuple(axis.map(lambda part: call.func(part, *call.args[1:], **call.kwargs)) for axis in axes)]


def _transpose_in_place(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """``transpose_`` and similar operations, after which the tensor itself has the new shape."""
    axes, function = call.dependence_of(call.args[0]), getattr(Tensor, base_name(call.func).rstrip("_"))
    return None if axes is None else [tuple(axis.map(lambda part: function(part, *call.args[1:])) for axis in axes)]


def _on_cpu(argument: Any) -> Any:
    """Dependences are kept in main memory, so index tensors are moved there."""
    return argument.cpu() if isinstance(argument, Tensor) else argument


def _reshape(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    axes = call.dependence_of(call.args[0])
    before, after = tuple(call.args[0].shape), tuple(call.outputs[0].shape)
    return None if axes is None else [tuple(dependence.reshaped(axis, before, after) for axis in axes)]


def _as_strided(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """A mean over space that only gets other strides, or parts cut from a contiguous tensor."""
    tensor = call.args[0]
    axes = call.dependence_of(tensor)
    if axes is None:
        return None
    shape = tuple(tensor.shape)
    same_shape = tuple(call.argument(1)) == tuple(call.outputs[0].shape) == shape
    if same_shape and not any(axis.position.numel() > 1 for axis in axes[:-1]):
        return [axes]
    if not tensor.is_contiguous() or tensor.storage_offset() or base_name(call.func) != "as_strided":
        return None
    results = [
        dependence.rearranged(axis, shape, lambda part: call.func(part.contiguous(), *call.args[1:])) for axis in axes
    ]
    return [tuple(result for (result,) in results)]


def _glu(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """``glu``: one half of a dimension times a function of the other."""
    tensor: Tensor = call.args[0]
    axes, dim = call.dependence_of(tensor), call.argument(1, -1, "dim")
    if axes is None:
        return None
    halves = [dependence.rearranged(axis, tuple(tensor.shape), lambda part: part.chunk(2, dim)) for axis in axes]
    return [tuple(dependence.union(pair, tensor.ndim) for pair in halves)]


def _view_as_real(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Real and imaginary part along a new last dimension."""
    axes = call.dependence_of(call.args[0])
    return None if axes is None else [tuple(axis.map(lambda part: part.unsqueeze(-1)) for axis in axes)]


def _view_as_complex(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Complex numbers from the last dimension, which holds their real and imaginary parts."""
    axes, last = call.dependence_of(call.args[0]), call.args[0].ndim - 1
    return None if axes is None else [tuple(squeezed(dependence.reduced(axis, [last]), [last]) for axis in axes)]


def _constant_pad(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Padding with a constant, which does not depend on the input."""
    tensor, widths = call.args[0], call.args[1]
    axes = call.dependence_of(tensor)
    if axes is None:
        return None
    shape = tuple(tensor.shape)

    def padded(part: Tensor, value: float) -> Tensor:
        return position_tensors.compact(torch.nn.functional.pad(part.expand(shape), widths, value=value))

    results = tuple(
        replace(axis, low=padded(axis.low, dependence.EMPTY), high=padded(axis.high, -dependence.EMPTY))
        for axis in patterns_through(axes, _padding_maps(call), tensor, call.outputs[0].shape)
    )
    return [tuple(_renumbered_where_resized(axis, call) for axis in results)]


def _padding_maps(call: ObservedCall) -> dict[int, IntervalMap]:
    """Which positions the positions of a padded tensor are copies of, along each padded dimension."""
    tensor, widths = call.args[0], call.args[1]
    return {
        tensor.ndim - 1 - k // 2: shifted(-widths[k]) for k in range(0, len(widths), 2) if widths[k] or widths[k + 1]
    }


def _renumbered_where_resized(axis: Dependence, call: ObservedCall) -> Dependence:
    """The axis with positions renumbered along the dimensions whose size has changed."""
    for dim, (size, count) in enumerate(zip(call.args[0].shape, call.outputs[0].shape, strict=True)):
        if size != count:
            axis = replace(axis, position=position_tensors.renumbered_position(axis.position, dim, count))
    return axis


def _reflection_pad(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Padding with values of the tensor itself."""
    tensor = call.args[0]
    axes, outputs = call.dependence_of(tensor), rearranging(call)
    if outputs is None or axes is None:
        return None
    return [_with_patterns_through(call, outputs[0], _padding_maps(call))]


def _pixel_shuffle(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Channels become intermediate positions, or the other way round."""
    tensor, factor, outputs = call.args[0], call.args[1], rearranging(call)
    if outputs is None:
        return None
    dims = (tensor.ndim - 2, tensor.ndim - 1)
    if base_name(call.func) == "pixel_shuffle":
        return [_with_patterns_through(call, outputs[0], {d: nearest(Fraction(1, factor)) for d in dims})]
    return [_with_patterns_through(call, outputs[0], {d: sliding(factor, factor) for d in dims})]


def _with_patterns_through(
    call: ObservedCall, output: tuple[Dependence, ...], interval_maps: Mapping[int, IntervalMap]
) -> tuple[Dependence, ...]:
    """The dependence of a rearranged output, with the patterns of what it reads and positions numbered by output."""
    tensor, shape = call.args[0], call.outputs[0].shape
    results = []
    inputs = patterns_through(call.dependence_of(tensor) or (), interval_maps, tensor, shape)
    for axis, source in zip(output, inputs, strict=True):
        position = source.position
        for dim in interval_maps:
            position = position_tensors.renumbered_position(position, dim, shape[dim])
        results.append(replace(axis, position=position, pattern=source.pattern, mixes_positions=source.mixes_positions))
    return tuple(results)


def _concatenation(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Concatenation, and stacking, which is concatenation along a new dimension."""
    members: list[Tensor] = [member for member in call.args[0] if member.numel()]
    dim = call.argument(1, 0, "dim") % call.outputs[0].ndim
    stacks = base_name(call.func) == "stack"
    parts = []
    for member in members:
        axes, shape = call.dependence_of(member), tuple(member.shape)
        if stacks:
            axes = None if axes is None else tuple(axis.map(lambda part: part.unsqueeze(dim)) for axis in axes)
            shape = (*shape[:dim], 1, *shape[dim:])
        parts.append((axes, shape))
    known = next((axes for axes, _ in parts if axes is not None), None)
    if known is None:  # those computed from the input are empty, as where nothing is detected
        return None
    count = len(known)
    by_axis = [[(None if axes is None else axes[a], shape) for axes, shape in parts] for a in range(count)]
    by_image = dim == 0 and any(axes is not None and axes[-1].lies_along(0) for axes, _ in parts)
    by_image |= stacks
    return [
        tuple(
            dependence.concatenated(members_axis, dim, by_image=by_image and members_axis is not by_axis[-1])
            for members_axis in by_axis
        )
    ]


RULES: dict[str, DependenceRule] = {
    "copy_": _copy_into,
    "view": _reshape,
    "_unsafe_view": _reshape,
    "reshape": _reshape,
    "_reshape_alias": _reshape,
    **dict.fromkeys(("clone", "contiguous", "_to_copy", "alias", "detach", "lift_fresh"), elementwise),
    **dict.fromkeys(("complex", "polar", "_conj", "_neg_view", "tril", "triu"), elementwise),
    "roll": _roll_or_flip,
    "flip": _roll_or_flip,
    "as_strided_": _as_strided,
    "as_strided": _as_strided,
    "constant_pad_nd": _constant_pad,
    "cat": _concatenation,
    "stack": _concatenation,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_shuffle,
    **dict.fromkeys((f"{m}_pad{n}d" for m in ("reflection", "replication") for n in (1, 2, 3)), _reflection_pad),
    **dict.fromkeys(("transpose_", "t_", "unsqueeze_", "squeeze_", "swapaxes_", "swapdims_"), _transpose_in_place),
    "view_as_real": _view_as_real,
    "view_as_complex": _view_as_complex,
    "glu": _glu,
}
