"""LIME, KernelSHAP and RISE relative to what the network alone takes for as many images in its best batch.

The floor is the network itself, with folded batch norms and in the memory format that the lens uses, on images that are
already there. Its best batch is measured in the same run, before the lenses.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

import convscope as cs
from benchmarks import measure
from benchmarks.contenders import network, ours
from benchmarks.masks import picture
from benchmarks.measure import Row, interleaved, report, rows_of
from convscope.engine.network.batchnorm_folding import folded_batchnorms

SAMPLES = {"squeezenet1_1": 1000, "resnet50": 400}
"""How many images a lens scores, by network."""
BATCHES = (1, 2, 4, 8, 16, 32)
LENSES = ("lime", "kernel_shap", "rise")


def floor(rounds: int) -> list[Row]:
    """Each lens relative to the network alone, for both networks, own module and loaded."""
    rows: list[Row] = []
    for name, samples in SAMPLES.items():
        module, x = network(name), picture()
        for contender, model in ours(module).items():
            lenses = {
                f"{contender}, {lens}": partial(getattr(cs, lens), model, x, target=0, samples=samples)
                for lens in LENSES
            }
            for lens in lenses.values():
                lens()  # what is learned once about a network is not part of the ratio
            with alone(model, x) as run:
                batch = best_batch(run, max(2, rounds // 3))
            rows += report([(f"Best batch of the network alone, {name}", contender, str(batch), "")])
            reference = partial(network_alone, model, x, batch, samples)
            ratios = interleaved(reference, lenses, rounds=max(2, rounds // 5))
            rows += rows_of(f"{samples} masked images, {name}, in that of the network alone", ratios, 1.1)
    return rows


@contextmanager
def alone(model: cs.Model, x: Tensor) -> Iterator[Callable[[Tensor], object]]:
    """Runs the network as a lens does: batch norms folded, without gradients."""
    with model.preserve_state(), torch.no_grad(), folded_batchnorms(model, x, 1000):
        yield model.module


def network_alone(model: cs.Model, x: Tensor, batch: int, samples: int) -> None:
    """The network on ``samples`` images in batches of ``batch``."""
    inputs = model.input_copy(x.expand(batch, -1, -1, -1))
    with alone(model, x) as run:
        for _ in range(samples // batch):
            run(inputs)


def best_batch(run: Callable[[Tensor], object], rounds: int) -> int:
    """The batch size with the least time per image, each measured ``rounds`` times in turn."""
    least = dict.fromkeys(BATCHES, float("inf"))
    inputs = {batch: picture().expand(batch, -1, -1, -1) for batch in BATCHES}
    for _ in range(rounds):
        for batch in BATCHES:
            images = inputs[batch].contiguous(memory_format=torch.channels_last)
            started = measure.clock()
            run(images)
            least[batch] = min(least[batch], (measure.clock() - started) / batch)
    return min(least, key=lambda batch: least[batch])
