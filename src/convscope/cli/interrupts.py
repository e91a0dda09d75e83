"""What Ctrl-C does to a command: one line and an end, at whatever moment it comes, and never a traceback."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from convscope_start import STOPPED, leave, leave_on_interrupt

__all__ = ["STOPPED", "interruptible", "leave_on_interrupt"]


@contextmanager
def interruptible() -> Iterator[None]:
    """Work that has something to clean up: within, Ctrl-C raises KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is not leave:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, leave)
