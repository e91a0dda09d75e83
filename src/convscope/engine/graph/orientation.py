"""In which order the positions of a map lie on the input: mirrored or rolled maps keep their order through filters.

Windows count their positions 0, 1, … as they lie in memory. The line of an axis, which falls where a map is mirrored,
and the first and last input position that each position sees tell whether that is the order of the input.
"""

import torch
from torch import Tensor

from convscope.engine.graph.seen import Seen

_FEWEST = 3
"""Positions of which an order can be read."""
_LONGEST = 1024
_CLEARLY = 0.3
"""How much closer another order has to be to what the positions see than the order in memory."""


def in_input_order(seen: Seen) -> Tensor:
    """Places that grow with the input's positions, along the one dimension on which the axis lies; else as they are."""
    place = seen.place
    dims = [d for d, size in enumerate(place.shape) if size > 1]
    if len(dims) != 1 or bool((place < 0).any()):
        return place
    if seen.line is not None:
        return place if seen.line.shift > 0 else place.max() - place
    if not _FEWEST <= place.numel() <= _LONGEST or len(torch.unique(place)) < place.numel():
        return place
    found = _rolled_or_mirrored(seen, dims[0])
    return place if found is None else found.to(place).view(place.shape)


def _rolled_or_mirrored(seen: Seen, dim: int) -> Tensor | None:
    """The places by what positions see, where that is clearly a roll or a mirror image of the order in memory."""
    count = seen.place.numel()
    others = [d for d in range(seen.low.ndim) if d != dim]
    low, high = (
        fold(end, others).expand(count).double() for fold, end in ((torch.amin, seen.low), (torch.amax, seen.high))
    )
    extent = float(high.max()) + 1
    telling = (low <= high) & (high - low + 1 < extent)
    if int(telling.sum()) < 2:
        return None
    centres = ((low + high + 1) / (2 * extent) * count - 0.5)[telling]  # as a position of so many
    own = seen.place.flatten().double().argsort(stable=True).argsort(stable=True)
    ahead = (own + torch.arange(count)[:, None]) % count
    orders = torch.cat([ahead, count - 1 - ahead])
    errors = (orders[:, telling] - centres).square().mean(1)
    best = int(errors.argmin())
    return orders[best] if float(errors[0]) > 1 and float(errors[best]) < _CLEARLY * float(errors[0]) else None
