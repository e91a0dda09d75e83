"""The commands that are not lenses."""

import inspect
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope import __version__
from convscope.catalogue import declared_lenses
from convscope.cli import options
from convscope.cli.completion import complete_choices, complete_lens_names, complete_model_addresses
from convscope.cli.console import print_json, print_message, print_result, report_errors, track_progress
from convscope.cli.image_arguments import ImageArguments, parse_images, report_skipped
from convscope.cli.interrupts import EXIT_INTERRUPTED, allow_keyboard_interrupt
from convscope.cli.model_opening import (
    OpeningValues,
    is_address,
    model_files,
    open_model,
    open_without_weights,
    with_opening_options,
)
from convscope.cli.model_text import description_text
from convscope.cli.result_paths import join_name_parts, make_parent_folder, output_path, save_value, target_slug
from convscope.errors import ConvScopeError, InputError, MissingExtra, install_command
from convscope.spec import FAMILIES, FILE_FORMATS, LOADERS, LensSpec
from convscope.values import Comparison

if TYPE_CHECKING:
    from convscope.engine.data.data_set import Dataset

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
    batch, data = images.batch(opened)
    shared = _drop_unset(target=target, layer=layer, smooth=smooth)
    with track_progress("comparing") as stopped:
        comparison = compare_(
            [opened, *others] if others else opened,
            images.readable(data) if others else batch,
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
    _exit_on_problems(stopped.is_set(), data, images)


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

    path = output_path(out, default, place_for, [*images.files, *model_files(model, opening)])
    opened = open_model(model, opening)
    batch, data = images.batch(opened)
    with track_progress("computing") as stopped:
        make_parent_folder(path)
        arguments = _drop_unset(target=target, layer=layer)
        written = report_(opened, batch, lenses=_split_names(lenses), out=path, **arguments)
    print_result(f"written to {written}: open it in a browser, it needs no network")
    _exit_on_problems(stopped.is_set(), data, images)


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


def lenses(as_json: options.Json = False, debug: options.Debug = False) -> None:
    """List all lenses with their questions."""
    if as_json:
        from convscope.catalogue import lenses as all_lenses

        print_json([_to_json(spec) for spec in all_lenses()])
        return
    width = max(len(outline.command) for outline in declared_lenses())
    for family, title in FAMILIES.items():
        members = [outline for outline in declared_lenses() if outline.family == family]
        print_result("\n".join([title, *(_line(outline, width) for outline in members), ""]))


@with_opening_options
def models(
    text: Annotated[
        str,
        typer.Argument(
            help="list only names that contain this text; for an address or a model file, describe that model",
            metavar="[TEXT]",
        ),
    ] = "",
    as_json: options.Json = False,
    debug: options.Debug = False,
    *,
    opening: OpeningValues,
) -> None:
    """List the models that can be loaded, or describe one: its task, input, labels and layers."""
    LOADERS.fill()
    if is_address(text):
        from convscope.runtime.model_description import describe_model

        description = describe_model(open_model(text, opening))
        if as_json:
            print_json(description)
        else:
            print_result(description_text(description))
        return
    names = {spec.scheme: [n for n in spec.names() if text.lower() in n.lower()] for spec in LOADERS.values()}
    if as_json:
        print_json(
            [
                {"scheme": s.scheme, "title": s.title, "example": s.example, "extra": s.extra, "names": names[s.scheme]}
                for s in LOADERS.values()
            ]
            + [
                {"format": f.name, "title": f.title, "example": f.example, "extra": f.extra}
                for f in FILE_FORMATS.values()
                if not text
            ]
        )
        return
    for spec in LOADERS.values():
        of_scheme = names[spec.scheme]
        shown = of_scheme if text or len(of_scheme) < 200 else of_scheme[:20]
        rest = len(of_scheme) - len(shown)
        more = f" … and {rest} more: convscope models TEXT filters" if rest else ""
        missing = f" (none: {install_command(spec.extra)})" if spec.extra and not of_scheme and not text else ""
        print_result(f"{spec.title}, for example {spec.example}{missing}")
        print_result(f"  {' '.join(shown)}{more}\n" if shown else "")
    for file_format in FILE_FORMATS.values() if not text else ():
        print_result(f"{file_format.title}, for example {file_format.example}")


def layers(
    model: options.ModelAddress,
    text: Annotated[str, typer.Argument(help="list only addresses that contain this text", metavar="[TEXT]")] = "",
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """List the layer addresses of a model, for --layer."""
    opened = open_without_weights(model)
    named = [(a, type(m).__name__) for a, m in opened.module.named_modules() if a and text in a]
    if as_json:
        print_json([{"layer": a, "kind": kind} for a, kind in named])
        return
    width = max((len(a) for a, _ in named), default=0)
    print_result("\n".join(f"{a:<{width}}  {kind}" for a, kind in named))


def doctor(debug: options.Debug = False) -> None:
    """Report installed packages, accelerators and bundled models, with install commands for missing packages."""
    import importlib.util

    import torch

    print_result(f"convscope {__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print_result(f"accelerators: {_accelerators(torch.cuda.is_available(), torch.backends.mps.is_available())}")
    for package, extra in (("torchvision", "models"), ("timm", "models")):
        installed = importlib.util.find_spec(package) is not None
        print_result(f"{package}: {'installed' if installed else f'missing: {install_command(extra)}'}")
    heic = importlib.util.find_spec("pillow_heif") is not None
    print_result(
        f"pillow_heif: {'installed' if heic else f'missing: {sys.executable} -m pip install pillow-heif'} (HEIC)"
    )
    LOADERS.fill()
    for name in LOADERS["bundled"].names():
        try:
            print_result(f"bundled:{name}: {LOADERS['bundled'].function(name)}")
        except ConvScopeError as error:
            print_message(f"bundled:{name}: {error}")


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


def _accelerators(cuda: bool, mps: bool) -> str:
    available = [name for name, is_available in (("cuda", cuda), ("mps", mps)) if is_available]
    return ", ".join(available) or "none, everything runs on the CPU"


def _split_names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _exit_on_problems(stopped: bool, data: "Dataset", images: ImageArguments) -> None:
    """Exit with a nonzero status if the command was interrupted or images were skipped."""
    skipped = report_skipped(data.skipped, len(images.members))
    if stopped or skipped:
        raise typer.Exit(EXIT_INTERRUPTED if stopped else 1)


def _drop_unset(**arguments: object) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value not in (None, [], False)}


def _line(outline: LensSpec, width: int) -> str:
    return f"  {outline.command:<{width}}  {outline.asks}"


def _to_json(spec: object) -> dict[str, object]:
    from convscope.spec import LensSpec

    assert isinstance(spec, LensSpec)
    parameters = {
        p.name: {"default": p.default, "help": p.about.help, "range": p.about.range(), "unit": p.about.unit}
        for p in spec.parameters.values()
    }
    fields = ("name", "command", "family", "title", "asks", "reads", "cite", "inputs")
    plain = {**{key: getattr(spec, key) for key in fields}, "returns": spec.returns.__name__, "fails": spec.fails}
    return {**plain, "claims": sorted(spec.claims), "parameters": parameters}


COMMANDS: list[Command] = [
    report_errors(c) for c in (demo, serve, report, compare, recommend, lenses, models, layers, doctor)
]
for _command in COMMANDS:  # typer reads the signature of the wrapped command, which has ``debug``
    _command.__signature__ = inspect.signature(_command.__wrapped__)  # type: ignore[attr-defined]
