"""The options that commands share, spelt the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from convscope.cli.completion import addresses, layers_of_model
from convscope.cli.help_text import help_text

Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE",
        help="image files, folders, samples such as sample:shapes/7 or ranges of them such as sample:shapes/0-9, or - "
        "for standard input",
        show_default=False,
    ),
]
DataSet = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IMAGES", help="folders of images, image files, samples or ranges of them", show_default=False
    ),
]
Example = Annotated[
    list[str] | None,
    typer.Argument(metavar="IMAGE", help="an image to run the network on; not needed", show_default=False),
]
ModelAddress = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="torchvision:NAME, timm:NAME, bundled:NAME or net.py:FUNCTION; add ?weights=none for random weights, "
        "?weights=FILE for a file's, ?output=PART for a part of the output or for what it is (probabilities, value, …)",
        metavar="ADDRESS",
        show_default=False,
        autocompletion=addresses,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="a weight file to load into it (.safetensors, .pt, .pth)", metavar="FILE"),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="open a weight file that runs code; only for files you made yourself")
]
Labels = Annotated[
    Path | None,
    typer.Option("--labels", help="a file with the names of the classes: one a line, or JSON", metavar="FILE"),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        help="size of prepared images, as in 224 or 224x320 (height x width)",
        metavar="SIZE",
    ),
]
Resize = Annotated[
    str | None,
    typer.Option(
        "--resize", help="what the shorter side is scaled to before the middle is cut out (pixels)", metavar="SIDE"
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        "--mean", help="what is subtracted from pixels scaled to 0 … 1, as in 0.485,0.456,0.406", metavar="NUMBERS"
    ),
]
Std = Annotated[
    str | None, typer.Option("--std", help="what they are then divided by, as in 0.229,0.224,0.225", metavar="NUMBERS")
]
Device = Annotated[
    str | None, typer.Option("--device", help="where to compute, such as cuda or cuda:1", metavar="DEVICE")
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        help=help_text(
            "what to explain: a label, a class index, 'A - B', or a unit such as 'layer4[17]'; the top class by default"
        ),
        metavar="TARGET",
    ),
]
Layer = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        help="layer address; repeat it for several; 'convscope layers' lists them",
        metavar="ADDRESS",
        autocompletion=layers_of_model,
    ),
]
Unit = Annotated[
    list[str] | None,
    typer.Option(
        "--unit",
        "-u",
        help=help_text("a unit such as 'layer4[17]', or one place of it, 'layer4[17, 3, 5]'; repeat it for several"),
        metavar="UNIT",
        autocompletion=layers_of_model,
    ),
]
Second = Annotated[str | None, typer.Option(help="a second image: a file or a sample", metavar="IMAGE")]
Smooth = Annotated[
    int | None,
    typer.Option("--smooth", help="average over so many noisy copies of the image, with spread and sign agreement"),
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
Json = Annotated[bool, typer.Option("--json", help="print machine-readable results on standard output")]
Debug = Annotated[bool, typer.Option("--debug", help="show the whole trace of an error")]
