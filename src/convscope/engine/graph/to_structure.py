"""From a recorded forward to the plain data of a `Structure`."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from convscope.engine.graph.build import Graph, Visit
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.recorder import Step
from convscope.engine.graph.spans import by_position, spans_of
from convscope.engine.network.parametrized import kind_of, masked_weights, weight_modules
from convscope.engine.network.quantized import packed_weights
from convscope.values import Module, Operation, Structure

Packed = dict[str, dict[str, Tensor]]
"""The packed weights of quantised layers: address → name → weight."""

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


def structure_of(model: "Model", graph: Graph, *, depth: int = 0) -> Structure:
    """What a recorded forward says of a network."""
    sizes = {id(p): p.numel() for p in model.module.parameters()}
    packed = {address: packed_weights(one) for address, one in model.module.named_modules()}
    packed = {address: held for address, held in packed.items() if held}
    weight_bytes = sum(p.numel() * p.element_size() for p in (*model.module.parameters(), *_tensors(packed)))
    fields = _Fields(graph)
    operations = tuple(
        _operation(step, graph, fields, sizes, number, packed.get(step.module, {}))
        for number, step in enumerate(graph.steps)
    )
    notes: dict[str, object] = _of_hidden_weights(model, packed)
    if graph.uncounted:
        notes["operations without a count of FLOPs"] = graph.uncounted
    if graph.guessed:
        notes["operations taken to see all they read"] = graph.guessed
    if graph.hidden:
        where = ", ".join(address or "the network itself" for address in graph.hidden)
        notes["scripted, so that only its operations show and not its modules"] = where
    weights = weight_modules(model.module)
    return Structure(
        name=model.name,
        input=graph.input,
        modules=tuple(
            _module(a, one, graph, fields, packed)
            for a, one in model.module.named_modules()
            if not _within(a, graph.hidden) and a not in weights and not _within(a, list(packed))
        ),
        operations=operations,
        parameters=sum(sizes.values()) + sum(one.numel() for one in _tensors(packed)),
        flops=sum(step.flops for step in graph.steps),
        norm_flops=sum(step.norm_flops for step in graph.steps),
        parameter_bytes=weight_bytes,
        activation_bytes=sum(step.bytes for step in graph.steps),
        depth=depth,
        notes=notes,
    )


class _Fields:
    """The receptive fields of a graph's parts; those that see the same are worked out once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...]], dict[str, Any]] = {}

    def of(self, seen: tuple[Dependence, ...], shape: tuple[int, ...]) -> dict[str, Any]:
        """The fields of a `Part` that say what is seen."""
        key = (tuple(map(id, seen)), shape)
        if key not in self._known:
            size, local, stride, centre = sight(seen, self.graph)
            spans = spans_of(seen, shape, self.graph.input[2:])
            self._known[key] = {"field": size, "local": local, "stride": stride, "centre": centre, "spans": spans}
        return self._known[key]


def _tensors(packed: Packed) -> list[Tensor]:
    return [one for held in packed.values() for one in held.values()]


def _of_hidden_weights(model: "Model", packed: Packed) -> dict[str, object]:
    """Notes on weights that are not what they seem: packed as integers, or masked to zero by pruning."""
    notes: dict[str, object] = {}
    if packed:
        kinds = sorted({str(one.dtype).removeprefix("torch.q") for one in _tensors(packed) if one.is_quantized})
        notes["quantised layers"] = (
            f"{', '.join(packed)}: weights packed as {' and '.join(kinds) or 'integers'}, counted"
        )
    masks = {address: masked_weights(one) for address, one in model.module.named_modules()}
    pruned = {address: counts for address, counts in masks.items() if counts[1]}
    if pruned:
        zero, all_ = (sum(counts[n] for counts in pruned.values()) for n in (0, 1))
        notes["pruned layers"] = (
            f"{', '.join(pruned)}: {zero} of {all_} weights are masked to zero, counted nonetheless"
        )
    return notes


def _operation(
    step: Step, graph: Graph, fields: _Fields, sizes: dict[int, int], number: int, packed: dict[str, Tensor]
) -> Operation:
    first = not any(one.module == step.module and one.kind.startswith("int8") for one in graph.steps[:number])
    own = sum(one.numel() for one in packed.values()) if first and step.kind.startswith("int8") else 0
    return Operation(
        kind=step.kind,
        name=step.operation,
        module=step.module,
        calls=step.calls,
        parents=step.parents,
        moves=step.moves,
        dtype=step.dtype,
        shape=step.shape,
        parameters=sum(sizes[weight] for weight in step.weights) + own,
        flops=step.flops,
        norm_flops=step.norm_flops,
        bytes=step.bytes,
        **fields.of(step.seen, step.shape),
    )


def _module(address: str, module: nn.Module, graph: Graph, fields: _Fields, packed: Packed) -> Module:
    visit = graph.visits.get(address, Visit((), None, (), 0, 0))
    inside = [s for s in graph.steps if not address or s.module == address or s.module.startswith(f"{address}.")]
    seen = visit.seen if visit.calls or not inside else inside[-1].seen
    shape = visit.shape or (inside[-1].shape if inside else ())
    return Module(
        address=address,
        kind=kind_of(module),
        detail=_detail(module),
        calls=visit.calls or min(1, len(inside)),
        first=visit.first if visit.calls else graph.steps.index(inside[0]) if inside else len(graph.steps),
        leaf=all(_holds_weights(name) for name, _ in module.named_children()) or address in graph.hidden,
        shape=shape,
        parameters=sum(p.numel() for p in module.parameters())
        + sum(
            one.numel()
            for inner, held in packed.items()
            if not address or inner == address or inner.startswith(f"{address}.")
            for one in held.values()
        ),
        flops=sum(step.flops for step in inside),
        norm_flops=sum(step.norm_flops for step in inside),
        bytes=sum(step.bytes for step in inside),
        **fields.of(seen, shape),
    )


def _holds_weights(name: str) -> bool:
    """Whether a child of that name only keeps or computes the layer's own weights."""
    return name in ("parametrizations", "_packed_params", "_all_weight_values")


def _within(address: str, hidden: Sequence[str]) -> bool:
    """Whether a module lies inside one whose insides are hidden."""
    return any(address != other and (not other or address.startswith(f"{other}.")) for other in hidden)


def sight(
    seen: Sequence[Dependence], graph: Graph
) -> tuple[tuple[int | None, ...], tuple[int | None, ...], tuple[float | None, ...], tuple[float | None, ...]]:
    """The receptive field, its local part, the stride and the centre, along each axis of the input."""
    seen = [by_position(axis) for axis in seen]
    sizes = tuple(_size(axis, extent) for axis, extent in zip(seen, graph.input[2:], strict=False))
    lines = [axis.line for axis in seen]
    local = tuple(None if line is None else line.size for line in lines)
    stride = tuple(None if line is None else line.jump for line in lines)
    centre = tuple(None if line is None or not math.isfinite(line.centre) else line.centre for line in lines)
    return sizes, local, stride, centre


def _size(axis: Dependence, extent: int) -> int | None:
    """How many input positions one position sees; None for the whole input, 0 for none."""
    widest = axis.widest
    if widest == 0 or (axis.line is not None and not axis.whole):
        return 0 if widest == 0 or axis.line is None else axis.line.size
    return None if widest >= extent else widest


def _detail(module: nn.Module) -> str:
    """What tells a layer with windows from others of its class: ``3×3 /2``, ``7×7 depthwise``."""
    kernel = getattr(module, "kernel_size", None)
    if not isinstance(kernel, (int, tuple)):
        return ""
    axes = next((int(c) for c in type(module).__name__ if c in "123"), 1)
    words = [_sides((kernel,) * axes if isinstance(kernel, int) else kernel)]
    stride, dilation = getattr(module, "stride", 1), getattr(module, "dilation", 1)
    stride = kernel if stride is None else stride  # how LP pooling keeps a stride that was not given
    words += [f"/{_once(stride)}"] if set(_several(stride)) - {1} else []
    words += [f"dilation {_once(dilation)}"] if set(_several(dilation)) - {1} else []
    groups, channels = getattr(module, "groups", 1), getattr(module, "in_channels", 0)
    words += ["depthwise" if groups == channels else f"{groups} groups"] if groups > 1 else []
    return " ".join(words)


def _sides(size: int | Iterable[int]) -> str:
    return "×".join(str(n) for n in _several(size))


def _once(size: int | Iterable[int]) -> str:
    several = _several(size)
    return str(several[0]) if len(set(several)) == 1 else _sides(several)


def _several(size: int | Iterable[int]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)
