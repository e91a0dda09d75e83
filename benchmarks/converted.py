"""Cost of networks from files of other formats: opening them, running them, and explaining them.

python -m benchmarks converted
python -m benchmarks.converted NET SMALL     prints the growth of the peak in bytes while NET is opened, after SMALL

Opening is relative to reading the same weights from a file of PyTorch, everything else to the network that was saved.
Opening includes the comparison with the original engine, which is several forward passes.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import convscope as cs
from benchmarks import measure
from benchmarks.contenders import network, ours, plain
from benchmarks.measure import Row, interleaved, report, rows_of
from benchmarks.memory import memory_status

NAME = "resnet50"
STEPS = 4
"""Steps of integrated gradients."""
MOST_SECONDS = 3


def converted(rounds: int) -> list[Row]:
    """Opening resnet50 from files of four formats, and forward passes and explanations of the opened networks."""
    rows: list[Row] = []
    for suffix in SAVED:
        rows += converted_from(suffix, rounds)
    return rows


def converted_from(suffix: str, rounds: int) -> list[Row]:
    """The rows of one format."""
    module, x = network(NAME), torch.randn(1, 3, 224, 224)
    with tempfile.TemporaryDirectory() as folder:
        path, small, weights = Path(folder) / f"net{suffix}", Path(folder) / f"small{suffix}", Path(folder) / "weights"
        SAVED[suffix](module, x, path)
        SAVED[suffix](_small_network(), torch.randn(1, 3, 32, 32), small)
        torch.save(module.state_dict(), weights)
        rows = _opening(suffix, path, weights, max(3, rounds // 3)) + _memory(suffix, path, small)
        model = cs.load(path)
        if suffix == ".keras":
            return rows + _against_keras(path, model, x, rounds)
        return rows + _running(suffix, model, ours(module)["ConvScope, loaded"], x, rounds)


def _opening(suffix: str, path: Path, weights: Path, rounds: int) -> list[Row]:
    """Opening a file relative to reading its weights, and in seconds."""
    seconds: list[float] = []

    def open_file() -> None:
        started = measure.clock()
        cs.load(path)
        seconds.append(measure.clock() - started)

    ratios = interleaved(partial(torch.load, weights), {"ConvScope": open_file}, rounds=rounds)
    rows = rows_of(f"Opening {NAME} from {suffix}, in readings of its weights", ratios, 3)
    median = statistics.median(seconds[1:])  # the first one imports
    row = (f"Opening {NAME} from {suffix}, seconds", "ConvScope", f"{median:.2f}", f"< {MOST_SECONDS}")
    return rows + report([row])


def _memory(suffix: str, path: Path, small: Path) -> list[Row]:
    """The growth of the peak while a file is opened, relative to its size."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.converted", str(path), str(small)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ratio = int(printed.split()[-1]) / path.stat().st_size
    return report([(f"Peak memory of opening {NAME} from {suffix}, in its size", "ConvScope", f"{ratio:.2f}", "≤ 2")])


def _running(suffix: str, model: cs.Model, original: cs.Model, x: Tensor, rounds: int) -> list[Row]:
    """A forward pass and three explanations, relative to the same of the network that was saved."""
    title = f"{NAME} from {suffix}, in that of the original"
    forward = {"ConvScope": plain(model.module, x)}
    rows = rows_of(f"Forward of {title}", interleaved(plain(original.module, x), forward, rounds=rounds), 1.05)
    lenses: dict[str, Callable[[cs.Model], object]] = {
        "Grad-CAM": lambda network: cs.grad_cam(network, x, target=0),
        "Integrated gradients": lambda network: cs.integrated_gradients(network, x, target=0, steps=STEPS),
        "LRP": lambda network: cs.lrp(network, x, target=0),
    }
    for lens, explain in lenses.items():
        contenders = {"ConvScope": partial(explain, model)}
        ratios = interleaved(partial(explain, original), contenders, rounds=max(3, rounds // 3))
        rows += rows_of(f"{lens} of {title}", ratios, 1.05)
    return rows


def _against_keras(path: Path, model: cs.Model, x: Tensor, rounds: int) -> list[Row]:
    """A forward pass relative to that of Keras, on the backend that is installed."""
    own: Any = _keras().saving.load_model(path)
    channels_last = x.movedim(1, -1).contiguous()

    def run_keras() -> None:
        with torch.inference_mode():
            own(channels_last, training=False)

    ratios = interleaved(run_keras, {"ConvScope": plain(model.module, x)}, rounds=rounds)
    return rows_of(f"Forward of {NAME} from {path.suffix}, in that of Keras", ratios, 1)


def _small_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 3)).eval()


def _keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    return keras


def _save_onnx(module: nn.Module, x: Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), path, dynamo=False)


def _save_script(module: nn.Module, x: Tensor, path: Path) -> None:
    torch.jit.trace(module, x).save(str(path))  # type: ignore[no-untyped-call]


def _save_program(module: nn.Module, x: Tensor, path: Path) -> None:
    torch.export.save(torch.export.export(module, (x,)), path)


def _save_keras(module: nn.Module, x: Tensor, path: Path) -> None:
    """Keras' own ResNet50 with random weights, which has as many as torchvision's; a single layer for a small one."""
    keras = _keras()
    if x.shape[-1] == 224:
        keras.applications.ResNet50(weights=None).save(path)
    else:
        keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]).save(path)


SAVED = {".onnx": _save_onnx, ".pt": _save_script, ".pt2": _save_program, ".keras": _save_keras}
"""How a network is saved, by the suffix of the file."""


def _peak_growth(path: str, small: str) -> int:
    """The growth of the peak memory of this process while a file is opened."""
    torch.set_num_threads(1)
    cs.load(small)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: reset the peak
    before = memory_status("VmRSS")
    cs.load(path)
    return memory_status("VmHWM") - before


if __name__ == "__main__":
    print(_peak_growth(*sys.argv[1:3]))
