"""Shared by the lenses that optimize pictures: common parameters, and optimization of many images in batches."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

from torch import Tensor

from convscope.engine.context.chunking import in_chunks
from convscope.engine.context.metering import progress_of_part, reporting
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.optimize.loop import AscentResult, concatenate
from convscope.engine.run.gradients import gather_evidence
from convscope.spec import Param

Frames = Annotated[int, Param(help="intermediate pictures to keep, for a .gif", min=0, max=200)]
Rate = Annotated[float, Param(help="learning rate", min=1e-4, max=10)]
Seed = Annotated[int, Param(help="seed of the initial noise and of the transformations", min=0, max=2**31 - 1)]
Steps = Annotated[int, Param(help="steps of the optimisation", min=1, max=100_000)]


def activations_at(model: Model, images: Images, layers: Sequence[str]) -> dict[str, Tensor]:
    """The activations (N, C, …) of layers for images, computed without reporting progress."""
    with reporting(None):
        evidence = gather_evidence(model, images.tensor, None, layers)
    return {address: evidence[address].activation for address in layers}


def optimize_images(images: Images, optimize: Callable[[Tensor], Sequence[AscentResult]]) -> list[AscentResult]:
    """The pictures optimized for each image.

    Args:
        optimize: maps the row numbers of a chunk of images to one result for each kind of picture, with one picture
            per image in it.
    """
    results: list[AscentResult] = []

    def step(rows: Tensor) -> None:
        with progress_of_part(int(rows[0]) // len(rows), math.ceil(len(images) / len(rows))):
            kinds = optimize(rows)
        results.extend(concatenate([select_picture(kind, index) for kind in kinds]) for index in range(len(rows)))

    in_chunks(len(images), images.tensor[0], step, quiet=True)
    return results


def for_each_layer(layers: Sequence[str], optimize: Callable[[str], AscentResult]) -> list[AscentResult]:
    """One result for every layer, each an equal part of the reported progress."""
    results = []
    for index, address in enumerate(layers):
        with progress_of_part(index, len(layers)):
            results.append(optimize(address))
    return results


def select_picture(ascent: AscentResult, index: int) -> AscentResult:
    """The result for one picture of several."""
    rows = slice(index, index + 1)
    return replace(
        ascent,
        pictures=ascent.pictures[rows],
        scores=ascent.scores[rows],
        reached=ascent.reached[rows],
        best=ascent.best[rows],
        importance=ascent.importance[rows],
        frames=ascent.frames[:, rows],
        notes=ascent.notes[rows],
    )
