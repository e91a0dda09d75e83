"""KernelSHAP computed a second time, step by step, and compared with the lens; peers: Captum."""

import itertools
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.perturbation.shown_masks import mean_colour, variants_seen
from tests.twins.perturbation.shown_parts import NETS, by_part, coalitions_of, shown, uneven
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject, subject_called


@twin_of(cs.kernel_shap)
def kernel_shap(slow: Slow, baseline: Tensor, labels: Tensor, coalitions: Tensor) -> Tensor:
    """The constrained regression by Lagrange's multiplier, all in one linear system."""
    count = coalitions.shape[1]
    baseline_score, rise = slow.score(baseline), slow.score(slow.x) - slow.score(baseline)
    y = torch.tensor([slow.score(shown(slow.x, baseline, labels, z)) - baseline_score for z in coalitions]).double()
    z = coalitions.double()
    system = torch.ones(count + 1, count + 1, dtype=torch.float64)
    system[:count, :count], system[count, count] = 2 * z.T @ z, 0
    right_side = torch.cat([2 * z.T @ y, torch.tensor([rise]).double()])
    return torch.linalg.lstsq(system, right_side, driver="gelsd").solution[:count]


def shapley(slow: Slow, baseline: Tensor, labels: Tensor) -> Tensor:
    """What each part adds on average over all orders in which the parts appear."""
    parts = int(labels.max()) + 1
    score = {
        frozenset(present): slow.score(
            shown(slow.x, baseline, labels, torch.tensor([p in present for p in range(parts)]))
        )
        for size in range(parts + 1)
        for present in itertools.combinations(range(parts), size)
    }
    contributions = torch.zeros(parts, dtype=torch.float64)
    orders = list(itertools.permutations(range(parts)))
    for order in orders:
        for index, part in enumerate(order):
            contributions[part] += score[frozenset(order[: index + 1])] - score[frozenset(order[:index])]
    return contributions / len(orders)


@pytest.mark.parametrize("subject", NETS, indirect=True)
def test_kernel_shap_of_few_parts_is_the_shapley_value(subject: Subject) -> None:
    labels = uneven(subject, 6)
    for attribution, slow in zip(
        subject.explained("kernel_shap", segments=labels, samples=62), subject.slow, strict=True
    ):
        true = shapley(slow, mean_colour(slow.x), labels)
        assert relative_error(by_part(attribution.values, labels), true) < TOLERANCE
        assert attribution.uncertainty["band"].max() == 0


@pytest.mark.parametrize("subject", NETS, indirect=True)
def test_kernel_shap_of_many_parts_is_a_constrained_regression(subject: Subject) -> None:
    labels, count = uneven(subject, 9), 60
    with inputs_seen(subject.model.module, with_gradient=False) as network_inputs:
        maps = subject.explained("kernel_shap", segments=labels, samples=count)
    for attribution, slow, inputs in zip(
        maps, subject.slow, variants_seen(network_inputs, count, len(maps)), strict=True
    ):
        baseline = mean_colour(slow.x)
        coalitions = coalitions_of(inputs, slow.x, baseline, labels)
        assert torch.equal(coalitions[::2], ~coalitions[1::2])
        assert (
            relative_error(by_part(attribution.values, labels), kernel_shap(slow, baseline, labels, coalitions))
            < 10 * TOLERANCE
        )


def test_coalitions_are_drawn_with_the_probability_of_the_shapley_kernel() -> None:
    from convscope.lens.perturbation.kernel_shap import _paired_coalitions

    sizes = _paired_coalitions(8000, 7, seed=0).sum(1)
    kernel = np.array([1 / (s * (7 - s)) for s in range(1, 7)])
    frequencies = np.bincount(sizes.numpy(), minlength=8)[1:7] / len(sizes)
    np.testing.assert_allclose(frequencies, kernel / kernel.sum(), atol=0.02)


@pytest.mark.parametrize("subject", ["flatten", "digits"], indirect=True)
def test_shapley_values_are_those_of_captum(subject: Subject, peers: ModuleType) -> None:
    """Its ShapleyValues, over all orders, are exact; its KernelShap draws and comes near."""
    labels = uneven(subject, 4)
    baseline = torch.stack([mean_colour(slow.x) for slow in subject.slow]).float()
    options = {"baselines": baseline, "target": list(subject.targets), "feature_mask": labels[None, None]}
    exact = peers.captum.attr.ShapleyValues(subject.model.module).attribute(subject.images, **options)
    for attribution, captum_map in zip(subject.explained("kernel_shap", segments=labels), exact, strict=True):
        captum_values = torch.stack([captum_map[0][labels == part][0] for part in range(4)])
        assert relative_error(by_part(attribution.values, labels), captum_values) < TOLERANCE
    torch.manual_seed(0)
    kernel = peers.captum.attr.KernelShap(subject.model.module)
    options |= {"baselines": baseline[:1], "target": subject.targets[0], "n_samples": 400}
    kernel_map = kernel.attribute(subject.images[:1], **options)[0, 0]
    attribution = subject.explained("kernel_shap", segments=labels)[0]
    captum_values = torch.stack([kernel_map[labels == part][0] for part in range(4)])
    assert relative_error(captum_values, by_part(attribution.values, labels)) < 0.05


@pytest.mark.parametrize("name", ["plain", "signal", "volume"])
@pytest.mark.parametrize("segments", [2, 3, 5])
def test_an_exact_answer_has_no_spread_over_seeds(name: str, segments: int) -> None:
    """Every coalition was scored: no seed could give another answer."""
    subject = subject_called(name)
    options = {"segments": segments, "segmenter": "grid", "samples": 2**10}
    (attribution, *_), (other, *_) = (subject.explained("kernel_shap", seed=seed, **options) for seed in (0, 1))
    assert attribution.notes["exact"]
    assert "stability over seeds" not in attribution.notes
    assert not attribution.uncertainty["band"].any()
    torch.testing.assert_close(attribution.values, other.values)


def test_where_coalitions_are_drawn_the_spread_is_said() -> None:
    attribution = subject_called("plain").explained("kernel_shap", segments=12, segmenter="grid", samples=100)[0]
    assert "exact" not in attribution.notes
    assert attribution.notes["stability over seeds"] <= 1
