"""Waiting for something to happen: as long as it takes, for how long says nothing on a busy machine."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

PATIENCE = 600
"""Seconds after which what was waited for is taken to hang; nothing is measured by them."""


def wait_until(holds: Callable[[], object]) -> None:
    """Come back once ``holds()`` is true."""
    ends = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < ends, "what was waited for did not happen"
        time.sleep(0.01)


def in_threads(work: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> None:
    """Have a thread for each of the arguments do the work, and come back once all are done."""
    threads = [threading.Thread(target=work, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
