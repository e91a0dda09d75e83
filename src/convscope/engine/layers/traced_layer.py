"""The output of one layer in a recorded forward pass, with its layout where that follows from the operations."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from convscope.engine.graph.dependence_cache import DependenceCache, identity
from convscope.engine.graph.forward_graph import LayerCall
from convscope.engine.layers.feature_layout import FeatureLayout, Shape
from convscope.engine.layers.layout_reading import UnknownLayout, read_layout, region_of
from convscope.engine.network.quantized import QUANTIZED


@dataclass(frozen=True)
class TracedLayer:
    """The output of one layer at its last call.

    Attributes:
        shape: of its output for one image, or for all images that ran where no part of it belongs to one image.
        layout: the layout of the output; ``unknown_reason`` says why it is not known.
        steps: the operations that computed its outputs, one per call.
        calls: how often it ran.
        real: whether its output is real-valued, as maps must be, and not integer or complex.
        probed: whether the layout was searched for by running the network on other inputs.
        declared: the layout as declared in ``Model(…, layouts=…)``, if it was.
        earlier: the records of the calls before the last, of ``images`` images of spatial shape ``extent``.
        mapped: whether it runs under torch.vmap, where it can be neither read nor changed.
    """

    shape: Shape
    layout: FeatureLayout | None
    unknown_reason: str
    steps: tuple[int, ...]
    calls: int
    real: bool
    probed: bool = False
    declared: str = ""
    earlier: tuple[LayerCall, ...] = ()
    images: int = 1
    extent: Shape = ()
    mapped: bool = False

    @cached_property
    def earlier_layouts(self) -> tuple[FeatureLayout | None, ...]:
        """The layout of its output at each call before the last."""
        return tuple(to_traced_layer(visit, self.images, self.extent).layout for visit in self.earlier)

    @property
    def has_positions(self) -> bool:
        """Whether its output holds real numbers at more than one position of the input."""
        return self.real and self.layout is not None and self.layout.has_positions


def _lacks_batch(visit: LayerCall) -> bool:
    """Whether a layer's output for a single image has no batch dimension: only channels precede its positions."""
    if visit.batch is None or len(visit.shape) == len(visit.dependence) + 2 or visit.shape[:1] == (1,):
        return False
    other_dims = [
        d for d, size in enumerate(visit.shape) if size > 1 and not any(axis.lies_along(d) for axis in visit.dependence)
    ]
    return other_dims == [0]


def _add_batch(visit: LayerCall) -> LayerCall:
    """The same record with a batch dimension prepended."""
    dependence = tuple(axis.map(lambda end: end.unsqueeze(0)) for axis in visit.dependence)
    batch = None if visit.batch is None else visit.batch.map(lambda end: end.unsqueeze(0))
    return replace(visit, shape=(1, *visit.shape), dependence=dependence, batch=batch)


_LAYOUTS = DependenceCache[tuple[FeatureLayout | None, str]]()


def to_traced_layers(calls: Mapping[str, LayerCall], images: int, extent: Shape) -> dict[str, TracedLayer]:
    """What is known of layers from their calls in a forward pass of ``images`` images of this spatial extent.

    Layers that hold the very same dependence, as a convolution, its norm and its activation do, share one layout.
    """
    layers = {}
    for address, call in calls.items():
        axes = (*call.dependence, *(() if call.batch is None else (call.batch,)))
        key = (call.shape, identity(call.dependence), id(call.batch), images, extent)
        layout = _LAYOUTS.get_or_compute(key, axes, functools.partial(_read_layout_of_call, call, images, extent))
        layers[address] = _traced_layer(call, images, extent, *layout)
    return layers


def to_traced_layer(call: LayerCall, images: int, extent: Shape) -> TracedLayer:
    """What is known of one layer from its call."""
    return _traced_layer(call, images, extent, *_read_layout_of_call(call, images, extent))


def _traced_layer(
    call: LayerCall, images: int, extent: Shape, layout: FeatureLayout | None, unknown_reason: str
) -> TracedLayer:
    return TracedLayer(
        call.shape if layout is None else layout.shape,
        layout,
        unknown_reason,
        call.operations,
        call.calls,
        call.dtype.is_floating_point or call.dtype in QUANTIZED,
        earlier=call.earlier,
        images=images,
        extent=extent,
        mapped=call.mapped,
    )


def _read_layout_of_call(call: LayerCall, images: int, extent: Shape) -> tuple[FeatureLayout | None, str]:
    """The layout of an output, or None and why there is none."""
    unbatched = images == 1 and _lacks_batch(call)
    if unbatched:
        call = _add_batch(call)
    if 0 in call.shape:
        return None, "is empty: the input is too small for it"
    if call.batch is None:
        return None, "does not depend on the input"
    try:
        layout = read_layout(call.shape, call.dependence, call.batch, images)
    except UnknownLayout as error:
        return None, str(error)
    return replace(layout, unbatched=unbatched, region=region_of(call.dependence, layout.grid, extent)), ""
