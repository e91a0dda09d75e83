"""The commands that list or describe: lenses, models, layers, and what is installed."""

import sys
from typing import Annotated

import typer

from convscope import __version__
from convscope.catalogue import declared_lenses
from convscope.cli import options
from convscope.cli.console import print_json, print_message, print_result
from convscope.cli.model_opening import (
    OpeningValues,
    is_address,
    open_model,
    open_without_weights,
    with_opening_options,
)
from convscope.cli.model_text import description_text
from convscope.errors import ConvScopeError, install_command
from convscope.spec import FAMILIES, FILE_FORMATS, LOADERS, LensSpec

OPTIONAL_PACKAGES = {
    "torchvision": "models",
    "timm": "models",
    "h5py": "keras",
    "onnx": "onnx",
    "transformers": "transformers",
    "tensorboardX": "training",
}
"""By package: the extra that installs it."""


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
                {"scheme": "", "title": f.title, "example": f.example, "extra": f.extra, "names": [], "format": f.name}
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
    modules = [(a, m) for a, m in opened.module.named_modules() if a and text in a]
    named = [(a, str(getattr(m, "original_name", type(m).__name__))) for a, m in modules]
    if as_json:
        print_json([{"layer": a, "kind": kind} for a, kind in named])
        return
    width = max((len(a) for a, _ in named), default=0)
    print_result("\n".join(f"{a:<{width}}  {kind}" for a, kind in named))


def report_installation() -> None:
    """Report installed packages, accelerators and bundled models, with install commands for missing packages."""
    import importlib.util

    import torch

    print_result(f"convscope {__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print_result(f"accelerators: {_accelerators(torch.cuda.is_available(), torch.backends.mps.is_available())}")
    for package, extra in OPTIONAL_PACKAGES.items():
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


def _accelerators(cuda: bool, mps: bool) -> str:
    available = [name for name, is_available in (("cuda", cuda), ("mps", mps)) if is_available]
    return ", ".join(available) or "none, everything runs on the CPU"


def _line(outline: LensSpec, width: int) -> str:
    return f"  {outline.command:<{width}}  {outline.asks}"


def _to_json(spec: LensSpec) -> dict[str, object]:
    parameters = {
        p.name: {"default": p.default, "help": p.about.help, "range": p.about.range(), "unit": p.about.unit}
        for p in spec.parameters.values()
    }
    fields = ("name", "command", "family", "title", "asks", "reads", "cite", "inputs")
    plain = {**{key: getattr(spec, key) for key in fields}, "returns": spec.returns.__name__, "fails": spec.fails}
    return {**plain, "claims": sorted(spec.claims), "parameters": parameters}
