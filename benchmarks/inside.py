"""What it costs to walk over a data set: statistics of every layer, and the inputs that excite units most."""

from functools import partial

import torch

import convscope as cs
from benchmarks.contenders import network, ours
from benchmarks.measure import Row, Work, interleaved, rows_of, said
from benchmarks.memory import peak_growth
from convscope.engine.context.chunking import chunk_size

IMAGES, LOOKED_THROUGH = 256, 500


def activation_statistics(rounds: int) -> list[Row]:
    """Every layer over 256 images, in forward passes of as many at a time; memory by the number of images."""
    rows: list[Row] = []
    for name in ("resnet50", "vgg16", "mobilenet_v2"):
        module, x = network(name), torch.randn(IMAGES, 3, 224, 224)
        works = {who: partial(cs.activations, m, x) for who, m in ours(module).items()}
        found = interleaved(passes(module, x), works, rounds=max(2, rounds // 5))
        rows += rows_of(f"Activation statistics of every layer, {IMAGES} images, {name}", found, 1.3)
    few, many = (peak_growth(f"statistics-{count}", "resnet50", 1, processes=1) for count in (128, 384))
    return rows + said(
        [("Peak memory of it, resnet50, 384 images in that of 128", "ConvScope", f"{many / few:.2f}", "flat")]
    )


def top_inputs(rounds: int) -> list[Row]:
    """All units of two layers over 500 images, in their forward passes."""
    rows: list[Row] = []
    for name, layers in (("resnet50", ["layer3", "layer4"]), ("squeezenet1_1", ["features.7", "features.12"])):
        module, x = network(name), torch.randn(LOOKED_THROUGH, 3, 224, 224)
        works = {who: partial(cs.top_inputs, m, x, unit=layers, show=6) for who, m in ours(module).items()}
        found = interleaved(passes(module, x), works, rounds=max(2, rounds // 5))
        rows += rows_of(
            f"Top inputs of all units of {' and '.join(layers)}, {name}, {LOOKED_THROUGH} images", found, 1.2
        )
    return rows


def passes(module: torch.nn.Module, x: torch.Tensor) -> Work:
    """Plain forward passes over all images, as many at a time as ConvScope takes."""

    def run() -> None:
        with torch.inference_mode():
            for chunk in x.split(chunk_size(x[0], light=True)):
                module(chunk)

    return run
