"""Occlusion: incremental against whole forwards and against Captum, with the equality of the scores beside it.

python -m benchmarks.occlusion
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

import convscope as cs
from benchmarks.contenders import network, ours, plain
from benchmarks.measure import Ratio, Row, in_forwards, interleaved, rows_of, said
from convscope.engine.incremental import Places, WindowScores, grid, window_scores
from convscope.engine.targets.target import aim_at

AIMS = {"squeezenet1_1": 95, "resnet50": 280, "vgg16": 95}
"""In plain forwards, for 729 windows of 16×16 every 8 pixels at 224×224."""
SAMPLE = 24
"""So many windows are scored by whole forwards, for the comparison of numbers and of time."""


def occlusion(rounds: int) -> list[Row]:
    """All networks at 224×224, and VGG-16 at 448×448 against whole forwards."""
    few = max(2, rounds // 5)
    rows: list[Row] = []
    for name, aim in AIMS.items():
        rows += _at_224(name, aim, few)
    return rows + _at_448(few)


def _at_224(name: str, aim: float, rounds: int) -> list[Row]:
    module, x = network(name), torch.randn(1, 3, 224, 224)
    model = ours(module)["ConvScope, loaded"]
    works: dict[str, Callable[[], object]] = {
        "ConvScope, loaded": partial(cs.occlusion, model, x, patch=16, stride=8),
        "Captum": partial(_captum, module, x),
    }
    found = in_forwards(plain(module, x), works, rounds=rounds)
    found["Captum, 196 windows × 729 / 196"] = _scaled(found.pop("Captum"), 729 / 196)
    rows = rows_of(f"Occlusion, {name}, 729 windows, in forwards", found, aim)
    return [*rows, _equality(name, model, x, 16, 8)]


def _at_448(rounds: int) -> list[Row]:
    """Whole forwards are timed on a sample of the windows, in the chunks that suit them."""
    module, x = network("vgg16"), torch.randn(1, 3, 448, 448)
    model = ours(module)["ConvScope, loaded"]
    sampled = partial(_scores, model, x, 32, 16, sample=SAMPLE, incremental=False)
    works = {"ConvScope, loaded": partial(cs.occlusion, model, x, patch=32, stride=16)}
    (found,) = interleaved(sampled, works, rounds=rounds).values()
    faster = 729 / SAMPLE / found.median
    what = "Occlusion, vgg16, 448×448, patch 32: times faster than whole forwards in batches"
    row = (what, "ConvScope, loaded", f"{faster:.1f}", "≥ 10")
    return [*said([row]), _equality("vgg16 at 448×448", model, x, 32, 16)]


def _equality(name: str, model: cs.Model, x: Tensor, patch: int, stride: int) -> Row:
    """The largest difference between incremental scores and those of whole forwards, as a share of the largest."""
    found = _scores(model, x, patch, stride, sample=SAMPLE).changed
    whole = _scores(model, x, patch, stride, sample=SAMPLE, incremental=False).changed
    apart, moving = (float(d.abs().max() / whole.abs().max()) for d in (found - whole, whole - whole.mean()))
    words = f"{apart:.1e} of the score, which moves by {moving:.1e}"
    row = (f"Occlusion, {name}: difference to whole forwards", "ConvScope, loaded", words, "≤ 1e-5")
    return said([row])[0]


def _scores(
    model: cs.Model, x: Tensor, patch: int, stride: int, *, sample: int, incremental: bool = True
) -> WindowScores:
    """The scores of some of the windows, spread over the image."""
    extent, size = tuple(x.shape[2:]), (patch, patch)
    starts = grid(extent, size, (stride, stride))
    chosen = starts[np.linspace(0, len(starts) - 1, sample).astype(int)]
    with model.untouched():
        return window_scores(
            model,
            model.prepare(x),
            aim_at(0, model, 1),
            Places(chosen, size, extent),
            lambda _row, windows: x.new_zeros(len(windows), 3, *size),
            incremental=incremental,
        )


def _captum(module: nn.Module, x: Tensor) -> object:
    """196 windows that do not overlap, in batches of eight: Captum takes the same time for each."""
    from captum.attr import Occlusion

    with torch.inference_mode():
        return Occlusion(module).attribute(
            x, (3, 16, 16), strides=(3, 16, 16), target=0, baselines=0, perturbations_per_eval=8
        )


def _scaled(ratio: Ratio, by: float) -> Ratio:
    return Ratio(ratio.median * by, ratio.low * by, ratio.high * by)


if __name__ == "__main__":
    torch.manual_seed(0)
    occlusion(15)
