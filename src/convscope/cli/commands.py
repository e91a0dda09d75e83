"""The commands that are not lenses."""

import inspect
import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from convscope import __version__
from convscope.cli import options
from convscope.cli.completion import complete_choices, complete_lens_names, complete_model_addresses
from convscope.cli.console import print_json, print_message, print_result, report_errors, track_progress
from convscope.cli.convert_command import convert
from convscope.cli.doctor_command import doctor
from convscope.cli.image_arguments import ImageArguments, parse_images, report_skipped
from convscope.cli.interrupts import EXIT_INTERRUPTED, allow_keyboard_interrupt
from convscope.cli.listing_commands import layers, lenses, models
from convscope.cli.model_opening import (
    OpeningValues,
    model_files,
    open_model,
    with_opening_options,
)
from convscope.cli.result_paths import join_name_parts, make_parent_folder, output_path, save_value, target_slug
from convscope.cli.train_command import train
from convscope.cli.training_command import training
from convscope.errors import InputError, MissingExtra
from convscope.values import Comparison

Command = Callable[..., None]
Lenses = Annotated[
    str | None,
    typer.Option(
        "--lenses",
        help="names of lenses, separated by commas; 'convscope lenses' lists all",
        metavar="NAMES",
        autocompletion=complete_lens_names,
    ),
]


def _print_version(requested: bool) -> None:
    if requested:
        print_result(f"convscope {__version__}")
        raise typer.Exit


def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="print the version", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """A microscope for convolutional networks: see why a network answered as it did."""
    if context.invoked_subcommand is None:
        print_result(context.get_help())


def demo(
    out: Annotated[Path, typer.Option("--out", help="the folder to write to", metavar="FOLDER")] = Path(
        "convscope-demo"
    ),
    debug: options.Debug = False,
) -> None:
    """Explain bundled images with every lens: a report and pictures, without network."""
    from convscope.cli.demo import run_demo

    run_demo(out)


@with_opening_options
def compare(
    image: options.Images,
    model: options.ModelAddress,
    lenses: Lenses = None,
    target: options.Target = None,
    targets: Annotated[
        str | None,
        typer.Option("--targets", help="several targets, separated by commas, one column each", metavar="NAMES"),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--beside",
            help="another model to compare with; repeat for more",
            metavar="ADDRESS",
            autocompletion=complete_model_addresses,
        ),
    ] = None,
    layer: options.Layer = None,
    smooth: options.Smooth = None,
    explain: options.ExplainOne = None,
    out: options.Out = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
    *,
    opening: OpeningValues,
) -> None:
    """Compare several lenses, targets or models side by side, and measure their agreement."""
    images = parse_images(image)
    default = f"{join_name_parts('compare', target_slug(target, _split_names(targets), layer))}.png"
    input_files = [*images.files, *model_files(model, opening)]
    path = None if out is None and as_json else output_path(out, default, Comparison.writer, input_files)
    from convscope.catalogue import compare as compare_

    opened = open_model(model, opening)
    others = [open_model(address, opening, beside=True) for address in beside or []]
    batch, skipped = images.batch(opened)
    shared = _drop_unset(target=target, layer=layer, smooth=smooth, explain=explain)
    with track_progress("comparing") as stopped:
        comparison = compare_(
            [opened, *others] if others else opened,
            images.readable(skipped) if others else batch,
            _split_names(lenses),
            targets=_split_names(targets),
            **shared,
        )
    if path is not None:
        save_value(comparison, path)
    if as_json:
        print_json(comparison.manifest())
    elif path is not None:
        rows, columns = len(comparison.rows), len(comparison.rows[0])
        size = f"{rows} image{'s' * (rows != 1)} × {columns} column{'s' * (columns != 1)}"
        print_result(f"{size}, written to {path}")
    _exit_on_problems(stopped.is_set(), skipped, images)


@with_opening_options
def report(
    image: options.Images,
    model: options.ModelAddress,
    lenses: Lenses = None,
    target: options.Target = None,
    layer: options.Layer = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="the HTML file to write, or a folder for it", metavar="PLACE"),
    ] = None,
    debug: options.Debug = False,
    *,
    opening: OpeningValues,
) -> None:
    """Write the results of several lenses for an image into one offline HTML file."""
    images = parse_images(image)
    default = f"{join_name_parts('report', target_slug(target, layer))}.html"
    from convscope.reporting import place_for
    from convscope.reporting import report as report_
    from convscope.training.diagnosis import shortcut_statements

    path = output_path(out, default, place_for, [*images.files, *model_files(model, opening)])
    opened = open_model(model, opening)
    batch, skipped = images.batch(opened)
    with track_progress("computing") as stopped:
        make_parent_folder(path)
        arguments = _drop_unset(target=target, layer=layer)
        arguments["statements"] = statements = shortcut_statements(opened, batch)
        written = report_(opened, batch, lenses=_split_names(lenses), out=path, **arguments)
    for statement in statements:
        print_result(statement)
    print_result(f"written to {written}: open it in a browser, it needs no network")
    _exit_on_problems(stopped.is_set(), skipped, images)


@with_opening_options
def recommend(
    image: options.Images,
    model: options.ModelAddress,
    question: Annotated[
        str,
        typer.Option(
            "--question",
            "-q",
            help="any, class, regions, pixels, shares or black-box",
            metavar="QUESTION",
            autocompletion=complete_choices(("any", "class", "regions", "pixels", "shares", "black-box")),
        ),
    ] = "any",
    as_json: options.Json = False,
    debug: options.Debug = False,
    *,
    opening: OpeningValues,
) -> None:
    """List the lenses that are applicable to a model and a question, and why others are not."""
    images = parse_images(image)
    if len(images.members) > 1:
        raise InputError(f"recommend takes one image, got {len(images.members)}: name one")
    from convscope.catalogue import recommend as recommend_

    opened = open_model(model, opening)
    batch, _ = images.batch(opened)
    recommendation = recommend_(opened, batch, question)
    if as_json:
        print_json(recommendation.manifest())
    else:
        print_result(str(recommendation))


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="a model to offer; repeat for more; by default the bundled models",
            metavar="ADDRESS",
            autocompletion=complete_model_addresses,
            show_default=False,
        ),
    ] = None,
    input: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            "-i",
            help="a folder of images to offer; repeat for more",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
    log: Annotated[
        list[Path] | None,
        typer.Option(
            "--log",
            help="the log directory of a training to follow; repeat for more",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="the address to listen on; access from other machines requires a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="the port to listen on", min=1, max=65535)] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="CONVSCOPE_TOKEN",
            help="the access token that clients must send",
            metavar="TEXT",
            show_envvar=True,
        ),
    ] = None,
    allow_load: Annotated[
        bool, typer.Option("--allow-load", help="allow opening models other than those of --model; they may run code")
    ] = False,
    no_show: Annotated[bool, typer.Option("--no-show", help="do not open the browser")] = False,
    debug: options.Debug = False,
) -> None:
    """Start the workbench: local web pages for exploring networks, with an HTTP API."""
    try:
        from convscope.web.server.app import serve as serve_
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "nicegui", "web") from error

    is_open = False

    def announce(address: str) -> None:
        nonlocal is_open
        is_open = True
        print_message(f"the workbench is at {address} (Ctrl-C ends it)")
        if not no_show:
            webbrowser.open(address)

    try:
        with allow_keyboard_interrupt():
            serve_(
                model or (),
                input or (),
                logs=log or (),
                host=host,
                port=port,
                token=token or None,
                allow_load=allow_load,
                ready=announce,
            )
    except KeyboardInterrupt:  # the normal way to stop the server
        print_message("the workbench is closed" if is_open else "convscope: stopped")
        if not is_open:
            raise typer.Exit(EXIT_INTERRUPTED) from None


serve.handles_interrupts = True  # type: ignore[attr-defined]


def _split_names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _exit_on_problems(stopped: bool, skipped: Mapping[str, str], images: ImageArguments) -> None:
    """Exit with a nonzero status if the command was interrupted or images were left out."""
    if report_skipped(skipped, len(images.members)) or stopped:
        raise typer.Exit(EXIT_INTERRUPTED if stopped else 1)


def _drop_unset(**arguments: object) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value not in (None, [], False)}


COMMANDS: list[Command] = [
    report_errors(c)
    for c in (demo, serve, report, compare, recommend, lenses, models, layers, convert, train, training, doctor)
]
for _command in COMMANDS:  # typer reads the signature of the wrapped command, which has ``debug``
    _command.__signature__ = inspect.signature(_command.__wrapped__)  # type: ignore[attr-defined]
