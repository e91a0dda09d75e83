"""Numbers of layers at the input and at the output of a network, for checks that compare both ends."""

import math
from collections.abc import Sequence

FEWEST_LAYERS, LEAST = 4, 1e-30


def first_and_last_quarter(numbers: Sequence[float]) -> tuple[float, float] | None:
    """The geometric means over the first and over the last quarter of the layers; None if there are too few layers.

    Args:
        numbers: one for each layer, from the input to the output; zero counts as `LEAST`.
    """
    if len(numbers) < FEWEST_LAYERS:
        return None
    logs = [math.log(max(number, LEAST)) for number in numbers]
    part = len(logs) // 4
    return math.exp(sum(logs[:part]) / part), math.exp(sum(logs[-part:]) / part)
