"""A slice of the loss around trained weights, along two random directions of filters (Li et al., 2018).

Each filter of a direction has the norm of the filter of the network, so that slices of networks with other scales of
weights compare. Biases and the parameters of batch norm, which are no filters, stay as they are, and batch norm keeps
the statistics of the training.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.engine.inputs.specs import ImageInput
from convscope.engine.network.model import Model
from convscope.engine.network.state_guard import preserve_state
from convscope.errors import InputError, ParameterError
from convscope.training.store.arrays import save_arrays

NAME = "landscape"
CHUNK = 250
MOST_IMAGES = 512
"""Validation images on which the command measures the loss."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class LossLandscape:
    """The loss and the accuracy at the points of a slice.

    Attributes:
        positions: along either direction, in units of the filter-normalised direction; 0 are the trained weights.
        losses, accuracies: (rows, columns) over second and first direction; a single row of a line.
        seed: of the directions.
        images: on how many images they were measured.
    """

    positions: Floats
    losses: Floats
    accuracies: Floats
    seed: int
    images: int

    def save(self, run: str | Path, step: int) -> None:
        """Write it beside the events of a run, where the view reads it."""
        numbers = {"seed": np.array(self.seed), "images": np.array(self.images)}
        arrays = {"positions": self.positions, "losses": self.losses, "accuracies": self.accuracies}
        save_arrays(Path(run), NAME, step, {**arrays, **numbers})


def loss_landscape(
    model: Any,
    images: Tensor,
    labels: Tensor,
    *,
    points: int = 21,
    extent: float = 1.0,
    line: bool = False,
    seed: int = 0,
) -> LossLandscape:
    """The cross-entropy of a classifier on images, around its weights.

    Args:
        model: a network, or a `cs.Model`.
        images: prepared images (N, …), as the network receives them.
        labels: the index of the class of each.
        points: how many points along either direction; odd, so that the weights themselves are one of them.
        extent: how far the slice reaches to either side; at 1 each filter has been moved by its own norm.
        line: along one direction only.
        seed: of the random directions.

    Raises:
        InputError: the model is no torch module, or images and labels do not fit.
        ParameterError: a number is out of its range.
    """
    module = model.module if isinstance(model, Model) else model
    if not isinstance(module, nn.Module):
        raise InputError(f"a loss landscape takes a torch module or a cs.Model, got {type(model).__name__}")
    if len(images) != len(labels) or not len(images):
        raise InputError(f"there are {len(images)} images and {len(labels)} labels: pass one label for each image")
    if points < 3 or points % 2 == 0:
        raise ParameterError(f"points must be an odd number from 3 on, got {points}")
    if not extent > 0:
        raise ParameterError(f"extent must be above 0, got {extent}")
    positions = np.linspace(-extent, extent, points)
    positions[points // 2] = 0.0
    rows = np.zeros(1) if line else positions
    generator = torch.Generator(device="cpu").manual_seed(seed)
    with preserve_state(list(module.modules())), torch.no_grad():
        weights = {p: p.detach().clone() for p in module.parameters()}
        first, second = (filter_normalised(weights, generator) for _ in range(2))
        measured = [
            _measured(module, images, labels)
            for _ in _moved(weights, [(float(x), first, float(y), second) for y in rows for x in positions])
        ]
    losses, accuracies = (np.array(column).reshape(len(rows), points) for column in zip(*measured, strict=True))
    return LossLandscape(positions, losses, accuracies, seed, len(images))


Weights = dict[nn.Parameter, Tensor]


def filter_normalised(weights: Weights, generator: torch.Generator) -> Weights:
    """A random direction whose filters have the norms of those of the network; zero for what is no filter."""
    direction = {}
    for parameter, values in weights.items():
        drawn = torch.randn(values.shape, generator=generator, dtype=torch.float32, device="cpu").to(values)
        if values.ndim <= 1:
            drawn.zero_()
        else:
            axes = tuple(range(1, values.ndim))
            norms = drawn.square().sum(axes, keepdim=True).sqrt().clamp_min(1e-10)
            drawn *= values.square().sum(axes, keepdim=True).sqrt() / norms
        direction[parameter] = drawn
    return direction


def _moved(weights: Weights, places: list[tuple[float, Weights, float, Weights]]) -> Iterator[None]:
    """Move the weights to one place after another, and back to where they were.

    Through ``data``, so that the state guard does not take it for the network writing to its own weights.
    """
    try:
        for x, first, y, second in places:
            for parameter, values in weights.items():
                parameter.data.copy_(values + x * first[parameter] + y * second[parameter])
            yield
    finally:
        for parameter, values in weights.items():
            parameter.data.copy_(values)


def _measured(module: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """The mean loss and the accuracy."""
    loss = right = 0.0
    for batch, of_batch in zip(images.split(CHUNK), labels.split(CHUNK), strict=True):  # type: ignore[no-untyped-call]
        scores = module(batch)
        loss += float(F.cross_entropy(scores.float(), of_batch, reduction="sum"))
        right += float((scores.argmax(1) == of_batch).sum())
    return loss / len(images), right / len(images)


def landscape_of_run(
    folder: str | Path, data: str, data_folder: str | Path | None = None, *, points: int = 21
) -> LossLandscape:
    """The slice around the best weights of a training by ``convscope train``, written beside its events.

    Args:
        folder: of the training, with ``network.py``, which is run.
        data: the images that it was trained on, as for ``convscope train``; the loss is that of validation images.
        data_folder: where their files lie.
        points: as for `loss_landscape`.

    Raises:
        InputError: there is no such network, or the images do not fit it.
    """
    from convscope.catalogue import load
    from convscope.training.loop.image_sets import open_image_set
    from convscope.training.loop.network_file import NETWORK_FILE
    from convscope.training.loop.preparation import prepared
    from convscope.training.run import open_log

    file = Path(folder).expanduser() / NETWORK_FILE
    if not file.is_file():
        raise InputError(f"there is no {NETWORK_FILE} in {str(folder)!r}: name the folder that convscope train wrote")
    model = load(f"{file}:make")
    validation = open_image_set(data, data_folder).validation
    validation = validation.part(torch.arange(0, len(validation), -(-len(validation) // MOST_IMAGES), device="cpu"))
    assert isinstance(model.input, ImageInput), "convscope train writes networks for images"
    assert isinstance(model.input.size, tuple), "one number becomes a pair when it is set"
    size, expected = tuple(validation.images.shape[1:]), (model.input.channels, *model.input.size)
    if size != expected:
        raise InputError(f"the images of {data!r} are {size}, and the network takes {expected}: name its own data")
    landscape = loss_landscape(model, prepared(model, validation.images), validation.labels, points=points)
    last = max((int(run.series(tag).steps.max()) for run in open_log(folder) for tag in run.tags[:1]), default=0)
    landscape.save(Path(folder).expanduser(), last)
    return landscape
