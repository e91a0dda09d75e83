"""What the parser of the command line refuses, in one sentence as everything else is."""

import re
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import typer
from typer.core import TyperGroup

from convscope.cli.console import say
from convscope.errors import did_you_mean

UsageError: Any = typer.BadParameter.__mro__[1]
"""Whatever the parser refuses; the parser comes with typer in some of its versions, and beside it in others."""


class Commands(TyperGroup):
    """The commands, whose parser's refusals are one sentence with the way out, and the status 2."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command."""
        run = partial(super().main, args, prog_name, complete_var, False, windows_expand_args, **extra)
        if not standalone_mode:
            return run()
        try:
            status = run()
        except UsageError as error:
            say(f"convscope: {_sentence(error)}")
            sys.exit(2)
        except typer.Abort:
            sys.exit(1)
        sys.exit(status if isinstance(status, int) else 0)


def _sentence(error: Any) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "convscope"
    kind = type(error).__name__
    if kind == "NoSuchOption":
        return _no_such_option(error, command)
    if kind == "MissingParameter" and error.param is not None:
        about = str(getattr(error.param, "help", "") or "it must be given").partition(";")[0]
        return f"{_called(error.param)} is missing: {about} ('{command} --help' says more)"
    said = error.format_message() if kind == "BadOptionUsage" or error.__class__ is UsageError else error.message
    said = re.sub(r"^Value error, ", "", str(said)).strip().rstrip(".")
    if getattr(error, "param", None) is not None:
        return f"{_called(error.param)} {said}" if said.startswith("must") else f"{_called(error.param)}: {said}"
    said = re.sub(r"\. Did you mean", "; did you mean", said)
    return f"{said[:1].lower()}{said[1:]} ('{command} --help' shows what there is)"


def _no_such_option(error: Any, command: str) -> str:
    """The option that was meant, or all that the command has."""
    if error.ctx is None:
        return f"there is no option {error.option_name}"
    known = [name for param in error.ctx.command.params for name in (*param.opts, *param.secondary_opts)]
    known = [name for name in known if name.startswith("--")]
    near = did_you_mean(error.option_name, known)
    return f"{command} has no option {error.option_name}{near} (it has {', '.join(known)})"


def _called(param: Any) -> str:
    """An option by its longest name, an argument by what stands for it."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    return str(max(param.opts, key=len))
