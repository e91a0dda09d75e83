"""Meaningful perturbation computed a second time, step by step, and compared with the lens."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.perturbation.learned_masks import baseline_named
from tests.twins.slow import Slow, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.meaningful_perturbation)
def meaningful_perturbation(
    slow: Slow, baseline: Tensor, steps: int, cells: int, sparsity: float, smoothness: float
) -> Tensor:
    rise = abs(slow.score(slow.x) - slow.score(baseline))
    extent = slow.x.shape[1:]
    mask = torch.ones(*[min(cells, n) for n in extent], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([mask], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        m = enlarged(mask, extent)
        score = slow._score(m * slow.x + (1 - m) * baseline) / rise
        roughness = sum(
            ((mask.narrow(d, 1, n - 1) - mask.narrow(d, 0, n - 1)).abs() ** 3).mean() for d, n in enumerate(mask.shape)
        )
        (score + sparsity * (1 - mask).mean() + smoothness * roughness).backward()
        optimizer.step()
        mask.data.clamp_(0, 1)
    return 1 - enlarged(mask, extent).detach()


def enlarged(mask: Tensor, extent: torch.Size) -> Tensor:
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[mask.ndim]
    return F.interpolate(mask[None, None], size=extent, mode=mode)[0, 0]


@pytest.mark.parametrize("subject", ["plain", "flatten", "smooth", "volume"], indirect=True)
def test_meaningful_perturbation_is_gradient_descent_on_its_objective(subject: Subject) -> None:
    options: dict[str, Any] = {"steps": 12, "cells": 5, "sparsity": 0.03, "smoothness": 2.0}
    baselines = baseline_named(subject, "blur")
    for attribution, slow, baseline in zip(
        subject.explained("meaningful_perturbation", **options), subject.slow, baselines, strict=True
    ):
        true = meaningful_perturbation(slow, baseline, **options)
        assert relative_error(attribution.values, true) < 0.01
        score_left = (slow.score((1 - true) * slow.x + true * baseline) - slow.score(baseline)) / (
            slow.score(slow.x) - slow.score(baseline)
        )
        assert attribution.notes["score left"] == pytest.approx(score_left, abs=0.02)
