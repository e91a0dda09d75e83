"""Explanations by regions and learned masks, each written a second time: by sets of pixels, by one autograd graph.

Each function here bears the name of its lens and gives the map of one image, in float64.
"""

import pytest
import torch
from scipy.ndimage import binary_dilation
from skimage.segmentation import felzenszwalb
from torch import Tensor
from torch.nn import functional as F

import convscope as cs
from convscope.engine.inputs import noise
from convscope.engine.masking.segments import grid
from convscope.engine.paths.baselines import make_baseline
from convscope.lens.perturbation.extremal_perturbation import _SmoothMasks
from tests.conftest import picture_model
from tests.nets import SIDE, SmoothNet, seeded
from tests.twins.slow import KINKED, Slow, relative_error
from tests.twins.subjects import Subject
from tests.twins.test_paths import integrated_gradients


def xrai(slow: Slow, black: Tensor, white: Tensor, cuts: list[Tensor], steps: int) -> Tensor:
    a = sum(integrated_gradients(slow, baseline, steps).sum(0) for baseline in (black, white)) / 2
    radius = max(1, round(5 / 224 * max(a.shape)))
    regions = []
    for labels in cuts:
        for label in labels.unique():
            dilated = torch.from_numpy(binary_dilation((labels == label).numpy(), iterations=radius))
            regions.append(dilated)
    values, is_free = torch.zeros_like(a), torch.ones_like(a, dtype=torch.bool)
    while is_free.any():
        gains = [a[region & is_free].mean() if (region & is_free).any() else -torch.inf for region in regions]
        best = max(range(len(regions)), key=lambda i: float(gains[i]))
        values[regions[best] & is_free] = gains[best]
        is_free &= ~regions[best]
    return values


def meaningful_perturbation(
    slow: Slow, baseline: Tensor, steps: int, cells: int, sparsity: float, smoothness: float
) -> Tensor:
    rise = abs(slow.score(slow.x) - slow.score(baseline))
    extent = slow.x.shape[1:]
    mask = torch.ones(*[min(cells, n) for n in extent], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([mask], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        m = _enlarged(mask, extent)
        score = slow._score(m * slow.x + (1 - m) * baseline) / rise
        roughness = sum(
            ((mask.narrow(d, 1, n - 1) - mask.narrow(d, 0, n - 1)).abs() ** 3).mean() for d, n in enumerate(mask.shape)
        )
        (score + sparsity * (1 - mask).mean() + smoothness * roughness).backward()
        optimizer.step()
        mask.data.clamp_(0, 1)
    return 1 - _enlarged(mask, extent).detach()


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


def _enlarged(mask: Tensor, extent: torch.Size) -> Tensor:
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[mask.ndim]
    return F.interpolate(mask[None, None], size=extent, mode=mode)[0, 0]


def _starts(subject: Subject, name: str) -> Tensor:
    """The baselines as the lens has them; they have twins of their own (`tests/twins/test_paths.py`)."""
    return make_baseline(name, subject.model.prepare(subject.images)).double()


@pytest.mark.parametrize("subject", ["plain", "residual", "flatten", "smooth", "signal", "volume"], indirect=True)
def test_xrai_covers_the_image_region_by_region(subject: Subject) -> None:
    baselines = [_starts(subject, name) for name in ("black", "white")]
    for row, (attribution, slow) in enumerate(zip(subject.explained("xrai", steps=8), subject.slow, strict=True)):
        if slow.x.ndim == 3:
            picture = subject.model.prepare(subject.images).spec.picture(slow.x.float())
            picture = picture / 255 if len(slow.x) == 3 else _unit(slow.x).movedim(0, -1).float().numpy()
            min_size = max(2, round(150 / 224**2 * slow.x[0].numel()))
            cuts = [
                torch.from_numpy(felzenszwalb(picture.astype("float32"), scale=s, sigma=0.8, min_size=min_size))
                for s in (50, 100, 150, 250, 500, 1200)
            ]
        else:
            cuts = [grid(slow.x.shape[1:], parts) for parts in (128, 64, 32, 16, 8, 4)]
        true = xrai(slow, baselines[0][row], baselines[1][row], cuts, 8)
        assert relative_error(attribution.values, true) < KINKED
        assert float(attribution.values.sum()) - attribution.score + attribution.notes[
            "baseline score"
        ] == pytest.approx(attribution.notes["completeness gap"], abs=1e-4)


@pytest.mark.parametrize("subject", ["plain", "flatten", "smooth", "volume"], indirect=True)
def test_meaningful_perturbation_is_gradient_descent_on_its_objective(subject: Subject) -> None:
    options = {"steps": 12, "cells": 5, "sparsity": 0.03, "smoothness": 2.0}
    baselines = _starts(subject, "blur")
    for attribution, slow, baseline in zip(
        subject.explained("meaningful_perturbation", **options), subject.slow, baselines, strict=True
    ):
        true = meaningful_perturbation(slow, baseline, **options)
        assert relative_error(attribution.values, true) < 0.01
        score_left = (slow.score((1 - true) * slow.x + true * baseline) - slow.score(baseline)) / (
            slow.score(slow.x) - slow.score(baseline)
        )
        assert attribution.notes["score left"] == pytest.approx(score_left, abs=0.02)


@pytest.mark.parametrize("subject", ["plain", "flatten", "smooth", "signal", "volume"], indirect=True)
def test_extremal_perturbation_is_gradient_descent_on_its_objective(subject: Subject) -> None:
    options = {"steps": 12, "area": 0.2, "width": 0.15}
    baselines = _starts(subject, "blur")
    for attribution, slow, baseline in zip(
        subject.explained("extremal_perturbation", **options), subject.slow, baselines, strict=True
    ):
        count = _SmoothMasks(tuple(baseline.shape[1:]), 0.15, like=torch.zeros(1)).count
        drawn = noise.uniform((count,), seed=0, copies=torch.zeros(1, dtype=torch.long), like=torch.zeros(1))[0]
        true = extremal_perturbation(slow, baseline, **options, initial_heights=0.5 + 0.01 * drawn)
        assert relative_error(attribution.values, true) < 0.01
        assert attribution.notes["area"] == pytest.approx(float(true.mean()), abs=1e-3)


@pytest.mark.parametrize("area", [0.1, 0.3])
def test_an_extremal_mask_has_the_area_that_was_asked_for(area: float, pictures: list) -> None:
    for attribution in cs.extremal_perturbation(picture_model(seeded(SmoothNet)), pictures, area=area, steps=300):
        assert attribution.notes["area"] == pytest.approx(area, abs=0.05)


def test_learned_masks_find_the_only_place_that_matters() -> None:
    """A network that looks at one corner: it is what is deleted, and what is kept."""

    class Corner(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, :5, :5].mean((1, 2, 3))[:, None] * torch.tensor([1.0, -1.0])

    model = cs.Model(Corner())
    images = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    deleted = cs.meaningful_perturbation(model, images, target=0, baseline="black", cells=8).values
    kept = cs.extremal_perturbation(model, images, target=0, baseline="black", width=0.2).values
    for mask in (deleted, kept):
        assert float(mask[:3, :3].min()) > 0.4
        assert float(mask[8:, 8:].max()) < 0.1


def _unit(x: Tensor) -> Tensor:
    return (x.float() - x.float().min()) / (x.float().max() - x.float().min())
