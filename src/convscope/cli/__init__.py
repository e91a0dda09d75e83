"""The command line: every lens is a command, made from its declaration.

Only the lens that is called is imported; `convscope --help` reads the declarations' text and leaves torch alone.
Ctrl-C is provided for before anything else is imported.
"""

import signal
from typing import TYPE_CHECKING

from convscope.cli.interrupts import leave_on_interrupt

if TYPE_CHECKING:
    import typer


def main() -> None:
    """Run the command line."""
    leave_on_interrupt()
    from convscope.cli.application import words
    from convscope.cli.completion import completing_in_bash
    from convscope.cli.terminal import write_what_can_be_shown

    write_what_can_be_shown()
    try:
        with completing_in_bash():
            app(words())()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what remains is the interpreter's end: nothing to stop


def app(words: list[str]) -> "typer.Typer":
    """The application, with the lens that ``words`` name in full and the others by name and question."""
    from convscope.cli.application import application

    return application(words)
