"""Layers as steps of a chain."""

from tests.twins.chains import Chain, Dense


def step_after(chain: Chain, address: str) -> int:
    """The number of the step after a layer."""
    return 1 + next(n for n, step in enumerate(chain) if isinstance(step, Dense) and step.address == address)
