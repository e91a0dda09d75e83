"""Cost of passes over a data set: activation statistics of every layer, and the inputs that activate units most."""

from functools import partial

import torch

import convscope as cs
from benchmarks.contenders import network, ours
from benchmarks.measure import Row, Work, interleaved, report, rows_of
from benchmarks.memory import peak_growth
from convscope.engine.context.chunking import chunk_size

IMAGES, RANKED = 256, 500


def activation_statistics(rounds: int) -> list[Row]:
    """All layers over 256 images, relative to forward passes with the same chunk size; memory by number of images."""
    rows: list[Row] = []
    for name in ("resnet50", "vgg16", "mobilenet_v2"):
        module, x = network(name), torch.randn(IMAGES, 3, 224, 224)
        contenders = {contender: partial(cs.activations, m, x) for contender, m in ours(module).items()}
        ratios = interleaved(forward_passes(module, x), contenders, rounds=max(2, rounds // 5))
        rows += rows_of(f"Activation statistics of every layer, {IMAGES} images, {name}", ratios, 1.3)
    small, large = (peak_growth(f"statistics-{count}", "resnet50", 1, processes=1) for count in (128, 384))
    return rows + report(
        [("Peak memory of it, resnet50, 384 images in that of 128", "ConvScope", f"{large / small:.2f}", "flat")]
    )


def top_inputs(rounds: int) -> list[Row]:
    """All units of two layers over 500 images, relative to their forward passes."""
    rows: list[Row] = []
    for name, layers in (("resnet50", ["layer3", "layer4"]), ("squeezenet1_1", ["features.7", "features.12"])):
        module, x = network(name), torch.randn(RANKED, 3, 224, 224)
        contenders = {
            contender: partial(cs.top_inputs, m, x, unit=layers, show=6) for contender, m in ours(module).items()
        }
        ratios = interleaved(forward_passes(module, x), contenders, rounds=max(2, rounds // 5))
        rows += rows_of(f"Top inputs of all units of {' and '.join(layers)}, {name}, {RANKED} images", ratios, 1.2)
    return rows


def forward_passes(module: torch.nn.Module, x: torch.Tensor) -> Work:
    """Plain forward passes over all images, with ConvScope's chunk size."""

    def run() -> None:
        with torch.inference_mode():
            for chunk in x.split(chunk_size(x[0], light=True)):
                module(chunk)

    return run
