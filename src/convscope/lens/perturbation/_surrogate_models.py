"""Shared code of surrogate models: score coalitions of segments, fit a model to the scores, map its coefficients."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.masking.coalitions import coalition_scores
from convscope.engine.masking.confidence import Z_95, is_narrow, stability_note
from convscope.engine.masking.masks import SAME_SCORE, EndpointScores
from convscope.engine.masking.segments import Segmentation
from convscope.engine.masking.token_dropping import scores_of_kept_tokens
from convscope.engine.network.model import Model
from convscope.engine.targets.target import Target
from convscope.runtime.declaration import attributions
from convscope.values import Attribution
from convscope.values.facts import Fact

Fit = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor, dict[str, Any]]]
"""``(row, coalitions, scores) -> (values, band, notes)``: a value per segment of image ``row`` and its 95 % band."""

EXACT_NOTE = "exact"
"""The key of the note on a fit that is exact and needs no more samples."""


def surrogate_maps(
    model: Model,
    images: Images,
    target: Target,
    baselines: Tensor,
    ends: EndpointScores,
    cuts: Sequence[Segmentation],
    coalitions: Sequence[Tensor],
    fit: Fit,
    *,
    stop_when: float = 0.0,
    precision: str = "float32",
    token_groups: Tensor | None = None,
) -> list[Attribution]:
    """Score the coalitions of each image, fit a model to the scores, and map its coefficients to pixels.

    Args:
        token_groups: the segment of each token (cells,), where tokens are left out instead of pixels filled.
    """

    def is_precise(row: int, scores: Tensor) -> bool:
        if _has_too_few(len(scores), cuts[row]):
            return False
        values, band, _ = fit(row, coalitions[row][: len(scores)], scores)
        return is_narrow(cuts[row].to_map(values), cuts[row].to_map(band), stop_when)

    all_scores = (
        None if token_groups is None else _scores_of_tokens(model, images, target, coalitions, token_groups)
    ) or coalition_scores(
        model,
        images,
        target,
        baselines,
        cuts,
        coalitions,
        should_stop=is_precise if stop_when else None,
        precision=precision,
    )
    values, bands, notes = [], [], []
    for row, (cut, scores) in enumerate(zip(cuts, all_scores, strict=True)):
        shown = coalitions[row][: len(scores)]
        coefficients, band, fit_notes = fit(row, shown, scores)
        if _has_too_few(len(shown), cut) and EXACT_NOTE not in fit_notes:  # no degrees of freedom to estimate the error
            band = torch.full_like(coefficients, Z_95 * float(scores.std()))
            few = Fact(
                "{samples} for {segments} segments; at least {needed} are needed",
                samples=len(shown),
                segments=cut.count,
                needed=cut.count + 2,
            )
            fit_notes |= {"few samples": few}
        values.append(cut.to_map(coefficients))
        bands.append(cut.to_map(band))
        fit_notes |= {"segments": str(cut.count), "samples": str(len(shown))}
        is_exact = EXACT_NOTE in fit_notes  # the same for every seed
        stability_note = {} if is_exact else _stability(row, shown, scores, cut, fit)
        notes.append({**fit_notes, **stability_note, **ends.notes[row]})
    return attributions(
        model,
        images,
        target,
        torch.stack(values),
        uncertainty={"band": torch.stack(bands)},
        notes=notes,
        why_blank=SAME_SCORE,
    )


def _scores_of_tokens(
    model: Model, images: Images, target: Target, coalitions: Sequence[Tensor], groups: Tensor
) -> list[Tensor]:
    """The score of each coalition of each image, of which the network gets the tokens of these groups alone."""
    return [scores_of_kept_tokens(model, images, target, row, shown[:, groups]) for row, shown in enumerate(coalitions)]


def _has_too_few(samples: int, cut: Segmentation) -> bool:
    return samples < cut.count + 2


def _stability(row: int, shown: Tensor, scores: Tensor, cut: Segmentation, fit: Fit) -> dict[str, Any]:
    """The stability note from fits to two halves of the samples; a coalition and its complement stay together."""
    in_first = torch.arange(len(shown), device="cpu") // 2 % 2 == 0
    if len(shown) < 4 or int(in_first.sum()) < 2:
        return {}
    first_map, second_map = (
        cut.to_map(fit(row, shown[selection], scores[selection])[0]) for selection in (in_first, ~in_first)
    )
    return stability_note(first_map, second_map)
