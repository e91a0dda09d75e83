"""What Ctrl-C does to a command: one line and an end, at whatever moment it comes, and never a traceback."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

STOPPED = 130
"""The exit status of a command that was stopped before it began, as shells have it: 128 and the signal's number."""


def leave_on_interrupt() -> None:
    """Have Ctrl-C end the process at once, as long as there is nothing to clean up: while modules are imported.

    An exception would not do: raised in the middle of somebody's import it may be swallowed, or shown as a traceback.
    Where interrupts are ignored, as in the background of a shell, they stay so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


@contextmanager
def interruptible() -> Iterator[None]:
    """Work that has something to clean up: within, Ctrl-C raises KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is not _leave:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _leave)


def _leave(_signal: int, _frame: Any) -> NoReturn:
    os.write(2, b"convscope: stopped\n")
    os._exit(STOPPED)
