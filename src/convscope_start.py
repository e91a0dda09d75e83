"""What the command ``convscope`` starts with: Ctrl-C is provided for before the package itself is imported.

Importing the package takes some hundredths of a second, in which an interrupt would otherwise end in a traceback. So
this module stands beside the package and imports nothing of it until that is done.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # as typing has it, which takes too long to import here
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

STOPPED = 130
"""The exit status of a command that was stopped, as shells have it: 128 and the signal's number."""


def main() -> None:
    """Run the command line."""
    leave_on_interrupt()
    from convscope.cli import main as run

    run()


def leave_on_interrupt() -> None:
    """Have Ctrl-C end the process at once, as long as there is nothing to clean up: while modules are imported.

    An exception would not do: raised in the middle of somebody's import it may be swallowed, or shown as a traceback.
    Where interrupts are ignored, as in the background of a shell, they stay so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)


def leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Say so and end the process."""
    os.write(2, b"convscope: stopped\n")
    os._exit(STOPPED)
