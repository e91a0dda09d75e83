"""Cost of importing the package, relative to starting Python, and of drawing a map, relative to a forward pass."""

import subprocess
import sys
from functools import partial

import torch

import convscope as cs
from benchmarks.contenders import network, plain
from benchmarks.measure import Row, interleaved, rows_of


def start(rounds: int) -> list[Row]:
    """Processes that import ConvScope, print its help or import torch, relative to one that does nothing."""
    help_code = "import sys; sys.argv = ['convscope', '--help']; from convscope.cli import main; main()"
    contenders = {
        "ConvScope, import convscope": partial(_python, "import convscope"),
        "ConvScope, convscope --help": partial(_python, help_code),
        "import torch": partial(_python, "import torch"),
    }
    rows = rows_of("Start, in starts of Python", interleaved(partial(_python, "pass"), contenders, rounds=rounds), None)
    module, x = network("resnet50"), torch.randn(1, 3, 224, 224)
    value = cs.saliency(cs.Model(module), x)
    ratios = interleaved(plain(module, x), {"ConvScope": value.picture}, rounds=rounds)
    return rows + rows_of("Drawing a map of 224×224, in forwards of resnet50", ratios, None)


def _python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
