"""The application with all commands."""

import os
import sys

import typer

from convscope.catalogue import declared_lenses
from convscope.cli import commands
from convscope.cli.help_text import STYLED, help_text
from convscope.cli.lens_command import placeholder_command
from convscope.cli.usage_errors import CommandGroup
from convscope.spec import FAMILIES


def build_application(words: list[str]) -> typer.Typer:
    """The application; lenses that do not occur in ``words`` have placeholder commands with name and question only."""
    application = typer.Typer(
        name="convscope",
        cls=CommandGroup,
        help="A microscope for convolutional networks: see why a network answered as it did.",
        epilog="Start with: convscope demo. Then: convscope grad-cam cat.jpg --model torchvision:resnet50",
        invoke_without_command=True,  # without a subcommand, the help is shown
        rich_markup_mode="rich" if STYLED else None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.callback()(commands.root)
    for command in commands.COMMANDS:
        application.command(rich_help_panel="Getting started")(command)
    for outline in declared_lenses():
        application.command(
            outline.command,
            help=help_text(f"{outline.title}: {outline.asks}"),
            rich_help_panel=FAMILIES[outline.family],
        )(_lens_command(outline.name) if outline.command in words else placeholder_command)
    return application


def _lens_command(name: str) -> commands.Command:
    from convscope.catalogue import declared_lens
    from convscope.cli.lens_command import lens_command

    return lens_command(declared_lens(name))


def command_line_words() -> list[str]:
    """The arguments of the command line, including those for which a shell requests completions."""
    return [
        *sys.argv[1:],
        *os.environ.get("COMP_WORDS", "").split(),
        *os.environ.get("_TYPER_COMPLETE_ARGS", "").split(),
    ]
