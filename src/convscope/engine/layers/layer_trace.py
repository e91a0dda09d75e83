"""One recorded forward pass of a network: which layers ran, in which order, and how their outputs are laid out."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from torch import Tensor, nn

from convscope.engine.context.ports import Port, layer_of, no_such_port, port_of
from convscope.engine.graph.forward_graph import ForwardGraph, LayerCall
from convscope.engine.graph.recorder import INPUT
from convscope.engine.layers.described_layout import parse_layout
from convscope.engine.layers.feature_layout import FeatureLayout, Shape
from convscope.engine.layers.forward_recording import record_forward
from convscope.engine.layers.layout_probing import probe_layout
from convscope.engine.layers.layout_reading import RESAMPLED, UnknownLayout
from convscope.engine.layers.traced_layer import TracedLayer, to_traced_layer, to_traced_layers
from convscope.engine.network.assumption_checks import jittered
from convscope.engine.network.cache import CacheEntry
from convscope.engine.network.scripted_modules import unreached_message
from convscope.engine.network.vmap import UNDER_VMAP
from convscope.errors import ImagesInParts, LayerError, did_you_mean

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

_PASS_THROUGH = (nn.Identity, nn.modules.dropout._DropoutNd)
"""Modules that return their input unchanged in eval mode: the layer before them is named instead."""

_MAX_OUTPUTS = 16
"""How many outputs of a layer are looked at."""


@dataclass(frozen=True)
class LayerTrace:
    """The record of one forward pass.

    Attributes:
        order: the address of every call of every layer, in the order of finishing.
        layers: the output of each layer, by address.
        output_shape: the shape of the network's output for one image.
        output: the operation that computed the output; None where it does not depend on the input.
        parents: for each operation, those whose results it read; `INPUT` stands for the network's input.
        moves: which operations only view or copy existing numbers.
        without_tensor: the class of the output of layers that return no tensor, by address.
        ports: the records of the inputs and outputs of layers, by address as in ``conv2:input``; read on demand.
        image: the image that was run.
        batched_output: the network's output for that image when it is the second of a batch; None where the network
            accepts no batch of two.
        one_by_one: whether layers run for one image of a batch after another, so that each call processes only one.
    """

    order: tuple[str, ...]
    layers: dict[str, TracedLayer]
    output_shape: Shape
    output: int | None
    parents: tuple[tuple[int, ...], ...]
    moves: tuple[bool, ...]
    without_tensor: dict[str, str]
    ports: dict[str, LayerCall]
    image: Tensor
    batched_output: Tensor | None
    one_by_one: bool = False

    def returns_results_of_its_output(self, address: str) -> bool:
        """Whether a layer returns, beside its first output, numbers that were computed from it.

        Such a container (a backbone that returns feature maps and their pooled values) has passed its first output on
        before a hook can replace it.
        """
        steps = self.layers[address].steps
        ports = (self.ports.get(f"{address}:output{number}") for number in range(1, _MAX_OUTPUTS))
        others = [port.operation for port in ports if port is not None and port.operation is not None]
        return bool(steps) and any(self._follows(operation, steps[-1]) for operation in others)

    def _follows(self, operation: int, earlier: int) -> bool:
        """Whether an operation was computed from the result of an earlier one."""
        pending = [operation] if operation > earlier else []
        visited = set(pending)
        while pending:
            for parent in self.parents[pending.pop()]:
                if parent == earlier:
                    return True
                if parent > earlier and parent not in visited:
                    visited.add(parent)
                    pending.append(parent)
        return False

    @property
    def classes(self) -> int:
        """How many classes the output scores."""
        return self.output_shape[0]

    @cached_property
    def output_layers(self) -> frozenset[str]:
        """The layers whose output is that of the network, possibly in another shape."""
        step = self.output
        chain = set()
        while step is not None and step != INPUT:
            chain.add(step)
            step = self.parents[step][0] if self.moves[step] and len(self.parents[step]) == 1 else None
        return frozenset(a for a, layer in self.layers.items() if chain & set(layer.steps[-1:]))

    def share_of_paths(self, address: str, end: int) -> float:
        """The share of all paths from the input to the operation ``end`` that lead through that layer."""
        barrier = set(self.layers[address].steps)
        avoiding = self._count_paths(end, barrier)
        return 1 - avoiding / max(1, self._count_paths(end, set()))

    def _count_paths(self, end: int, barrier: set[int]) -> int:
        """The number of paths from the input to the operation ``end`` that avoid the operations in ``barrier``."""
        count = {INPUT: 1}
        for step in range(end + 1):
            count[step] = 0 if step in barrier else sum(count[parent] for parent in self.parents[step])
        return count[end]

    def is_on_every_path(self, address: str, end: int) -> bool:
        """Whether every path from the input to the operation ``end`` leads through that layer's outputs."""
        barrier = set(self.layers[address].steps)
        if not barrier:
            return False
        pending, visited = [end], {end}
        while pending:
            step = pending.pop()
            if step in barrier:
                continue
            if step == INPUT:
                return False
            pending += [parent for parent in self.parents[step] if parent not in visited]
            visited.update(self.parents[step])
        return bool(barrier & visited)


_TRACES: CacheEntry[dict[tuple[int, ...], LayerTrace]] = CacheEntry("traces", dict)
"""The recorded forward pass, by the shape of the input."""


def trace_layers(model: "Model", tensor: Tensor) -> LayerTrace:
    """Run the model once per input shape and record how the outputs of its layers are laid out.

    The batch that runs is another image, followed by the first image of ``tensor`` with a little nonnegative noise.
    """
    key = tuple(tensor.shape[1:])
    if key not in model.cache[_TRACES]:
        image = jittered(tensor[:1])
        model.cache[_TRACES][key] = _to_trace(model, image, *record_forward(model, image))
    return model.cache[_TRACES][key]


def call_count(model: "Model", address: str, tensor: Tensor) -> int:
    """How often a layer runs in one forward pass; a reused layer is read at its last call."""
    layer = trace_layers(model, tensor).layers.get(layer_of(address))
    return 1 if layer is None else max(1, layer.calls)


def layout_of(model: "Model", address: str, tensor: Tensor) -> FeatureLayout:
    """The layout of a layer's output for inputs like ``tensor``.

    Raises:
        LayerError: the layer never runs, or the layout cannot be determined.
    """
    layer = traced_layer(model, address, tensor)
    if layer.layout is None:
        raise LayerError(
            f"layer {address!r} gives shape {layer.shape}, which {layer.unknown_reason}: choose another layer, or "
            f"declare its layout, as in Model(…, layouts={{{address!r}: 'N C H W'}})"
        )
    return layer.layout


def traced_layer(model: "Model", address: str, tensor: Tensor) -> TracedLayer:
    """The recorded output of a layer for inputs like ``tensor``.

    Where the recorded operations do not determine its layout, the network is run on other inputs.

    Raises:
        LayerError: the layer never runs, returns no tensor, or runs under torch.vmap.
    """
    trace = trace_layers(model, tensor)
    if (port := port_of(address)) is not None and address not in trace.layers:
        trace.layers[address] = _trace_port(model, trace, port, address)
    layers, layer = trace.layers, trace.layers.get(address)
    if address in trace.without_tensor:
        kind = trace.without_tensor[address]
        raise LayerError(f"layer {address!r} gives {kind}, not a tensor: choose another layer")
    if layer is None:
        raise LayerError(unreached_message(model.module, address))
    if layer.mapped:
        raise LayerError(f"layer {address!r} {UNDER_VMAP}")
    if layer.layout is None and not layer.probed and 0 not in layer.shape:
        layer = layers[address] = _probe(model, address, tensor, layer)
    return layer


def _trace_port(model: "Model", trace: LayerTrace, port: Port, address: str) -> TracedLayer:
    """The record of one of the inputs or outputs of a layer.

    Raises:
        LayerError: the layer never runs, or has no such input or output.
    """
    if address in trace.ports:
        return replace(
            to_traced_layer(
                trace.ports[address], 1 if trace.batched_output is None else 2, tuple(trace.image.shape[2:])
            ),
            calls=trace.layers[port.layer].calls,
        )
    count = sum(name.rstrip("0123456789") == f"{port.layer}:{port.side}" for name in trace.ports)
    if not count:
        raise LayerError(unreached_message(model.module, port.layer))
    raise LayerError(no_such_port(port, count))


def _probe(model: "Model", address: str, tensor: Tensor, layer: TracedLayer) -> TracedLayer:
    try:
        layout = probe_layout(model, address, tensor)
    except UnknownLayout as error:
        return replace(layer, unknown_reason=f"{layer.unknown_reason} and {error}", probed=True)
    return replace(layer, layout=layout, shape=layout.shape, probed=True)


def layout_at_call(model: "Model", address: str, tensor: Tensor, call: int) -> FeatureLayout | None:
    """The layout of a layer's output at that call, counted from 1; None where it cannot be determined."""
    layer = traced_layer(model, address, tensor)
    if call > len(layer.earlier) or layer.declared or layer.probed:
        return layer.layout
    return layer.earlier_layouts[call - 1]


def require_all_images(layout: FeatureLayout, address: str, images: int, output: Tensor) -> Tensor:
    """Return a layer's output after checking that it is that of all images.

    Raises:
        ImagesInParts: it is that of some of them, as where a network processes a batch two by two.
    """
    if not layout.unbatched and output.shape[layout.batch] != images * layout.outer * layout.inner:
        raise ImagesInParts(
            f"layer {address!r} ran for some of {images} images at a time: pass one image at a time, or choose "
            "another layer"
        )
    return output


def as_feature_map(model: "Model", address: str, tensor: Tensor, activation: Tensor) -> Tensor:
    """A layer's output for inputs like ``tensor`` as a map (N, C, …).

    Raises:
        LayerError: it has no spatial extent, or is no map of the input.
        ImagesInParts: it is the output for some of the images.
    """
    layout = layout_of(model, address, tensor)
    require_all_images(layout, address, len(tensor), activation)
    if layout.no_map == RESAMPLED:
        raise LayerError(resampled_message(address))
    if layout.no_map:
        raise LayerError(
            f"layer {address!r} gives shape {tuple(activation.shape)}, which {layout.no_map}: choose another layer, or "
            "leave layer out for the default one"
        )
    if not layout.has_positions:
        others_have = any(layer.has_positions for layer in trace_layers(model, tensor).layers.values())
        remedy = "choose an earlier layer, or leave layer out for the last one that has"
        raise LayerError(
            f"layer {address!r} gives shape {tuple(activation.shape)}, which has no spatial extent: "
            + (remedy if others_have else f"no layer of {model.name} has; {lenses_without_map_hint(tensor)}")
        )
    return layout.to_map(activation)


def resampled_message(address: str) -> str:
    """The message why a layer after ``grid_sample`` has no map of the input, and what to do."""
    return (
        f"layer {address!r} {RESAMPLED}: choose a layer before that, or declare its layout, as in Model(…, "
        f"layouts={{{address!r}: 'N C H W'}}), to draw its map as if nothing had been moved"
    )


def lenses_without_map_hint(tensor: Tensor) -> str:
    """The part of a message that says what to use where no layer has a map."""
    if math.prod(tensor.shape[2:]) > 1:
        return "lenses of the input such as integrated-gradients and kernel-shap need none"
    return "lenses of the input such as gradient-x-input, or integrated-gradients with baseline='black', need none"


def _to_trace(model: "Model", image: Tensor, graph: ForwardGraph, images: int, one_by_one: bool) -> LayerTrace:
    named = {
        address for address, module in model.module.named_modules() if address and not isinstance(module, _PASS_THROUGH)
    }
    extent = tuple(graph.input_shape[2:])
    calls = {address: call for address, call in graph.layer_calls.items() if address}
    layers = to_traced_layers(calls, images, extent)
    for address, declared in model.layouts.items():
        if address not in layers:
            suggestion = did_you_mean(address, list(layers))
            raise LayerError(f"the model's layouts name {address!r}, which is no layer that runs{suggestion}")
        visit = graph.layer_calls[address]
        layout = parse_layout(declared, address, visit.shape, images, len(graph.input_shape) - 2)
        layers[address] = replace(layers[address], layout=layout, shape=layout.shape, declared=declared)
    return LayerTrace(
        _without_pass_through([address for address, _ in graph.call_order if address in named], layers),
        layers,
        graph.output_shape[1:],
        graph.output_operation,
        tuple(step.parents for step in graph.operations),
        tuple(step.moves for step in graph.operations),
        graph.without_tensor,
        graph.ports,
        image,
        graph.last_output if images > 1 else None,
        one_by_one,
    )


def _without_pass_through(finished: list[str], layers: dict[str, TracedLayer]) -> tuple[str, ...]:
    """The layers whose output was computed by themselves or their children.

    Others return the tensor they received, as observers do. Whether the network continues with what they returned or
    with the original cannot be distinguished, so the layer that computed it is the one to name.
    """
    producers: dict[int, str] = {}
    computing = []
    for address in finished:
        steps = layers[address].steps
        computed = not steps
        for step in steps:
            producer = producers.setdefault(step, address)
            computed |= producer == address or producer.startswith(f"{address}.")
        if computed:
            computing.append(address)
    return tuple(computing)
