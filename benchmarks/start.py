"""What a start costs, and a picture: against an interpreter that does nothing, torch's own import, a plain forward."""

import subprocess
import sys
from functools import partial

import torch

import convscope as cs
from benchmarks.contenders import network, plain
from benchmarks.measure import Row, interleaved, rows_of


def start(rounds: int) -> list[Row]:
    """A process that does nothing, one that imports ConvScope, one that prints its help, one that imports torch."""
    help_ = "import sys; sys.argv = ['convscope', '--help']; from convscope.cli import main; main()"
    works = {
        "ConvScope, import convscope": partial(_python, "import convscope"),
        "ConvScope, convscope --help": partial(_python, help_),
        "import torch": partial(_python, "import torch"),
    }
    rows = rows_of("Start, in starts of Python", interleaved(partial(_python, "pass"), works, rounds=rounds), None)
    module, x = network("resnet50"), torch.randn(1, 3, 224, 224)
    value = cs.saliency(cs.Model(module), x)
    found = interleaved(plain(module, x), {"ConvScope": value.picture}, rounds=rounds)
    return rows + rows_of("Drawing a map of 224×224, in forwards of resnet50", found, None)


def _python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
