"""Handling of Ctrl-C: the command ends with one line and never with a traceback, whenever it occurs."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from convscope_start import EXIT_INTERRUPTED, exit_immediately, exit_on_interrupt

__all__ = ["EXIT_INTERRUPTED", "allow_keyboard_interrupt", "exit_on_interrupt"]


@contextmanager
def allow_keyboard_interrupt() -> Iterator[None]:
    """Context manager in which Ctrl-C raises KeyboardInterrupt, for code with something to clean up."""
    if signal.getsignal(signal.SIGINT) is not exit_immediately:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, exit_immediately)
