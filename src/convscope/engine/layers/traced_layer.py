"""The output of one layer in a recorded forward pass, with its layout where that follows from the operations."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from convscope.engine.graph.forward_graph import LayerCall
from convscope.engine.layers.feature_layout import FeatureLayout, Shape
from convscope.engine.layers.layout_reading import UnknownLayout, read_layout, region_of
from convscope.engine.network.quantized import QUANTIZED

if TYPE_CHECKING:
    pass


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


def to_traced_layer(visit: LayerCall, images: int, extent: Shape) -> TracedLayer:
    """What is known of a layer from its call in a forward pass of ``images`` images of this spatial extent."""
    layout, unknown_reason, shape = None, "does not depend on the input", visit.shape
    unbatched = images == 1 and _lacks_batch(visit)
    if unbatched:
        visit = _add_batch(visit)
    if 0 in visit.shape:
        unknown_reason = "is empty: the input is too small for it"
    elif visit.batch is not None:
        try:
            layout = read_layout(visit.shape, visit.dependence, visit.batch, images)
            layout = replace(layout, unbatched=unbatched, region=region_of(visit.dependence, layout.grid, extent))
            shape = layout.shape
        except UnknownLayout as error:
            unknown_reason = str(error)
    return TracedLayer(
        shape,
        layout,
        unknown_reason,
        visit.operations,
        visit.calls,
        visit.dtype.is_floating_point or visit.dtype in QUANTIZED,
        earlier=visit.earlier,
        images=images,
        extent=extent,
        mapped=visit.mapped,
    )
