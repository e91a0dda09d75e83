"""All commands put together."""

import os
import sys

import typer

from convscope.catalogue import declared_lenses
from convscope.cli import commands
from convscope.cli.help_text import STYLED, help_text
from convscope.cli.lens_command import placeholder
from convscope.cli.usage import Commands
from convscope.spec import FAMILIES


def application(words: list[str]) -> typer.Typer:
    """The application, with the lens that ``words`` name in full and the others by name and question."""
    made = typer.Typer(
        name="convscope",
        cls=Commands,
        help="A microscope for convolutional networks: see why a network answered as it did.",
        epilog="Start with: convscope demo. Then: convscope grad-cam cat.jpg --model torchvision:resnet50",
        invoke_without_command=True,  # which shows the help
        rich_markup_mode="rich" if STYLED else None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(commands.root)
    for command in commands.COMMANDS:
        made.command(rich_help_panel="Start and look around")(command)
    for outline in declared_lenses():
        made.command(
            outline.command,
            help=help_text(f"{outline.title}: {outline.asks}"),
            rich_help_panel=FAMILIES[outline.family],
        )(_body(outline.name) if outline.command in words else placeholder)
    return made


def _body(name: str) -> commands.Command:
    from convscope.catalogue import find
    from convscope.cli.lens_command import lens_command

    return lens_command(find(name))


def words() -> list[str]:
    """The words of the command line, also while a shell asks for completions."""
    return [
        *sys.argv[1:],
        *os.environ.get("COMP_WORDS", "").split(),
        *os.environ.get("_TYPER_COMPLETE_ARGS", "").split(),
    ]
