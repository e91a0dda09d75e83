"""Waiting for conditions and threads, without assertions on the elapsed time."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

TIMEOUT = 600
"""Seconds after which a wait fails."""


def wait_until(holds: Callable[[], object]) -> None:
    """Wait until ``holds()`` is true."""
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)


def run_in_threads(work: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> None:
    """Run ``work`` in one thread per tuple of arguments, and wait until all are finished."""
    threads = [threading.Thread(target=work, args=args) for args in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert not any(thread.is_alive() for thread in threads)
