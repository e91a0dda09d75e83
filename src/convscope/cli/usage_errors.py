"""Errors of the command-line parser as one sentence, like all other errors."""

import re
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import typer
from typer.core import TyperGroup

from convscope.cli.console import print_message
from convscope.errors import did_you_mean

UsageError: Any = typer.BadParameter.__mro__[1]
"""The base class of the parser's errors; some versions of typer contain the parser, others depend on it."""


class CommandGroup(TyperGroup):
    """The group of commands; errors of the parser are one sentence with a remedy, with exit status 2."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit with its status."""
        run = partial(super().main, args, prog_name, complete_var, False, windows_expand_args, **extra)
        if not standalone_mode:
            return run()
        try:
            status = run()
        except UsageError as error:
            print_message(f"convscope: {_error_message(error)}")
            sys.exit(2)
        except typer.Abort:
            sys.exit(1)
        sys.exit(status if isinstance(status, int) else 0)

    def get_params(self, ctx: Any) -> list[Any]:
        """The options of the group; a flag that is not given is False.

        typer imports pydantic, a third of the time of a help page, to validate a flag that is neither true nor false.
        """
        params: list[Any] = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False) and param.default is None:
                param.default = False
        return params

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command and its arguments.

        Raises:
            UsageError: an option that takes one value is given several times, of which all but the last would be lost.
        """
        name, command, arguments = super().resolve_command(ctx, args)
        if command is not None and (repeated := _repeated_option(command, arguments)):
            beside = "--beside" in _options(command) and repeated == "--model"
            others = "; --beside names other models" if beside else ""
            raise UsageError(f"{repeated} is given several times, and takes one value{others}", ctx)
        return name, command, arguments


def _options(command: Any) -> dict[str, Any]:
    """The options of a command that take a value, by each of their names."""
    return {
        name: param
        for param in command.params
        if param.param_type_name == "option" and not param.is_flag and not param.count
        for name in param.opts
    }


def _repeated_option(command: Any, arguments: Sequence[str]) -> str:
    """The first option with one value that occurs twice among the arguments, by its longest name; empty if none."""
    options, given = _options(command), set()
    words = iter(arguments)
    for word in words:
        if word == "--":
            break
        name, equals, _ = word.partition("=")
        param = options.get(name)
        if param is None:
            continue
        if not equals:
            next(words, None)  # its value, which may begin as an option
        if param.name in given and not param.multiple:
            return _display_name(param)
        given.add(param.name)
    return ""


def _error_message(error: Any) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "convscope"
    kind = type(error).__name__
    if kind == "NoSuchOption":
        return _no_such_option(error, command)
    if kind == "MissingParameter" and error.param is not None:
        help_ = str(getattr(error.param, "help", "") or "this option is required").partition(";")[0]
        return f"{_display_name(error.param)} is missing: {help_} ('{command} --help' shows details)"
    message = error.format_message() if kind == "BadOptionUsage" or error.__class__ is UsageError else error.message
    message = re.sub(r"^Value error, ", "", str(message)).strip().rstrip(".")
    if getattr(error, "param", None) is not None:
        separator = " " if message.startswith("must") else ": "
        return f"{_display_name(error.param)}{separator}{message}"
    message = re.sub(r"\. Did you mean", "; did you mean", message)
    return f"{message[:1].lower()}{message[1:]} ('{command} --help' lists what is available)"


def _no_such_option(error: Any, command: str) -> str:
    """The message for an unknown option, with a suggestion and all options of the command."""
    if error.ctx is None:
        return f"there is no option {error.option_name}"
    known = [name for param in error.ctx.command.params for name in (*param.opts, *param.secondary_opts)]
    known = [name for name in known if name.startswith("--")]
    suggestion = did_you_mean(error.option_name, known)
    return f"{command} has no option {error.option_name}{suggestion} (it has {', '.join(known)})"


def _display_name(param: Any) -> str:
    """An option by its longest name, an argument by its placeholder."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    return str(max(param.opts, key=len))
