"""Waiting for something to happen: as long as it takes, for how long says nothing on a busy machine."""

import time
from collections.abc import Callable

PATIENCE = 600
"""Seconds after which what was waited for is taken to hang; nothing is measured by them."""


def wait_until(holds: Callable[[], object]) -> None:
    """Come back once ``holds()`` is true."""
    ends = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < ends, "what was waited for did not happen"
        time.sleep(0.01)
