"""What surrogate models share: coalitions scored, a fit to them that knows its own error, a map of the fit."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.masking.coalitions import coalition_scores
from convscope.engine.masking.confidence import BAND, narrow, stability
from convscope.engine.masking.masks import SAME_SCORE, Ends
from convscope.engine.masking.segments import Cut
from convscope.engine.network.model import Model
from convscope.engine.targets.target import Aim
from convscope.runtime.declaration import attributions
from convscope.values import Attribution

Fit = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor, dict[str, Any]]]
"""``(row, coalitions, scores) -> (values, band, notes)``: one number per part of image ``row`` and its 95 % band."""

EXACT = "exact"
"""The note of a fit that needs no more samples."""


def surrogate_maps(
    model: Model,
    images: Images,
    aim: Aim,
    start: Tensor,
    ends: Ends,
    cuts: Sequence[Cut],
    coalitions: Sequence[Tensor],
    fit: Fit,
    *,
    stop_when: float = 0.0,
    precision: str = "float32",
) -> list[Attribution]:
    """Score the coalitions of each image, fit them, and paint each part's number on its pixels."""

    def enough(row: int, scores: Tensor) -> bool:
        if _too_few(len(scores), cuts[row]):
            return False
        values, band, _ = fit(row, coalitions[row][: len(scores)], scores)
        return narrow(cuts[row].painted(values), cuts[row].painted(band), stop_when)

    found = coalition_scores(
        model, images, aim, start, cuts, coalitions, enough=enough if stop_when else None, precision=precision
    )
    values, bands, notes = [], [], []
    for row, (cut, scores) in enumerate(zip(cuts, found, strict=True)):
        on = coalitions[row][: len(scores)]
        fitted, band, said = fit(row, on, scores)
        if _too_few(len(on), cut) and EXACT not in said:  # nothing is left to judge the fit by
            band = torch.full_like(fitted, BAND * float(scores.std()))
            said |= {"few samples": f"{len(on)} for {cut.count} segments, which need {cut.count + 2} to be told apart"}
        values.append(cut.painted(fitted))
        bands.append(cut.painted(band))
        said |= {"segments": str(cut.count), "samples": str(len(on))}
        spread = {} if EXACT in said else _stability(row, on, scores, cut, fit)  # no seed changes an exact answer
        notes.append({**said, **spread, **ends.notes[row]})
    return attributions(
        model,
        images,
        aim,
        torch.stack(values),
        uncertainty={"band": torch.stack(bands)},
        notes=notes,
        why_blank=SAME_SCORE,
    )


def _too_few(samples: int, cut: Cut) -> bool:
    return samples < cut.count + 2


def _stability(row: int, on: Tensor, scores: Tensor, cut: Cut, fit: Fit) -> dict[str, Any]:
    """From fits to two halves, in which a coalition and its complement stay together."""
    half = torch.arange(len(on), device="cpu") // 2 % 2 == 0
    if len(on) < 4 or int(half.sum()) < 2:
        return {}
    first, second = (cut.painted(fit(row, on[part], scores[part])[0]) for part in (half, ~half))
    return stability(first, second)
