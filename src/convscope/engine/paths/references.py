"""The many images that an expectation over baselines runs through."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import baseline_of
from convscope.engine.run.gradients import score, settle
from convscope.engine.run.perturbed_samples import each_copy
from convscope.engine.targets.target import Aim
from convscope.errors import InputError

ReferenceName = Literal["blank", "noise"]
References = Callable[[Tensor, Tensor], Tensor]
"""``(rows, copies) -> references`` (len(rows), C, …)."""


def references_of(given: ReferenceName | Tensor | Any, images: Images, copies: int, *, seed: int) -> References:
    """A function that gives reference number ``copies[i]`` for image ``rows[i]``."""
    if isinstance(given, Tensor):
        return _of_tensor(given, images)
    if given == "blank":
        names = ("black", "white", "mean", "blur") if images.extent else ("black", "white")  # a vector has no places
        blanks = torch.stack([baseline_of(name, images) for name in names])
        return lambda rows, copies: blanks[copies % len(blanks), rows]
    low = images.tensor.flatten(1).amin(1).view(-1, *[1] * (images.tensor.ndim - 1))
    spread = noise.value_range(images.tensor)

    def draw(rows: Tensor, copies: Tensor) -> Tensor:
        drawn = noise.uniform(images.tensor.shape[1:], seed=seed, copies=copies, like=images.tensor)
        return low[rows] + spread[rows] * drawn

    return draw


def reference_scores(
    model: Model, images: Images, aim: Aim, references: References, copies: int
) -> tuple[Tensor, Tensor]:
    """The images' own scores and the mean score of their references, (N,) each."""
    total = torch.zeros(len(images), dtype=torch.float64, device="cpu")

    def visit(rows: Tensor, numbers: Tensor) -> None:
        with torch.no_grad():
            found = score(model, model.laid_out(references(rows, numbers)), aim, rows, clean=False)
        total.index_add_(0, rows, found.cpu().double())

    each_copy(model, images, aim, copies, visit)
    if any(known is None for known in aim.scores):
        settle(model, images, aim)
    known = [float(score or 0.0) for score in aim.scores]
    return torch.tensor(known, dtype=torch.float64, device="cpu"), total / copies


def _of_tensor(given: Tensor, images: Images) -> References:
    if given.ndim != images.tensor.ndim or given.shape[1:] != images.tensor.shape[1:]:
        wanted = ", ".join(map(str, images.tensor.shape[1:]))
        raise InputError(f"references are a tensor (R, {wanted}), got shape {tuple(given.shape)}")
    if not bool(torch.isfinite(given).all()):
        raise InputError("the references hold NaN or infinite numbers")
    given = given.to(images.tensor)
    return lambda rows, copies: given[copies % len(given)]
