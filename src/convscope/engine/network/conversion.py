"""How well a network that was opened from another format agrees with its original."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Conversion:
    """How well a network that was converted from another format agrees with its original.

    Attributes:
        engine: the engine that ran the original, with its version.
        difference: the largest difference of an output, divided by the largest output.
    """

    engine: str
    difference: float
