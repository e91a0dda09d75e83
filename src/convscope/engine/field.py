"""Which part of the input each position of a layer can see, read off one recorded forward.

The box is the theoretical receptive field of the position, with all channels together, cut at the input's borders; what
sees everything (attention, a pooled vector) has the whole input.
"""

from collections.abc import Sequence

from torch import Tensor

from convscope.engine.channels import by_channel
from convscope.engine.graph import Graph

Box = tuple[tuple[int, int], ...]
"""From where to where along each spatial axis of the input, the end not included."""


def fields_of(graph: Graph, address: str, positions: Sequence[int]) -> list[Box]:
    """The boxes of the input that these positions of a layer can see.

    Args:
        graph: what one forward of the network showed.
        positions: places in the layer's flattened map, as `by_channel` counts them.
    """
    visit, extent = graph.visits[address], graph.input[2:]
    along = [(_of(one.low, visit.shape, extent), _of(one.high, visit.shape, extent)) for one in visit.seen]
    boxes = []
    for position in positions:
        ends = [(float(low[:, position].min()), float(high[:, position].max())) for low, high in along]
        seen = all(first <= last for first, last in ends)
        boxes.append(tuple((int(a), int(b) + 1) for a, b in ends) if seen else tuple((0, side) for side in extent))
    return boxes


def _of(end: Tensor, shape: tuple[int, ...], extent: tuple[int, ...]) -> Tensor:
    """One end of what is seen, for each channel and position."""
    found = by_channel(end.expand(shape), extent, 1)
    assert found is not None, "a layer whose maxima were read is made of one part per image"
    return found[0]
