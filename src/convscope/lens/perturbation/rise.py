from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.masking.confidence import WeightedMasks, is_narrow, stability_note
from convscope.engine.masking.masks import SAME_SCORE, GridMasks, StopWhen, blend, endpoint_scores, score_perturbations
from convscope.engine.network.model import Model
from convscope.engine.network.precision import Precision
from convscope.engine.paths.baselines import BaselineName, make_baseline
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.perturbation._token_masks import Hide, refuse_pixel_options, token_rise
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="RISE",
    cite="petsiuk2018rise",
    asks="Which pixels raise the score when random masks reveal them?",
    reads="Warm pixels raise the score when they are shown, cool ones lower it; the map is a random estimate, as "
    "smooth as the cells of the masks, and its band is its uncertainty.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "is a mean over masks, whose sum has no meaning"},
)
def rise(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    samples: Annotated[int, Param(help="maximum number of masks", min=2, max=65536)] = 1000,
    cells: Annotated[int, Param(help="cells of a mask along each side", min=2, max=64)] = 7,
    keep: Annotated[float, Param(help="probability that a cell shows the image", min=0.05, max=0.95)] = 0.5,
    baseline: Annotated[BaselineName | Tensor, Param(help="what replaces the hidden part of the image")] = "mean",
    centred: Annotated[bool, Param(help="subtract the mean score over the masks")] = True,
    stop_when: StopWhen = 0.0,
    precision: Precision = "float32",
    seed: Seed = 0,
    hide: Hide = "pixels",
) -> list[Attribution]:
    """Hide random parts of the image and average the masks, each weighted by the score of the masked image.

        S(λ) = 1/(n·p) Σ_i (f_c(x_i) - f̄) · m_i(λ),    x_i = m_i ⊙ x + (1 - m_i) ⊙ b

    Only scores are needed, so that the method works with any model that has a score.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the maximum number n of masks.
        cells: cells of a mask along each side; fewer cells give a coarser map with less noise.
        keep: the probability p that a cell shows the image.
        baseline: b, what replaces the hidden part of the image: ``black``, ``white``, ``mean`` (the image's mean
            colour), ``blur``, ``noise``, or a preprocessed tensor.
        centred: subtract the mean score f̄; otherwise f̄ is 0.
        stop_when: stop early once the widest confidence band is narrower than this share of the map's range.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: for the masks and the noise baseline.
        hide: ``tokens`` leaves tokens of a vision transformer out of the sequence that its first block receives, after
            their positions were added: exactly as if they were masked in every layer, and cheaper. Every mask
            then keeps the share p of the tokens.

    Returns:
        A signed map in score units: the rise of the expected score when the pixel is known to be shown.
        ``uncertainty["band"]`` is the half-width of its 95 % confidence interval, ``notes["masks"]`` the number of
        masks, ``notes["stability over seeds"]`` the expected correlation between the maps of two seeds.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline does not have the shape of the image.
        ParameterError: the processor does not support bfloat16.
        CapabilityError: tokens are to be hidden, and the network is no plain sequence of tokens (windows, merging).

    Differs from the paper: the mean score is subtracted, which subtracts a constant from the expected map and removes
    the noise from how often each pixel was shown; scores are taken before softmax instead of probabilities; hidden
    pixels have the image's mean colour instead of zero; 1,000 masks by default instead of 4,000 to 8,000.
    ``centred=False`` with a baseline of zeros gives the sum of the paper for a network that ends in a softmax.

    Example:
        >>> import convscope as cs
        >>> a = cs.rise(cs.load("bundled:shapes"), "sample:shapes/7", samples=200)
        >>> a.notes["masks"], bool((a.uncertainty["band"] > 0).all())
        (200, True)

    Source: :cite:`petsiuk2018rise`, equations 5 and 6, section 3.2 (the masks).
    """
    image.require_spatial_axes("rise masks regions")
    if hide == "tokens":
        refuse_pixel_options({"baseline": (baseline, "mean"), "cells": (cells, 7), "stop_when": (stop_when, 0.0)})
        refuse_pixel_options({"precision": (precision, "float32")})
        return token_rise(model, image, target, samples, keep, centred=centred, seed=seed)
    baselines = make_baseline(baseline, image, seed=seed)
    ends = endpoint_scores(model, image, baselines, target)
    masks = GridMasks(image.extent, cells, seed=seed, like=image.tensor.float())
    pixels = image.tensor[0, 0].numel()
    estimates = [WeightedMasks(pixels, keep, centred=centred, like=image.tensor) for _ in range(len(image))]

    def draw(row: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        drawn_masks = masks.binary(numbers, keep)
        return blend(image.tensor[row], baselines[row], drawn_masks), drawn_masks

    def visit(row: int, numbers: Tensor, drawn_masks: Tensor, scores: Tensor) -> None:
        estimates[row].add(numbers, drawn_masks.flatten(1), scores)

    def is_precise(row: int, _count: int) -> bool:
        return is_narrow(*estimates[row].estimate(), stop_when)

    used = score_perturbations(
        model, image, target, samples, draw, visit, should_stop=is_precise if stop_when else None, precision=precision
    )
    values, bands = (
        torch.stack(maps).view(-1, *image.extent)
        for maps in zip(*(estimate.estimate() for estimate in estimates), strict=True)
    )
    notes = [
        {"masks": n, "mean score": estimate.mean_score, **stability_note(*estimate.halves()), **end_notes}
        for n, estimate, end_notes in zip(used, estimates, ends.notes, strict=True)
    ]
    return attributions(model, image, target, values, uncertainty={"band": bands}, notes=notes, why_blank=SAME_SCORE)
