"""Cost of networks from files of other formats: opening them, running them, and explaining them.

python -m benchmarks converted

Opening is relative to reading the same weights from a file of PyTorch, everything else to the network that was saved.
"""

import os
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import convscope as cs
from benchmarks import measure
from benchmarks.contenders import network, ours, plain
from benchmarks.measure import Row, interleaved, report, rows_of

NAME = "resnet50"
STEPS = 10
"""Steps of integrated gradients."""
MOST_SECONDS = 3


def converted(rounds: int) -> list[Row]:
    """Opening resnet50 from files of four formats; a forward pass and explanations of three of them."""
    module, x = network(NAME), torch.randn(1, 3, 224, 224)
    original = ours(module)["ConvScope, loaded"]
    rows: list[Row] = []
    few_rounds = max(3, rounds // 3)
    with tempfile.TemporaryDirectory() as folder:
        files = {suffix: Path(folder) / f"net{suffix}" for suffix in SAVED}
        for suffix, path in files.items():
            SAVED[suffix](module, x, path)
        weights = Path(folder) / "weights.pt"
        torch.save(module.state_dict(), weights)
        for suffix, path in files.items():
            rows += _opening(suffix, path, weights, few_rounds)
            if suffix != ".keras":
                rows += _running(suffix, cs.load(path), original, x, rounds, few_rounds)
    return rows


def _opening(suffix: str, path: Path, weights: Path, rounds: int) -> list[Row]:
    """Opening a file relative to reading its weights, and in seconds."""
    opening = {"ConvScope": partial(cs.load, path)}
    ratios = interleaved(partial(torch.load, weights), opening, rounds=rounds)
    rows = rows_of(f"Opening {NAME} from {suffix}, in readings of its weights", ratios, 3)
    seconds = []
    for _ in range(rounds):
        started = measure.clock()
        cs.load(path)
        seconds.append(measure.clock() - started)
    row = (f"Opening {NAME} from {suffix}, seconds", "ConvScope", f"{sorted(seconds)[rounds // 2]:.2f}")
    return rows + report([(*row, f"< {MOST_SECONDS}")])


def _running(suffix: str, model: cs.Model, original: cs.Model, x: Tensor, rounds: int, few_rounds: int) -> list[Row]:
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
        ratios = interleaved(partial(explain, original), {"ConvScope": partial(explain, model)}, rounds=few_rounds)
        rows += rows_of(f"{lens} of {title}", ratios, 1.05)
    return rows


def _save_onnx(module: nn.Module, x: Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), path, dynamo=False)


def _save_script(module: nn.Module, x: Tensor, path: Path) -> None:
    torch.jit.trace(module, x).save(str(path))  # type: ignore[no-untyped-call]


def _save_program(module: nn.Module, x: Tensor, path: Path) -> None:
    torch.export.save(torch.export.export(module, (x,)), path)


def _save_keras(module: nn.Module, x: Tensor, path: Path) -> None:
    """Keras' own ResNet50 with random weights, which has as many as torchvision's."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    keras.applications.ResNet50(weights=None).save(path)


SAVED = {".onnx": _save_onnx, ".pt": _save_script, ".pt2": _save_program, ".keras": _save_keras}
"""How a network is saved, by the suffix of the file."""
