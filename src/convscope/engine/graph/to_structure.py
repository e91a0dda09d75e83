"""From a recorded forward pass to the plain data of a `Structure`."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from convscope.engine.graph.build import ForwardGraph, LayerCall
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.recorder import OperationRecord
from convscope.engine.graph.spans import numbered_by_position, spans_of
from convscope.engine.network.parametrized import class_name, pruned_counts, weight_modules
from convscope.engine.network.quantized import packed_weights
from convscope.values import ModuleSummary, OperationSummary, Structure
from convscope.values.facts import Fact

PackedWeights = dict[str, dict[str, Tensor]]
"""The packed weights of quantised layers: address → name → weight."""

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


def structure_of(model: "Model", graph: ForwardGraph, *, depth: int = 0) -> Structure:
    """The structure of a network as shown by a recorded forward pass."""
    sizes = {id(p): p.numel() for p in model.module.parameters()}
    packed = {address: packed_weights(module) for address, module in model.module.named_modules()}
    packed = {address: weights for address, weights in packed.items() if weights}
    weight_bytes = sum(p.numel() * p.element_size() for p in (*model.module.parameters(), *_tensors(packed)))
    fields = _ReceptiveFields(graph)
    operations = tuple(
        _operation(record, graph, fields, sizes, number, packed.get(record.module, {}))
        for number, record in enumerate(graph.operations)
    )
    notes: dict[str, object] = _weight_notes(model, packed)
    if graph.without_flop_count:
        notes["operations without a count of FLOPs"] = graph.without_flop_count
    if graph.without_rule:
        notes["operations taken to see all they read"] = graph.without_rule
    if graph.scripted:
        addresses = [address or Fact("the network itself") for address in graph.scripted]
        notes["scripted, so that only its operations show and not its modules"] = Fact("{items}", items=addresses)
    weights = weight_modules(model.module)
    return Structure(
        name=model.name,
        input=graph.input_shape,
        modules=tuple(
            _module(address, module, graph, fields, packed)
            for address, module in model.module.named_modules()
            if not _is_inside(address, graph.scripted)
            and address not in weights
            and not _is_inside(address, list(packed))
        ),
        operations=operations,
        parameters=sum(sizes.values()) + sum(weight.numel() for weight in _tensors(packed)),
        flops=sum(record.flops for record in graph.operations),
        norm_flops=sum(record.norm_flops for record in graph.operations),
        parameter_bytes=weight_bytes,
        activation_bytes=sum(record.bytes for record in graph.operations),
        depth=depth,
        notes=notes,
    )


class _ReceptiveFields:
    """The receptive fields of a graph's parts; parts with the same dependence share one computation."""

    def __init__(self, graph: ForwardGraph) -> None:
        self.graph = graph
        self._cache: dict[tuple[tuple[int, ...], tuple[int, ...]], dict[str, Any]] = {}

    def of(self, axes: tuple[Dependence, ...], shape: tuple[int, ...]) -> dict[str, Any]:
        """The fields of a `Component` that describe its dependence on the input."""
        key = (tuple(map(id, axes)), shape)
        if key not in self._cache:
            size, local, stride, centre = field_geometry(axes, self.graph)
            spans = spans_of(axes, shape, self.graph.input_shape[2:])
            self._cache[key] = {"field": size, "local": local, "stride": stride, "centre": centre, "spans": spans}
        return self._cache[key]


def _tensors(packed: PackedWeights) -> list[Tensor]:
    return [weight for weights in packed.values() for weight in weights.values()]


def _weight_notes(model: "Model", packed: PackedWeights) -> dict[str, object]:
    """Notes on special weights: packed as integers, or masked to zero by pruning."""
    notes: dict[str, object] = {}
    if packed:
        dtypes = sorted({str(w.dtype).removeprefix("torch.q") for w in _tensors(packed) if w.is_quantized})
        notes["quantised layers"] = Fact(
            "{layers}: weights packed as {dtypes: and }, counted",
            layers=list(packed),
            dtypes=dtypes or [Fact("integers")],
        )
    masks = {address: pruned_counts(module) for address, module in model.module.named_modules()}
    pruned = {address: counts for address, counts in masks.items() if counts[1]}
    if pruned:
        zero, total = (sum(counts[n] for counts in pruned.values()) for n in (0, 1))
        notes["pruned layers"] = Fact(
            "{layers}: {zero} of {total} weights are masked to zero, counted nonetheless",
            layers=list(pruned),
            zero=zero,
            total=total,
        )
    return notes


def _operation(
    record: OperationRecord,
    graph: ForwardGraph,
    fields: _ReceptiveFields,
    sizes: dict[int, int],
    number: int,
    packed: dict[str, Tensor],
) -> OperationSummary:
    is_first = not any(
        earlier.module == record.module and earlier.kind.startswith("int8") for earlier in graph.operations[:number]
    )
    own = sum(weight.numel() for weight in packed.values()) if is_first and record.kind.startswith("int8") else 0
    return OperationSummary(
        kind=record.kind,
        name=record.name,
        module=record.module,
        calls=record.calls,
        parents=record.parents,
        moves=record.moves,
        dtype=record.dtype,
        shape=record.shape,
        parameters=sum(sizes[weight] for weight in record.weights) + own,
        flops=record.flops,
        norm_flops=record.norm_flops,
        bytes=record.bytes,
        **fields.of(record.dependence, record.shape),
    )


def _module(
    address: str, module: nn.Module, graph: ForwardGraph, fields: _ReceptiveFields, packed: PackedWeights
) -> ModuleSummary:
    call = graph.layer_calls.get(address, LayerCall((), None, (), 0, 0))
    inside = [
        record
        for record in graph.operations
        if not address or record.module == address or record.module.startswith(f"{address}.")
    ]
    dependence = call.dependence if call.calls or not inside else inside[-1].dependence
    shape = call.shape or (inside[-1].shape if inside else ())
    return ModuleSummary(
        address=address,
        kind=class_name(module),
        detail=_detail(module),
        calls=call.calls or min(1, len(inside)),
        first=call.first if call.calls else graph.operations.index(inside[0]) if inside else len(graph.operations),
        leaf=all(_holds_weights(name) for name, _ in module.named_children()) or address in graph.scripted,
        shape=shape,
        parameters=sum(p.numel() for p in module.parameters())
        + sum(
            weight.numel()
            for inner, weights in packed.items()
            if not address or inner == address or inner.startswith(f"{address}.")
            for weight in weights.values()
        ),
        flops=sum(record.flops for record in inside),
        norm_flops=sum(record.norm_flops for record in inside),
        bytes=sum(record.bytes for record in inside),
        **fields.of(dependence, shape),
    )


def _holds_weights(name: str) -> bool:
    """Whether a child of that name only stores or computes the layer's own weights."""
    return name in ("parametrizations", "_packed_params", "_all_weight_values")


def _is_inside(address: str, modules: Sequence[str]) -> bool:
    """Whether a module lies inside one of these."""
    return any(address != other and (not other or address.startswith(f"{other}.")) for other in modules)


def field_geometry(
    axes: Sequence[Dependence], graph: ForwardGraph
) -> tuple[tuple[int | None, ...], tuple[int | None, ...], tuple[float | None, ...], tuple[float | None, ...]]:
    """The size of the receptive field, that of its local part, the stride and the centre, along each input axis."""
    axes = [numbered_by_position(axis) for axis in axes]
    sizes = tuple(_field_size(axis, extent) for axis, extent in zip(axes, graph.input_shape[2:], strict=False))
    patterns = [axis.pattern for axis in axes]
    local = tuple(None if pattern is None else pattern.size for pattern in patterns)
    stride = tuple(None if pattern is None else pattern.jump for pattern in patterns)
    centre = tuple(
        None if pattern is None or not math.isfinite(pattern.centre) else pattern.centre for pattern in patterns
    )
    return sizes, local, stride, centre


def _field_size(axis: Dependence, extent: int) -> int | None:
    """How many input positions one output position depends on; None for the whole input, 0 for none."""
    largest = axis.max_size
    if largest == 0 or (axis.pattern is not None and not axis.mixes_positions):
        return 0 if largest == 0 or axis.pattern is None else axis.pattern.size
    return None if largest >= extent else largest


def _detail(module: nn.Module) -> str:
    """The settings that distinguish a windowed layer from others of its class: ``3×3 /2``, ``7×7 depthwise``."""
    kernel = getattr(module, "kernel_size", None)
    if not isinstance(kernel, (int, tuple)):
        return ""
    axes = next((int(c) for c in type(module).__name__ if c in "123"), 1)
    details = [_format_sizes((kernel,) * axes if isinstance(kernel, int) else kernel)]
    stride, dilation = getattr(module, "stride", 1), getattr(module, "dilation", 1)
    stride = kernel if stride is None else stride  # LP pooling stores None for the default stride
    details += [f"/{_format_once(stride)}"] if set(_as_tuple(stride)) - {1} else []
    details += [f"dilation {_format_once(dilation)}"] if set(_as_tuple(dilation)) - {1} else []
    groups, channels = getattr(module, "groups", 1), getattr(module, "in_channels", 0)
    details += ["depthwise" if groups == channels else f"{groups} groups"] if groups > 1 else []
    return " ".join(details)


def _format_sizes(sizes: int | Iterable[int]) -> str:
    return "×".join(str(n) for n in _as_tuple(sizes))


def _format_once(sizes: int | Iterable[int]) -> str:
    """One number where all sizes are equal."""
    numbers = _as_tuple(sizes)
    return str(numbers[0]) if len(set(numbers)) == 1 else _format_sizes(numbers)


def _as_tuple(sizes: int | Iterable[int]) -> tuple[int, ...]:
    return (sizes,) if isinstance(sizes, int) else tuple(sizes)
