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
from convscope.cli.completion import addresses, lens_names, starting
from convscope.cli.console import guarded, put, put_json, say, watched
from convscope.cli.image_arguments import ImageArguments, read_images, say_skipped
from convscope.cli.interrupts import STOPPED, interruptible
from convscope.cli.opening import Opening, files_of, open_model, open_without_weights, opens_a_model
from convscope.cli.results import make_folder, named_after, one_place, save, told
from convscope.errors import ConvScopeError, InputError, MissingExtra, install_command
from convscope.spec import FAMILIES, LOADERS, LensSpec, fill_tables
from convscope.values import Comparison

if TYPE_CHECKING:
    from convscope.engine.data.data_set import Dataset

Command = Callable[..., None]
Lenses = Annotated[
    str | None,
    typer.Option(
        "--lenses",
        help="names of lenses with commas between them; 'convscope lenses' lists all",
        metavar="NAMES",
        autocompletion=lens_names,
    ),
]


def _say_version(wanted: bool) -> None:
    if wanted:
        put(f"convscope {__version__}")
        raise typer.Exit


def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="print the version", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    """A microscope for convolutional networks: see why a network answered as it did."""
    if context.invoked_subcommand is None:
        put(context.get_help())


def demo(
    out: Annotated[Path, typer.Option("--out", help="the folder to write to", metavar="FOLDER")] = Path(
        "convscope-demo"
    ),
    debug: options.Debug = False,
) -> None:
    """Explain bundled images with every lens: a report and pictures, without network."""
    from convscope.cli.demo import run_demo

    run_demo(out)


@opens_a_model
def compare(
    image: options.Images,
    model: options.ModelAddress,
    lenses: Lenses = None,
    target: options.Target = None,
    targets: Annotated[
        str | None,
        typer.Option("--targets", help="several targets with commas between them, each in a column", metavar="NAMES"),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--beside",
            help="another model to compare with; repeat it for more",
            metavar="ADDRESS",
            autocompletion=addresses,
        ),
    ] = None,
    layer: options.Layer = None,
    smooth: options.Smooth = None,
    out: options.Out = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
    *,
    opening: Opening,
) -> None:
    """Put several lenses, targets or models side by side, with how far they agree."""
    images = read_images(image)
    default = f"{named_after('compare', told(target, _names(targets), layer))}.png"
    read = [*images.files, *files_of(model, opening)]
    place = None if out is None and as_json else one_place(out, default, Comparison.writer, read)
    from convscope.catalogue import compare as compare_

    opened = open_model(model, opening)
    others = [open_model(address, opening, beside=True) for address in beside or []]
    batch, data = images.batch(opened)
    shared: dict[str, Any] = _given(target=target, layer=layer, smooth=smooth)
    with watched("comparing") as stopped:
        found = compare_(
            [opened, *others] if others else opened,
            images.readable(data) if others else batch,
            _names(lenses),
            targets=_names(targets),
            **shared,
        )
    if place is not None:
        save(found, place)
    if as_json:
        put_json(found.manifest())
    elif place is not None:
        rows, columns = len(found.rows), len(found.rows[0])
        counted = f"{rows} image{'s' * (rows != 1)} × {columns} column{'s' * (columns != 1)}"
        put(f"{counted}, written to {place}")
    _end(stopped.is_set(), data, images)


@opens_a_model
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
    opening: Opening,
) -> None:
    """Write everything the lenses see in an image into one offline HTML file."""
    images = read_images(image)
    default = f"{named_after('report', told(target, layer))}.html"
    from convscope.reporting import place_for
    from convscope.reporting import report as report_

    place = one_place(out, default, place_for, [*images.files, *files_of(model, opening)])
    opened = open_model(model, opening)
    batch, data = images.batch(opened)
    with watched("looking") as stopped:
        make_folder(place)
        written = report_(opened, batch, lenses=_names(lenses), out=place, **_given(target=target, layer=layer))
    put(f"written to {written}: open it in a browser, it needs no network")
    _end(stopped.is_set(), data, images)


@opens_a_model
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
            autocompletion=starting(("any", "class", "regions", "pixels", "shares", "black-box")),
        ),
    ] = "any",
    as_json: options.Json = False,
    debug: options.Debug = False,
    *,
    opening: Opening,
) -> None:
    """Say which lenses fit a model and a question, and why others do not."""
    images = read_images(image)
    if len(images.members) > 1:
        raise InputError(f"recommend looks at one image, got {len(images.members)}: name one")
    from convscope.catalogue import recommend as recommend_

    opened = open_model(model, opening)
    batch, _ = images.batch(opened)
    found = recommend_(opened, batch, question)
    if as_json:
        put_json(found.manifest())
    else:
        put(str(found))


def lenses(as_json: options.Json = False, debug: options.Debug = False) -> None:
    """List every lens with its question."""
    if as_json:
        from convscope.catalogue import lenses as all_lenses

        put_json([_described(spec) for spec in all_lenses()])
        return
    width = max(len(outline.command) for outline in declared_lenses())
    for family, title in FAMILIES.items():
        members = [outline for outline in declared_lenses() if outline.family == family]
        put("\n".join([title, *(_line(outline, width) for outline in members), ""]))


def models(
    text: Annotated[str, typer.Argument(help="list only names with this in them", metavar="[TEXT]")] = "",
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """List the models that can be loaded."""
    fill_tables()
    found = {spec.scheme: [n for n in spec.names() if text.lower() in n.lower()] for spec in LOADERS.values()}
    if as_json:
        put_json(
            [
                {"scheme": s.scheme, "title": s.title, "example": s.example, "extra": s.extra, "names": found[s.scheme]}
                for s in LOADERS.values()
            ]
        )
        return
    for spec in LOADERS.values():
        names = found[spec.scheme]
        shown = names if text or len(names) < 200 else names[:20]
        more = (
            f" … and {len(names) - len(shown)} more: convscope models TEXT filters" if len(shown) < len(names) else ""
        )
        missing = f" (none: {install_command(spec.extra)})" if spec.extra and not names and not text else ""
        put(f"{spec.title}, for example {spec.example}{missing}")
        put(f"  {' '.join(shown)}{more}\n" if shown else "")


def layers(
    model: options.ModelAddress,
    text: Annotated[str, typer.Argument(help="list only addresses with this in them", metavar="[TEXT]")] = "",
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """List the layer addresses of a model, for --layer."""
    opened = open_without_weights(model)
    named = [(a, type(m).__name__) for a, m in opened.module.named_modules() if a and text in a]
    if as_json:
        put_json([{"layer": a, "kind": kind} for a, kind in named])
        return
    width = max((len(a) for a, _ in named), default=0)
    put("\n".join(f"{a:<{width}}  {kind}" for a, kind in named))


def doctor(debug: options.Debug = False) -> None:
    """Say what is installed and what each missing package would add."""
    import importlib.util

    import torch

    put(f"convscope {__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    put(f"accelerators: {_accelerators(torch.cuda.is_available(), torch.backends.mps.is_available())}")
    for package, extra in (("torchvision", "models"), ("timm", "models")):
        found = importlib.util.find_spec(package) is not None
        put(f"{package}: {'installed' if found else f'missing: {install_command(extra)}'}")
    heic = importlib.util.find_spec("pillow_heif") is not None
    put(f"pillow_heif: {'installed' if heic else f'missing: {sys.executable} -m pip install pillow-heif'} (HEIC)")
    fill_tables()
    for name in LOADERS["bundled"].names():
        try:
            put(f"bundled:{name}: {LOADERS['bundled'].function(name)}")
        except ConvScopeError as error:
            say(f"bundled:{name}: {error}")


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="a model to offer; repeat it for more; the bundled ones by default",
            metavar="ADDRESS",
            autocompletion=addresses,
            show_default=False,
        ),
    ] = None,
    input: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            "-i",
            help="a folder whose images are offered; repeat it for more",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="where to listen; another machine can only come in with a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="the port to listen at", min=1, max=65535)] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", envvar="CONVSCOPE_TOKEN", help="what must be shown to come in", metavar="TEXT", show_envvar=True
        ),
    ] = None,
    allow_load: Annotated[
        bool, typer.Option("--allow-load", help="let models be opened that were not named here; they may run code")
    ] = False,
    no_show: Annotated[bool, typer.Option("--no-show", help="do not open the browser")] = False,
    debug: options.Debug = False,
) -> None:
    """Open the workbench: a local page on which to explore networks, with an HTTP API."""
    try:
        from convscope.web.app import serve as serve_
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "nicegui", "web") from error

    is_open = False

    def ready(address: str) -> None:
        nonlocal is_open
        is_open = True
        say(f"the workbench is at {address} (Ctrl-C ends it)")
        if not no_show:
            webbrowser.open(address)

    try:
        with interruptible():
            serve_(
                model or (), input or (), host=host, port=port, token=token or None, allow_load=allow_load, ready=ready
            )
    except KeyboardInterrupt:  # which is how it ends
        say("the workbench is closed" if is_open else "convscope: stopped")
        if not is_open:
            raise typer.Exit(STOPPED) from None


serve.says_when_interruptible = True  # type: ignore[attr-defined]


def _accelerators(cuda: bool, mps: bool) -> str:
    return (
        ", ".join(name for name, there in (("cuda", cuda), ("mps", mps)) if there) or "none, everything runs on the CPU"
    )


def _names(lenses: str | None) -> list[str] | None:
    return None if lenses is None else [name.strip() for name in lenses.split(",") if name.strip()]


def _end(stopped: bool, data: "Dataset", images: ImageArguments) -> None:
    """Leave with the status of what was stopped, or not done for all images."""
    left_out = say_skipped(data.skipped, len(images.members))
    if stopped or left_out:
        raise typer.Exit(STOPPED if stopped else 1)


def _given(**options_: object) -> dict[str, object]:
    return {name: value for name, value in options_.items() if value not in (None, [], False)}


def _line(outline: LensSpec, width: int) -> str:
    return f"  {outline.command:<{width}}  {outline.asks}"


def _described(spec: object) -> dict[str, object]:
    from convscope.spec import LensSpec

    assert isinstance(spec, LensSpec)
    parameters = {
        p.name: {"default": p.default, "help": p.about.help, "range": p.about.range(), "unit": p.about.unit}
        for p in spec.parameters.values()
    }
    said = ("name", "command", "family", "title", "asks", "reads", "cite", "inputs", "returns", "fails")
    return {**{key: getattr(spec, key) for key in said}, "claims": sorted(spec.claims), "parameters": parameters}


COMMANDS: list[Command] = [
    guarded(c) for c in (demo, serve, report, compare, recommend, lenses, models, layers, doctor)
]
for _command in COMMANDS:  # `guarded` hides nothing: typer reads the signature of the command itself
    _command.__signature__ = inspect.signature(_command.__wrapped__)  # type: ignore[attr-defined]
