"""The command ``convert``: an opened network written to files."""

from pathlib import Path
from typing import Annotated

import typer

from convscope.cli import options
from convscope.cli.completion import complete_model_addresses
from convscope.cli.console import print_json, print_result, track_progress
from convscope.cli.model_opening import OpeningValues, model_files, open_model, with_opening_options
from convscope.cli.result_paths import make_parent_folder, output_path, target_slug


@with_opening_options
def convert(
    model: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="the address of a model or a model file",
            show_default=False,
            autocompletion=complete_model_addresses,
        ),
    ],
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="a folder or a .safetensors file (weights, and a Python module beside them that rebuilds the "
            "network), or an .onnx file",
            show_default=False,
        ),
    ],
    as_json: options.Json = False,
    debug: options.Debug = False,
    *,
    opening: OpeningValues,
) -> None:
    """Write an opened model to files: weights with a Python module that rebuilds it, or ONNX."""
    from convscope.loaders.saving import refuse_other_endings, save_network

    inputs = [*model_files(model, opening), model.partition("?")[0]]
    default = f"{_stem(model)}.safetensors"
    path = output_path(out, default, refuse_other_endings, inputs)
    opened = open_model(model, opening)
    with track_progress("writing"):
        make_parent_folder(path)
        files, difference = save_network(opened, path)
    if as_json:
        print_json({"files": [str(file) for file in files], "difference": difference})
        return
    compared = "not compared (onnxruntime is not installed)"
    if difference is not None:
        compared = f"differs by {difference:.1e} of the largest output"
    module = next((file for file in files if file.suffix == ".py"), None)
    opens = f"; open it with --model {module}:make" if module else ""
    print_result(f"{', '.join(str(file) for file in files)} written, {compared}{opens}")


def _stem(address: str) -> str:
    """A name for files, from the address of a model."""
    base = address.partition("?")[0]
    name = Path(base).stem if Path(base).suffix and ":" not in base else base.rpartition(":")[2]
    return target_slug(name).replace("-", "_") or "network"
