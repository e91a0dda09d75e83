"""Extremal perturbation computed a second time, step by step, and compared with the lens."""

from typing import Any

import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.engine.inputs import noise
from convscope.lens.perturbation.extremal_perturbation import _SmoothMasks
from tests.conftest import picture_model
from tests.nets import SmoothNet, seeded
from tests.twins.binding import twin_of
from tests.twins.perturbation.learned_masks import baseline_named
from tests.twins.slow import Slow, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.extremal_perturbation)
def extremal_perturbation(
    slow: Slow, baseline: Tensor, steps: int, area: float, width: float, initial_heights: Tensor
) -> Tensor:
    """Of pictures no larger than 56 pixels, whose mask is formed at their own resolution."""
    rise = abs(slow.score(slow.x) - slow.score(baseline))
    extent, longest = slow.x.shape[1:], max(slow.x.shape[1:])
    places = torch.cartesian_prod(*[torch.linspace(0, n / longest, n) for n in extent]).view(-1, len(extent)).double()
    axes = [torch.linspace(0, n / longest, max(2, round(2 * n / longest / width / 3) + 1)) for n in extent]
    centres = torch.cartesian_prod(*axes).view(-1, len(extent)).double()
    bumps = torch.exp(-(torch.cdist(places, centres) ** 2) / (2 * width**2))
    heights = initial_heights.double().clone().requires_grad_()
    kept_count = round(area * len(places) - 1e-9)

    def mask() -> Tensor:
        weighted_bumps = bumps * heights
        sharp = torch.exp(20 * weighted_bumps)
        return ((weighted_bumps * sharp).sum(1) / sharp.sum(1)).view(extent)

    optimizer = torch.optim.Adam([heights], lr=0.05)
    for step in range(steps):
        optimizer.zero_grad()
        m = mask()
        ascending = m.flatten().sort().values
        one_count = (torch.linspace(0, 1, len(places)) > 1 - area).sum()
        assert abs(int(one_count) - kept_count) <= 1
        area_error = ((ascending[-one_count:] - 1) ** 2).sum() + (ascending[:-one_count] ** 2).sum()
        score = slow._score(m * slow.x + (1 - m) * baseline) / rise
        (5 * 100 ** (step / steps) * area_error / len(places) - score).backward()
        optimizer.step()
        heights.data.clamp_(0, 1)
    return mask().detach()


@pytest.mark.parametrize("subject", ["plain", "flatten", "smooth", "signal", "volume"], indirect=True)
def test_extremal_perturbation_is_gradient_descent_on_its_objective(subject: Subject) -> None:
    options: dict[str, Any] = {"steps": 12, "area": 0.2, "width": 0.15}
    baselines = baseline_named(subject, "blur")
    for attribution, slow, baseline in zip(
        subject.explained("extremal_perturbation", **options), subject.slow, baselines, strict=True
    ):
        count = _SmoothMasks(tuple(baseline.shape[1:]), 0.15, like=torch.zeros(1)).count
        drawn = noise.uniform((count,), seed=0, copies=torch.zeros(1, dtype=torch.long), like=torch.zeros(1))[0]
        true = extremal_perturbation(slow, baseline, **options, initial_heights=0.5 + 0.01 * drawn)
        assert relative_error(attribution.values, true) < 0.01
        assert attribution.notes["area"] == pytest.approx(float(true.mean()), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("area", [0.1, 0.3])
def test_an_extremal_mask_has_the_area_that_was_asked_for(area: float, pictures: list) -> None:
    for attribution in cs.extremal_perturbation(picture_model(seeded(SmoothNet)), pictures, area=area, steps=300):
        assert attribution.notes["area"] == pytest.approx(area, abs=0.05)
