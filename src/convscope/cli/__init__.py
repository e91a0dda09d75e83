"""The command line: every lens is a command, generated from its declaration.

Only the lens that is called is imported; help texts are made from the declarations, which are data, without torch. The
handler for Ctrl-C is installed before anything else is imported.
"""

import signal
import sys
from typing import TYPE_CHECKING

from convscope.cli.interrupts import exit_on_interrupt

if TYPE_CHECKING:
    import typer


def main() -> None:
    """Run the command line."""
    exit_on_interrupt()
    from convscope.cli.completion import adapt_bash_completion
    from convscope.cli.terminal import replace_unencodable_characters

    replace_unencodable_characters()
    try:
        with adapt_bash_completion():
            _application()()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the exit of the interpreter remains


def _application() -> "typer.Typer":
    """The application; an error of a package that adds lenses or inputs is one sentence, as those of commands are."""
    from convscope.cli.console import print_message
    from convscope.errors import LoadError

    try:
        from convscope.cli.application import command_line_words  # reads the kinds of inputs, also those of packages

        return app(command_line_words())
    except LoadError as error:
        print_message(f"convscope: {error}")
        sys.exit(2)


def app(words: list[str]) -> "typer.Typer":
    """The application; only the lens that occurs in ``words`` is imported, with all of its options."""
    from convscope.cli.application import build_application

    return build_application(words)
