"""Occlusion: incremental computation compared with full forward passes and with Captum, and the error of the scores.

python -m benchmarks.occlusion
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

import convscope as cs
from benchmarks.contenders import network, ours, plain
from benchmarks.measure import Ratio, Row, in_forwards, interleaved, report, rows_of
from convscope.engine.incremental import WindowPositions, WindowScores, window_scores, window_starts
from convscope.engine.targets.target import resolve_target

AIMS = {"squeezenet1_1": 95, "resnet50": 280, "vgg16": 95}
"""Limits in plain forward passes, for 729 windows of 16×16 every 8 pixels at 224×224."""
SAMPLE = 24
"""The number of windows scored by full forward passes, for comparing scores and time."""


def occlusion(rounds: int) -> list[Row]:
    """All networks at 224×224, and VGG-16 at 448×448 relative to full forward passes."""
    fewer_rounds = max(2, rounds // 5)
    rows: list[Row] = []
    for name, aim in AIMS.items():
        rows += _at_224(name, aim, fewer_rounds)
    return rows + _at_448(fewer_rounds)


def _at_224(name: str, aim: float, rounds: int) -> list[Row]:
    module, x = network(name), torch.randn(1, 3, 224, 224)
    model = ours(module)["ConvScope, loaded"]
    contenders: dict[str, Callable[[], object]] = {
        "ConvScope, loaded": partial(cs.occlusion, model, x, patch=16, stride=8),
        "Captum": partial(_captum, module, x),
    }
    ratios = in_forwards(plain(module, x), contenders, rounds=rounds)
    ratios["Captum, 196 windows × 729 / 196"] = _scaled(ratios.pop("Captum"), 729 / 196)
    rows = rows_of(f"Occlusion, {name}, 729 windows, in forwards", ratios, aim)
    return [*rows, equality_row(name, model, x, 16, 8)]


def _at_448(rounds: int) -> list[Row]:
    """Full forward passes are timed on a sample of the windows, in their best chunk size."""
    module, x = network("vgg16"), torch.randn(1, 3, 448, 448)
    model = ours(module)["ConvScope, loaded"]
    whole_forwards = partial(scores_of_windows, model, x, 32, 16, sample=SAMPLE, incremental=False)
    contenders = {"ConvScope, loaded": partial(cs.occlusion, model, x, patch=32, stride=16)}
    (ratio,) = interleaved(whole_forwards, contenders, rounds=rounds).values()
    speedup = 729 / SAMPLE / ratio.median
    title = "Occlusion, vgg16, 448×448, patch 32: times faster than whole forwards in batches"
    row = (title, "ConvScope, loaded", f"{speedup:.1f}", "≥ 10")
    return [*report([row]), equality_row("vgg16 at 448×448", model, x, 32, 16)]


def equality_row(name: str, model: cs.Model, x: Tensor, patch: int, stride: int, *, sample: int = SAMPLE) -> Row:
    """The largest difference between incremental and full scores, relative to the largest score."""
    incremental = scores_of_windows(model, x, patch, stride, sample=sample).changed
    whole = scores_of_windows(model, x, patch, stride, sample=sample, incremental=False).changed
    error, variation = (float(d.abs().max() / whole.abs().max()) for d in (incremental - whole, whole - whole.mean()))
    text = f"{error:.1e} of the score, which moves by {variation:.1e}"
    row = (f"Occlusion, {name}: difference to whole forwards", "ConvScope, loaded", text, "≤ 1e-5")
    return report([row])[0]


def scores_of_windows(
    model: cs.Model, x: Tensor, patch: int, stride: int, *, sample: int, incremental: bool = True
) -> WindowScores:
    """The scores of a sample of windows, drawn from all; a larger sample begins with the smaller."""
    extent, size = tuple(x.shape[2:]), (patch,) * (x.ndim - 2)
    starts = window_starts(extent, size, (stride,) * len(size))
    selected = starts[np.random.default_rng(0).permutation(len(starts))[:sample]]
    with model.preserve_state():
        return window_scores(
            model,
            model.prepare(x),
            resolve_target(0, model, 1),
            WindowPositions(selected, size, extent),
            lambda _row, windows: x.new_zeros(len(windows), x.shape[1], *size),
            incremental=incremental,
        )


def _captum(module: nn.Module, x: Tensor) -> object:
    """196 windows without overlap, in batches of eight; Captum takes the same time for each window."""
    from captum.attr import Occlusion

    with torch.inference_mode():
        return Occlusion(module).attribute(
            x, (3, 16, 16), strides=(3, 16, 16), target=0, baselines=0, perturbations_per_eval=8
        )


def _scaled(ratio: Ratio, factor: float) -> Ratio:
    return Ratio(ratio.median * factor, ratio.low * factor, ratio.high * factor)


if __name__ == "__main__":
    torch.manual_seed(0)
    occlusion(15)
