"""A network with gates for addresses: ``tests/gated_network.py:gated``, with the same random weights every time."""

import convscope as cs
from tests.nets import LABELS, SIDE, GatedNet, seeded

GATED = f"{__file__}:gated"


def gated() -> cs.Model:
    """The network."""
    return cs.Model(seeded(GatedNet), input=cs.ImageInput(size=SIDE), labels=LABELS)
