"""The options that commands share, spelt the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Images = Annotated[
    list[str],
    typer.Argument(metavar="IMAGE", help="image files, or samples such as sample:shapes/7", show_default=False),
]
DataSet = Annotated[
    list[str] | None,
    typer.Argument(metavar="IMAGES", help="a folder of images, image files, or samples", show_default=False),
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
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="a weight file to load into it (.safetensors, .pt, .pth)", metavar="FILE"),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="open a weight file that runs code; only for files you made yourself")
]
Device = Annotated[
    str | None, typer.Option("--device", help="where to compute, such as cuda or cuda:1", metavar="DEVICE")
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        help="what to explain: a label, a class index, 'A - B', or a unit such as 'layer4(17)' in square "
        "brackets; the top class by default",
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
    ),
]
Unit = Annotated[
    list[str] | None,
    typer.Option(
        "--unit",
        "-u",
        help="a unit such as 'layer4(17)', or one place of it, 'layer4(17, 3, 5)', in square brackets; repeat it "
        "for several",
        metavar="UNIT",
    ),
]
Second = Annotated[str | None, typer.Option(help="a second image: a file or a sample", metavar="IMAGE")]
Smooth = Annotated[
    int | None,
    typer.Option("--smooth", help="average over so many noisy copies of the image, with spread and sign agreement"),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="what to write: .png, .npz or .json", metavar="FILE")]
Json = Annotated[bool, typer.Option("--json", help="print machine-readable results on standard output")]
Debug = Annotated[bool, typer.Option("--debug", help="show the whole trace of an error")]
