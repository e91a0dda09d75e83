"""The options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from convscope.cli.completion import complete_layers, complete_model_addresses
from convscope.cli.help_text import help_text
from convscope.spec import INPUT_KINDS, InputKind
from convscope.spec.tasks import task_names

Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE",
        help="image files, folders, samples such as sample:shapes/7 or ranges of them such as sample:shapes/0-9, or - "
        "for standard input; for a network that takes several inputs, NAME=FILE for each",
        show_default=False,
    ),
]
DataSet = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IMAGES", help="folders of images, image files, samples or ranges of them", show_default=False
    ),
]
ExampleImage = Annotated[
    list[str] | None,
    typer.Argument(metavar="IMAGE", help="an image to run the network on (optional)", show_default=False),
]
ModelAddress = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="a file such as net.keras, net.onnx or net.pt2, or torchvision:NAME, timm:NAME, hf:NAME, keras:NAME, "
        "bundled:NAME or net.py:FUNCTION; add ?weights=none for random weights, ?weights=FILE for those of a file, "
        "?output=PART for a part of the output or for its kind (probabilities, value, …)",
        metavar="ADDRESS",
        show_default=False,
        autocompletion=complete_model_addresses,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="a weight file to load into the model (.safetensors, .pt, .pth)", metavar="FILE"),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="open a weight file that can run code; only for files from a trusted source")
]
Labels = Annotated[
    Path | None,
    typer.Option("--labels", help="a file with the names of the classes: one per line, or JSON", metavar="FILE"),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        help="size of the preprocessed images, such as 224 or 224x320 (height x width)",
        metavar="SIZE",
    ),
]
Resize = Annotated[
    str | None,
    typer.Option(
        "--resize",
        help="length of the shorter side in pixels to which images are resized before the center crop",
        metavar="SIDE",
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        "--mean", help="mean per channel of pixels scaled to 0 … 1, such as 0.485,0.456,0.406", metavar="NUMBERS"
    ),
]
Std = Annotated[
    str | None,
    typer.Option("--std", help="standard deviation per channel, such as 0.229,0.224,0.225", metavar="NUMBERS"),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        help=f"what the network does, where its output does not show it: {', '.join(task_names())}",
        metavar="TASK",
    ),
]
Units = Annotated[
    str | None,
    typer.Option(
        "--units", help="units of the numbers that a regression gives, such as mm or mm,degrees", metavar="UNITS"
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", help="the device to compute on, such as cuda or cuda:1", metavar="DEVICE")
]


def _input_option(kind: InputKind) -> Any:
    """The option of an input, from what its kind declares."""
    names = [f"--{kind.name.replace('_', '-')}", *([kind.short] if kind.short else [])]
    completion = complete_layers if "layers" in kind.suggests else None
    return typer.Option(*names, help=help_text(kind.help), metavar=kind.metavar or "TEXT", autocompletion=completion)


Target = Annotated[str | None, _input_option(INPUT_KINDS["target"])]
Layer = Annotated[list[str] | None, _input_option(INPUT_KINDS["layer"])]


def input_annotation(kind: InputKind, *, each_image: bool) -> Any:
    """The annotation of the command-line parameter of an input.

    Args:
        each_image: whether the lens explains each image; otherwise an image is only an example.
    """
    by_content = {
        "network": ModelAddress,
        "image": Images if each_image else ExampleImage,
        "data set": DataSet,
    }
    if kind.content in by_content:
        return by_content[kind.content]
    return Annotated[list[str] | None if kind.several else str | None, _input_option(kind)]


Smooth = Annotated[
    int | None,
    typer.Option(
        "--smooth", help="number of noisy copies of the image to average over, with spread and sign agreement"
    ),
]
Explain = Annotated[
    list[str] | None,
    typer.Option(
        "--explain",
        help="of a network that takes several inputs, the one to explain, or several, each with its own --explain; "
        "the others are held",
        metavar="NAME",
    ),
]
ExplainOne = Annotated[
    str | None,
    typer.Option(
        "--explain",
        help="of a network that takes several inputs, the one to explain; the others are held",
        metavar="NAME",
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        help="a file to write: a picture (.png, .jpg, .svg, .pdf), the numbers (.npz), the record (.json); or a folder",
        metavar="PLACE",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print results as JSON on standard output")]
Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of errors")]
