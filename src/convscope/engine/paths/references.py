"""References: the baselines over which an expectation is computed."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.named_inputs import PackedInput, of_each_input, packed_images
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import make_baseline
from convscope.engine.run.gradients import score, settle
from convscope.engine.run.perturbed_samples import each_copy
from convscope.engine.targets.target import Target
from convscope.errors import InputError

ReferenceName = Literal["blank", "noise"]
References = Callable[[Tensor, Tensor], Tensor]
"""``(rows, copies) -> references`` (len(rows), C, …)."""


def make_references(references: ReferenceName | Tensor | Any, images: Images, copies: int, *, seed: int) -> References:
    """A function that gives reference number ``copies[i]`` for image ``rows[i]``."""
    if isinstance(references, Tensor):
        return _from_tensor(references, images)
    packed = images.spec
    if references == "blank" and isinstance(packed, PackedInput):
        blanks_of = [make_references(references, each, copies, seed=seed) for each in packed_images(images)]
        return lambda rows, copies: packed.pack([draw(rows, copies) for draw in blanks_of])
    if references == "blank":
        names = ("black", "white", "mean", "blur") if images.extent else ("black", "white")  # vectors: no spatial axes
        blanks = torch.stack([make_baseline(name, images) for name in names])
        return lambda rows, copies: blanks[copies % len(blanks), rows]
    low = of_each_input(images, lambda part: noise.smallest(part.tensor))
    spread = of_each_input(images, lambda part: noise.value_range(part.tensor))

    def draw(rows: Tensor, copies: Tensor) -> Tensor:
        uniform = noise.uniform(images.tensor.shape[1:], seed=seed, copies=copies, like=images.tensor)
        return low[rows] + spread[rows] * uniform

    return draw


def reference_scores(
    model: Model, images: Images, target: Target, references: References, copies: int
) -> tuple[Tensor, Tensor]:
    """The images' own scores and the mean score of their references, (N,) each."""
    total = torch.zeros(len(images), dtype=torch.float64, device="cpu")

    def visit(rows: Tensor, indices: Tensor) -> None:
        with torch.no_grad():
            scores = score(model, model.input_copy(references(rows, indices)), target, rows, clean=False)
        total.index_add_(0, rows, scores.cpu().double())

    each_copy(model, images, target, copies, visit)
    if any(image_score is None for image_score in target.scores):
        settle(model, images, target)
    image_scores = [float(image_score or 0.0) for image_score in target.scores]
    return torch.tensor(image_scores, dtype=torch.float64, device="cpu"), total / copies


def _from_tensor(references: Tensor, images: Images) -> References:
    if references.ndim != images.tensor.ndim or references.shape[1:] != images.tensor.shape[1:]:
        shape = ", ".join(map(str, images.tensor.shape[1:]))
        raise InputError(f"references are a tensor (R, {shape}), got shape {tuple(references.shape)}")
    if not bool(torch.isfinite(references).all()):
        raise InputError("the references hold NaN or infinite numbers")
    references = references.to(images.tensor)
    return lambda rows, copies: references[copies % len(references)]
