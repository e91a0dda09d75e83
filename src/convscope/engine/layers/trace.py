"""What one forward shows of a network: which layers ran, in which order, and how their outputs lie."""

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from convscope.engine.context.chunking import is_out_of_memory
from convscope.engine.context.ports import Port, layer_of, no_such_port, port_of
from convscope.engine.graph.build import Graph, Visit, recorded
from convscope.engine.graph.recorder import INPUT
from convscope.engine.layers.described_layout import layout_given
from convscope.engine.layers.feature_layout import (
    RESAMPLED,
    FeatureLayout,
    Shape,
    UnknownLayout,
    read_layout,
    region_of,
)
from convscope.engine.layers.layout_probing import probe_layout
from convscope.engine.network.cache import Entry
from convscope.engine.network.checks import company, next_to
from convscope.engine.network.memory_format import LayoutWatch, is_undecided, learn
from convscope.engine.network.packaged import unreached
from convscope.engine.network.quantized import QUANTIZED
from convscope.engine.network.vmap import UNDER_VMAP
from convscope.errors import ImagesInParts, LayerError, ModelFailed, OutputError, did_you_mean

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

_PASS_THROUGH = (nn.Identity, nn.modules.dropout._DropoutNd)
"""Modules that hand on in eval mode what they were given: the layer before them is the one to name."""


@dataclass(frozen=True)
class TracedLayer:
    """What one layer gave at its last call.

    Attributes:
        shape: its output for one image, or for all images that ran where no part of it belongs to one image.
        layout: how the output lies; ``why_not`` says why that is not known.
        steps: the operations that made its outputs, one a call.
        calls: how often it ran.
        real: whether it gives real numbers, as maps are made of, and not whole or complex ones.
        probed: whether the layout was looked for by running the network on other inputs; ``given`` what the person who
            built the model said of it.
        earlier: what was recorded of the calls before the last, of ``images`` images of that ``extent``.
        mapped: whether it runs under torch.vmap, where it can be neither read nor changed.
    """

    shape: Shape
    layout: FeatureLayout | None
    why_not: str
    steps: tuple[int, ...]
    calls: int
    real: bool
    probed: bool = False
    given: str = ""
    earlier: tuple[Visit, ...] = ()
    images: int = 1
    extent: Shape = ()
    mapped: bool = False

    @cached_property
    def earlier_layouts(self) -> tuple[FeatureLayout | None, ...]:
        """How its output lies at each call before the last."""
        return tuple(_layer(visit, self.images, self.extent).layout for visit in self.earlier)

    @property
    def has_places(self) -> bool:
        """Whether it gives real numbers at more than one position of the input."""
        return self.real and self.layout is not None and self.layout.has_places


@dataclass(frozen=True)
class Traced:
    """What one forward showed.

    Attributes:
        order: the address of every call of every layer, in the order of finishing.
        layers: what each layer gave, by address.
        answer: the shape of the output for one image.
        output: the operation that made the output; None where it does not depend on the input.
        parents: of each operation those whose results it read, `INPUT` for the network's input.
        moves: which operations only show or copy numbers that were there.
        without_tensor: layers that give something else than tensors, by address its class.
        ports: what each tensor was that a layer took or gave, by address as in ``conv2:input``; read when it is wanted.
        image: the image that was run, and ``in_company`` what the network gave for it behind another one; None where
            it takes no two images.
        one_by_one: whether layers run for one image of a batch after the other, so that each call shows a single one.
    """

    order: tuple[str, ...]
    layers: dict[str, TracedLayer]
    answer: Shape
    output: int | None
    parents: tuple[tuple[int, ...], ...]
    moves: tuple[bool, ...]
    without_tensor: dict[str, str]
    ports: dict[str, Visit]
    image: Tensor
    in_company: Tensor | None
    one_by_one: bool = False

    @property
    def classes(self) -> int:
        """How many classes the output scores."""
        return self.answer[0]

    @cached_property
    def handed_on(self) -> frozenset[str]:
        """The layers whose very output is the network's, perhaps in another shape."""
        step = self.output
        chain = set()
        while step is not None and step != INPUT:
            chain.add(step)
            step = self.parents[step][0] if self.moves[step] and len(self.parents[step]) == 1 else None
        return frozenset(a for a, layer in self.layers.items() if chain & set(layer.steps[-1:]))

    def share_of_paths(self, address: str, end: int) -> float:
        """Which share of all paths from the input to the operation ``end`` goes through that layer."""
        barrier = set(self.layers[address].steps)
        around = self._paths(end, barrier)
        return 1 - around / max(1, self._paths(end, set()))

    def _paths(self, end: int, barrier: set[int]) -> int:
        """How many paths lead from the input to an operation, around some others."""
        count = {INPUT: 1}
        for step in range(end + 1):
            count[step] = 0 if step in barrier else sum(count[parent] for parent in self.parents[step])
        return count[end]

    def cuts(self, address: str, end: int) -> bool:
        """Whether everything that goes from the input to the operation ``end`` goes through that layer's outputs."""
        barrier = set(self.layers[address].steps)
        if not barrier:
            return False
        waiting, met = [end], {end}
        while waiting:
            step = waiting.pop()
            if step in barrier:
                continue
            if step == INPUT:
                return False
            waiting += [parent for parent in self.parents[step] if parent not in met]
            met.update(self.parents[step])
        return bool(barrier & met)


_TRACES: Entry[dict[tuple[int, ...], Traced]] = Entry("traces", dict)
"""By the shape of an input, which layers ran and how their outputs lie."""


def traced(model: "Model", tensor: Tensor) -> Traced:
    """Run the model once per input shape and note how its layers' outputs lie.

    What runs is the first image, or rather a place beside it where no number is lower, behind another image.
    """
    key = tuple(tensor.shape[1:])
    if key not in model.cache[_TRACES]:
        image = next_to(tensor[:1])
        model.cache[_TRACES][key] = _read(model, image, *_record(model, image))
    return model.cache[_TRACES][key]


def calls_of(model: "Model", address: str, tensor: Tensor) -> int:
    """How often a layer runs in one forward; a reused layer is read at its last call."""
    layer = traced(model, tensor).layers.get(layer_of(address))
    return 1 if layer is None else max(1, layer.calls)


def layout_of(model: "Model", address: str, tensor: Tensor) -> FeatureLayout:
    """How a layer's output for inputs like ``tensor`` lies.

    Raises:
        LayerError: it never runs, or it cannot be known.
    """
    layer = layer_at(model, address, tensor)
    if layer.layout is None:
        raise LayerError(
            f"layer {address!r} gives shape {layer.shape}, which {layer.why_not}: choose another layer, or say how its "
            f"output lies, as in Model(…, layouts={{{address!r}: 'N C H W'}})"
        )
    return layer.layout


def layer_at(model: "Model", address: str, tensor: Tensor) -> TracedLayer:
    """What a layer gives for inputs like ``tensor``; where operations do not tell how it lies, other inputs are run.

    Raises:
        LayerError: it never runs.
    """
    trace = traced(model, tensor)
    if (port := port_of(address)) is not None and address not in trace.layers:
        trace.layers[address] = _at_port(model, trace, port, address)
    layers, layer = trace.layers, trace.layers.get(address)
    if address in trace.without_tensor:
        kind = trace.without_tensor[address]
        raise LayerError(f"layer {address!r} gives {kind}, not a tensor: choose another layer")
    if layer is None:
        raise LayerError(unreached(model.module, address))
    if layer.mapped:
        raise LayerError(f"layer {address!r} {UNDER_VMAP}")
    if layer.layout is None and not layer.probed and 0 not in layer.shape:
        layer = layers[address] = _probed(model, address, tensor, layer)
    return layer


def _at_port(model: "Model", trace: Traced, port: Port, address: str) -> TracedLayer:
    """What one of the tensors is that a layer takes or gives.

    Raises:
        LayerError: the layer never runs, or has no such tensor.
    """
    if address in trace.ports:
        return replace(
            _layer(trace.ports[address], 1 if trace.in_company is None else 2, tuple(trace.image.shape[2:])),
            calls=trace.layers[port.layer].calls,
        )
    there = sum(name.rstrip("0123456789") == f"{port.layer}:{port.side}" for name in trace.ports)
    if not there:
        raise LayerError(unreached(model.module, port.layer))
    raise LayerError(no_such_port(port, there))


def _probed(model: "Model", address: str, tensor: Tensor, layer: TracedLayer) -> TracedLayer:
    try:
        layout = probe_layout(model, address, tensor)
    except UnknownLayout as error:
        return replace(layer, why_not=f"{layer.why_not} and {error}", probed=True)
    return replace(layer, layout=layout, shape=layout.shape, probed=True)


def layout_at_call(model: "Model", address: str, tensor: Tensor, call: int) -> FeatureLayout | None:
    """How a layer's output lies at that call, the first is 1; None where it cannot be known."""
    layer = layer_at(model, address, tensor)
    if call > len(layer.earlier) or layer.given or layer.probed:
        return layer.layout
    return layer.earlier_layouts[call - 1]


def all_images(layout: FeatureLayout, address: str, images: int, output: Tensor) -> Tensor:
    """A layer's output, once it is sure that it is that of all images.

    Raises:
        ImagesInParts: it is that of some of them, as where a network takes a batch two by two.
    """
    if not layout.unbatched and output.shape[layout.batch] != images * layout.outer * layout.inner:
        raise ImagesInParts(
            f"layer {address!r} ran for some of {images} images at a time: look at one image at a time, or choose "
            "another layer"
        )
    return output


def map_at(model: "Model", address: str, tensor: Tensor, activation: Tensor) -> Tensor:
    """What a layer gave for inputs like ``tensor`` as a map (N, C, …); refused where it is none."""
    layout = layout_of(model, address, tensor)
    all_images(layout, address, len(tensor), activation)
    if layout.no_map == RESAMPLED:
        raise LayerError(resampled(address))
    if layout.no_map:
        raise LayerError(
            f"layer {address!r} gives shape {tuple(activation.shape)}, which {layout.no_map}: choose another layer, or "
            "leave layer out for the default one"
        )
    if not layout.has_places:
        elsewhere = any(layer.has_places for layer in traced(model, tensor).layers.values())
        way_out = "choose an earlier layer, or leave layer out for the last one that has"
        raise LayerError(
            f"layer {address!r} gives shape {tuple(activation.shape)}, which has no spatial extent: "
            + (way_out if elsewhere else f"no layer of {model.name} has; {lenses_without_a_map(tensor)}")
        )
    return layout.to_map(activation)


def resampled(address: str) -> str:
    """In words: why a layer behind ``grid_sample`` has no map of the input, and what to do."""
    return (
        f"layer {address!r} {RESAMPLED}: choose a layer before that, or say how it lies, as in Model(…, "
        f"layouts={{{address!r}: 'N C H W'}}), to have its map drawn as if nothing had moved"
    )


def lenses_without_a_map(tensor: Tensor) -> str:
    """In words: what to use where no layer has a map."""
    if math.prod(tensor.shape[2:]) > 1:
        return "lenses of the input such as integrated-gradients and kernel-shap need none"
    return "lenses of the input such as gradient-x-input, or integrated-gradients with baseline='black', need none"


def _record(model: "Model", image: Tensor) -> tuple[Graph, int, bool]:
    """One recorded forward of an image behind another one, or alone where the network takes no two of them together.

    Returns:
        The record, how many images it is of, and whether the network's layers run for one image after the other.
    """
    for other in (company(image, bold=True), image):
        try:
            graph = _recorded_as_it_lies(model, torch.cat([other, image]))
        except (ModelFailed, OutputError) as error:
            if is_out_of_memory(error):
                break
        else:
            if any(_runs_for_single_images(visit) for visit in graph.visits.values()):
                with suppress(ModelFailed, OutputError):  # it may need two images, which it takes apart
                    return recorded(model, image, selected=True), 1, True
            return graph, 2, False
    return recorded(model, image, selected=True), 1, False


def _runs_for_single_images(visit: Visit) -> bool:
    """Whether a layer ran once for one image and once for another."""
    of_one = {
        float(v.batch.place) for v in (*visit.earlier, visit) if v.batch is not None and v.batch.place.numel() == 1
    }
    return len(of_one - {-1.0}) > 1


def _recorded_as_it_lies(model: "Model", pair: Tensor) -> Graph:
    """One recorded forward, which also shows whether the network takes inputs that lie channels-last."""
    if not is_undecided(model.module, pair):
        return recorded(model, pair, images=2, selected=True)
    model.layout_watch = watch = LayoutWatch(model.module)
    try:
        laid = pair.clone(memory_format=torch.channels_last)
        graph = recorded(model, pair, images=2, selected=True, laid=laid)
    except (ModelFailed, OutputError):
        watch.minds = True
    finally:
        model.layout_watch = None
    if not watch.minds:
        learn(model.module, pair, takes=True)
        return graph
    graph = recorded(model, pair, images=2, selected=True, laid=pair.clone(memory_format=torch.contiguous_format))
    learn(model.module, pair, takes=False)
    return graph


def _read(model: "Model", image: Tensor, graph: Graph, images: int, one_by_one: bool) -> Traced:
    named = {a for a, m in model.module.named_modules() if a and not isinstance(m, _PASS_THROUGH)}
    extent = tuple(graph.input[2:])
    layers = {address: _layer(visit, images, extent) for address, visit in graph.visits.items() if address}
    for address, text in model.layouts.items():
        if address not in layers:
            known = did_you_mean(address, list(layers))
            raise LayerError(f"the model's layouts name {address!r}, which is no layer that runs{known}")
        visit = graph.visits[address]
        layout = layout_given(text, address, visit.shape, images, len(graph.input) - 2)
        layers[address] = replace(layers[address], layout=layout, shape=layout.shape, given=text)
    return Traced(
        _made_by_themselves([address for address, _ in graph.finished if address in named], layers),
        layers,
        graph.output_shape[1:],
        graph.output,
        tuple(step.parents for step in graph.steps),
        tuple(step.moves for step in graph.steps),
        graph.without_tensor,
        graph.ports,
        image,
        graph.last_output if images > 1 else None,
        one_by_one,
    )


def _made_by_themselves(finished: list[str], layers: dict[str, TracedLayer]) -> tuple[str, ...]:
    """Those layers that made what they gave, they or their parts.

    Others hand on the tensor that they were given, as observers do. Whether the network goes on with what they gave
    or with that tensor cannot be told, and the layer that made it is the one to name.
    """
    makers: dict[int, str] = {}
    kept = []
    for address in finished:
        steps = layers[address].steps
        own = not steps
        for step in steps:
            maker = makers.setdefault(step, address)
            own |= maker == address or maker.startswith(f"{address}.")
        if own:
            kept.append(address)
    return tuple(kept)


def _has_no_batch(visit: Visit) -> bool:
    """Whether what a layer gave for a single image has no dimension for the batch: only channels before the places."""
    if visit.batch is None or len(visit.shape) == len(visit.seen) + 2 or visit.shape[:1] == (1,):
        return False
    beside = [d for d, size in enumerate(visit.shape) if size > 1 and not any(axis.varies(d) for axis in visit.seen)]
    return beside == [0]


def _with_batch(visit: Visit) -> Visit:
    """The same with a dimension for the batch in front."""
    seen = tuple(axis.each(lambda end: end.unsqueeze(0)) for axis in visit.seen)
    batch = None if visit.batch is None else visit.batch.each(lambda end: end.unsqueeze(0))
    return replace(visit, shape=(1, *visit.shape), seen=seen, batch=batch)


def _layer(visit: Visit, images: int, extent: Shape) -> TracedLayer:
    layout, why_not, shape = None, "does not depend on the input", visit.shape
    unbatched = images == 1 and _has_no_batch(visit)
    if unbatched:
        visit = _with_batch(visit)
    if 0 in visit.shape:
        why_not = "is empty: the input is too small for it"
    elif visit.batch is not None:
        try:
            layout = read_layout(visit.shape, visit.seen, visit.batch, images)
            layout = replace(layout, unbatched=unbatched, region=region_of(visit.seen, layout.grid, extent))
            shape = layout.shape
        except UnknownLayout as error:
            why_not = str(error)
    return TracedLayer(
        shape,
        layout,
        why_not,
        visit.steps,
        visit.calls,
        visit.dtype.is_floating_point or visit.dtype in QUANTIZED,
        earlier=visit.earlier,
        images=images,
        extent=extent,
        mapped=visit.mapped,
    )
