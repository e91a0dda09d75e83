"""Shared code of lenses that learn masks.

It blends images, scores them relative to the baseline, and forms gradients of these scores with respect to the mask.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.context.metering import report_progress
from convscope.engine.inputs.specs import Images
from convscope.engine.masking.masks import EndpointScores
from convscope.engine.network.batchnorm_folding import folded_batchnorms
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import gradient_at, score
from convscope.engine.targets.target import Target

LearnMasks = Callable[[Tensor, "ScoreGradient"], Tensor]
"""``(rows, score_gradient) -> masks``: learn the masks (n, …) of these images."""
ScoreGradient = Callable[[Tensor], Tensor]
"""``masks -> gradients``: gradients of the relative scores (0: baseline, 1: image) with respect to the masks."""


def learned_masks(
    model: Model,
    images: Images,
    target: Target,
    baselines: Tensor,
    ends: EndpointScores,
    steps: int,
    learn_masks: LearnMasks,
) -> Tensor:
    """Learn masks (N, …) for chunks of images at a time; each step is a forward and a backward pass of a chunk."""
    masks = torch.zeros(len(images), *images.extent, dtype=torch.float32, device="cpu")
    score_range = (
        (ends.image_scores - ends.baseline_scores).abs().clamp_min(1e-6 * ends.image_scores.abs().clamp_min(1e-30))
    )

    def step(rows: Tensor) -> None:
        image, baseline = images.tensor[rows], baselines[rows]
        done = 0

        def score_gradient(mask: Tensor) -> Tensor:
            nonlocal done
            inputs = torch.lerp(baseline, image, mask[:, None].to(image))
            gradient = gradient_at(model, inputs, target, rows, clean=False)
            done += 1
            report_progress(done, steps)
            mask_gradient = (gradient * (image - baseline).float()).sum(1)
            return mask_gradient / score_range[rows].to(mask_gradient).view(-1, *[1] * (mask_gradient.ndim - 1))

        masks[rows] = learn_masks(rows, score_gradient).detach().float().cpu()

    with folded_batchnorms(model, images.tensor[:1], 0 if target.layer else steps * len(images)):
        in_chunks(len(images), images.tensor[0], step, quiet=True)
    return masks


def remaining_score(
    model: Model, images: Images, target: Target, baselines: Tensor, masks: Tensor, ends: EndpointScores
) -> list[float]:
    """The relative score of each masked image, from 0 (score of the baseline) to 1 (score of the image)."""
    inputs = torch.lerp(baselines, images.tensor, masks[:, None].to(images.tensor))
    scores = torch.zeros(len(images), dtype=torch.float64, device="cpu")

    def step(rows: Tensor) -> None:
        with torch.no_grad():
            scores[rows] = (
                score(model, model.input_copy(rows_of(inputs, rows)), target, rows, clean=False).cpu().double()
            )

    in_chunks(len(images), images.tensor[0], step, light=True, quiet=True)
    score_range = ends.image_scores - ends.baseline_scores
    shares: list[float] = torch.where(score_range != 0, (scores - ends.baseline_scores) / score_range, 0.0).tolist()
    return shares
