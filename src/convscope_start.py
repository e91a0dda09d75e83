"""The entry point of the command ``convscope``: installs the handler for Ctrl-C before importing the package.

Importing the package takes some hundredths of a second, during which an interrupt would otherwise end in a traceback.
This module therefore lives outside the package and imports it only after the handler is installed.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # as in typing, which takes too long to import
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

EXIT_INTERRUPTED = 130
"""The exit status of an interrupted command, by the convention of shells: 128 plus the number of the signal."""


def main() -> None:
    """Run the command line."""
    exit_on_interrupt()
    from convscope.cli import main as run

    run()


def exit_on_interrupt() -> None:
    """Make Ctrl-C end the process immediately, while modules are imported and there is nothing to clean up.

    An exception is not suitable: raised during an import, it may be swallowed or shown as a traceback. If interrupts
    are ignored, as in a shell's background job, they stay ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, exit_immediately)


def exit_immediately(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Print a message and end the process."""
    os.write(2, b"convscope: stopped\n")
    os._exit(EXIT_INTERRUPTED)
