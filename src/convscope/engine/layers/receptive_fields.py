"""The theoretical receptive field of each position of a layer, read from one recorded forward pass.

It is the box of input positions on which any channel at the position can depend, clipped at the borders of the input. A
position that depends on everything (attention, a pooled vector) has the whole input.
"""

from collections.abc import Sequence

from convscope.engine.graph import ForwardGraph
from convscope.engine.layers.feature_layout import FeatureLayout

Box = tuple[tuple[int, int], ...]
"""Start and end (exclusive) along each spatial axis of the input."""


def receptive_boxes(graph: ForwardGraph, address: str, layout: FeatureLayout, positions: Sequence[int]) -> list[Box]:
    """The receptive fields of some positions of a layer.

    Args:
        graph: the record of one forward pass of a single input.
        layout: the layout of the layer's output.
        positions: indices into the layer's flattened map, as `FeatureLayout.positions` counts them.
    """
    visit, extent = graph.layer_calls[address], graph.input_shape[2:]
    bounds = [
        tuple(layout.positions(end.expand(visit.shape))[0] for end in (axis.low, axis.high))
        for axis in visit.dependence
    ]
    boxes = []
    for position in positions:
        ends = [(float(low[:, position].min()), float(high[:, position].max())) for low, high in bounds]
        depends = all(low_end <= high_end for low_end, high_end in ends)
        boxes.append(
            tuple((int(low_end), int(high_end) + 1) for low_end, high_end in ends)
            if depends
            else tuple((0, size) for size in extent)
        )
    return boxes
