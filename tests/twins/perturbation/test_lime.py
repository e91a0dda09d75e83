"""LIME computed a second time, step by step, and compared with the lens."""

import math

import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

import convscope as cs
from convscope.lens.perturbation.lime import _weighted_ridge
from tests.twins.binding import twin_of
from tests.twins.perturbation.shown_masks import mean_colour, variants_seen
from tests.twins.perturbation.shown_parts import NETS, by_part, coalitions_of, shown, uneven
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.lime)
def lime(
    slow: Slow, baseline: Tensor, labels: Tensor, coalitions: Tensor, width: float, ridge: float
) -> tuple[Tensor, float]:
    scores = [slow.score(shown(slow.x, baseline, labels, z)) for z in coalitions]
    cosines = [int(z.sum()) / math.sqrt(len(z) * max(1, int(z.sum()))) for z in coalitions]
    weights = [math.exp(-((1 - cosine) ** 2) / width**2) for cosine in cosines]
    fit = Ridge(alpha=ridge).fit(coalitions.double().numpy(), scores, sample_weight=weights)
    return torch.from_numpy(fit.coef_), fit.score(coalitions.double().numpy(), scores, sample_weight=weights)


@pytest.mark.parametrize("subject", NETS, indirect=True)
@pytest.mark.parametrize(("width", "ridge"), [(0.25, 1.0), (0.5, 0.01)])
def test_lime_is_a_ridge_regression_weighed_by_nearness(subject: Subject, width: float, ridge: float) -> None:
    labels, count = uneven(subject, 6), 40
    with inputs_seen(subject.model.module, with_gradient=False) as network_inputs:
        maps = subject.explained("lime", segments=labels, samples=count, width=width, ridge=ridge)
    for attribution, slow, inputs in zip(
        maps, subject.slow, variants_seen(network_inputs, count, len(maps)), strict=True
    ):
        baseline = mean_colour(slow.x)
        coalitions = coalitions_of(inputs, slow.x, baseline, labels)
        assert coalitions[0].all()
        true, explained = lime(slow, baseline, labels, coalitions, width, ridge)
        assert relative_error(by_part(attribution.values, labels), true) < 10 * TOLERANCE
        assert attribution.notes["R²"] == pytest.approx(explained, abs=1e-3)


def test_parts_are_shown_half_of_the_time_and_independently() -> None:
    from convscope.lens.perturbation.lime import _random_coalitions

    coalitions = _random_coalitions(4000, 6, seed=1)[1:].double()
    assert float((coalitions.mean(0) - 0.5).abs().max()) < 0.03
    assert float((torch.corrcoef(coalitions.T) - torch.eye(6)).abs().max()) < 0.05


@pytest.mark.parametrize("samples", [50, 333, 1000])
def test_equal_scores_have_coefficients_of_exactly_zero(samples: int) -> None:
    """A weighted mean of equal numbers may differ from them by a rounding, in the order in which they are added."""
    generator = torch.Generator().manual_seed(samples)
    parts = (torch.rand(samples, 12, generator=generator) < 0.5).double()
    for _ in range(20):
        weights = torch.rand(samples, generator=generator, dtype=torch.float64)
        coefficients, band, notes = _weighted_ridge(parts, torch.full((samples,), 2.7).double(), weights, 1.0)
        assert not coefficients.any()
        assert not band.any()
        assert notes["R²"] == 0
