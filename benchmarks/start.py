"""Cost of the command line, relative to importing torch, and of drawing a map, relative to a forward pass."""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch

import convscope as cs
from benchmarks.contenders import network, plain
from benchmarks.measure import Row, Work, interleaved, rows_of

COMPLETION = {
    "_CONVSCOPE_COMPLETE": "complete_bash",
    "COMP_WORDS": "convscope grad-c",
    "COMP_CWORD": "1",
}
"""What bash tells the command when Tab is pressed after ``convscope grad-c``."""
AIMS = {"--help": 0.2, "grad-cam --help": 0.25, "completion of a word": 0.2, "first Grad-CAM": 1.4}
"""The largest share of the time of ``python -c "import torch"``."""


def start(rounds: int) -> list[Row]:
    """Commands relative to importing torch; drawing relative to a forward pass."""
    with tempfile.TemporaryDirectory() as folder:
        picture = str(Path(folder) / "map.png")
        commands = {
            "--help": _convscope(["--help"]),
            "grad-cam --help": _convscope(["grad-cam", "--help"]),
            "completion of a word": _convscope([], COMPLETION),
            "first Grad-CAM": _convscope(["grad-cam", "sample:shapes/7", "-m", "bundled:shapes", "-o", picture]),
        }
        ratios = interleaved(partial(_python, "import torch"), commands, rounds=rounds)
    rows: list[Row] = []
    for command, aim in AIMS.items():
        rows += rows_of(f"convscope: {command}, in imports of torch", {"ConvScope": ratios[command]}, aim)
    module, x = network("resnet50"), torch.randn(1, 3, 224, 224)
    value = cs.saliency(cs.Model(module), x)
    ratios = interleaved(plain(module, x), {"ConvScope": value.picture}, rounds=rounds)
    return rows + rows_of("Drawing a map of 224×224, in forwards of resnet50", ratios, None)


def _convscope(words: list[str], environment: dict[str, str] | None = None) -> Work:
    """The command ``convscope`` with these arguments, in a process of its own."""
    code = f"import sys; sys.argv = ['convscope', *{words!r}]; import convscope_start; convscope_start.main()"
    return partial(_python, code, environment)


def _python(code: str, environment: dict[str, str] | None = None) -> None:
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(environment or {})}  # compiled once, as for a user
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
