"""Which part of the input each position of a layer can see, read off one recorded forward.

The box is the theoretical receptive field of the position, with all channels together, cut at the input's borders; what
sees everything (attention, a pooled vector) has the whole input.
"""

from collections.abc import Sequence

from convscope.engine.graph import Graph
from convscope.engine.layers.feature_layout import FeatureLayout

Box = tuple[tuple[int, int], ...]
"""From where to where along each spatial axis of the input, the end not included."""


def fields_of(graph: Graph, address: str, layout: FeatureLayout, positions: Sequence[int]) -> list[Box]:
    """The boxes of the input that these positions of a layer can see.

    Args:
        graph: what one forward of the network showed of a single input.
        layout: how the layer's output lies.
        positions: places in the layer's flattened map, as `FeatureLayout.positions` counts them.
    """
    visit, extent = graph.visits[address], graph.input[2:]
    along = [
        tuple(layout.positions(end.expand(visit.shape))[0] for end in (axis.low, axis.high)) for axis in visit.seen
    ]
    boxes = []
    for position in positions:
        ends = [(float(low[:, position].min()), float(high[:, position].max())) for low, high in along]
        seen = all(first <= last for first, last in ends)
        boxes.append(tuple((int(a), int(b) + 1) for a, b in ends) if seen else tuple((0, side) for side in extent))
    return boxes
