"""Explanations by parts of the image, each formula written a second time from the parts that were really shown.

Each function here bears the name of its lens and gives one number per part, from scores of one image at a time in
float64. The maps spread each number over its part: adding a map up over a part gives it back.
"""

import itertools
import math
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

import convscope as cs
from convscope.engine.masking.segments import grid
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject, subject_called
from tests.twins.test_masks import mean_colour, variants_seen

NETS = ["plain", "residual", "flatten", "signal", "volume", "digits", "squeezenet1_1, trained"]


def lime(
    slow: Slow, baseline: Tensor, labels: Tensor, coalitions: Tensor, width: float, ridge: float
) -> tuple[Tensor, float]:
    scores = [slow.score(shown(slow.x, baseline, labels, z)) for z in coalitions]
    cosines = [int(z.sum()) / math.sqrt(len(z) * max(1, int(z.sum()))) for z in coalitions]
    weights = [math.exp(-((1 - cosine) ** 2) / width**2) for cosine in cosines]
    fit = Ridge(alpha=ridge).fit(coalitions.double().numpy(), scores, sample_weight=weights)
    return torch.from_numpy(fit.coef_), fit.score(coalitions.double().numpy(), scores, sample_weight=weights)


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


def feature_ablation(slow: Slow, baseline: Tensor, labels: Tensor) -> Tensor:
    parts = int(labels.max()) + 1
    without = [torch.arange(parts) != part for part in range(parts)]
    return torch.tensor([slow.score(slow.x) - slow.score(shown(slow.x, baseline, labels, z)) for z in without])


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


def shown(x: Tensor, baseline: Tensor, labels: Tensor, z: Tensor) -> Tensor:
    return torch.where(z[labels], x, baseline)


def by_part(values: Tensor, labels: Tensor) -> Tensor:
    """A map added up over each part; within one it is even."""
    parts = [values[labels == part] for part in range(int(labels.max()) + 1)]
    assert all(float((part - part[0]).abs().max()) == 0 for part in parts)
    return torch.stack([part.double().sum() for part in parts])


def coalitions_of(inputs: list[Tensor], x: Tensor, baseline: Tensor, labels: Tensor) -> Tensor:
    """Which parts each input showed: those nearer to the image than to the baseline."""
    near = [(seen - x).abs().sum(0) <= (seen - baseline).abs().sum(0) for seen in inputs]
    return torch.stack(
        [torch.stack([n[labels == p].float().mean() > 0.5 for p in range(int(labels.max()) + 1)]) for n in near]
    )


def uneven(subject: Subject, parts: int) -> Tensor:
    """Parts of different sizes."""
    extent = subject.images.shape[2:]
    labels = grid(extent, 2 * parts)
    return torch.where(labels >= parts, labels % 3, labels)


@pytest.mark.parametrize("subject", NETS, indirect=True)
@pytest.mark.parametrize(("width", "ridge"), [(0.25, 1.0), (0.5, 0.01)])
def test_lime_is_a_ridge_regression_weighed_by_nearness(subject: Subject, width: float, ridge: float) -> None:
    labels, count = uneven(subject, 6), 40
    with inputs_seen(subject.model.module, with_gradient=False) as seen:
        maps = subject.explained("lime", segments=labels, samples=count, width=width, ridge=ridge)
    for attribution, slow, inputs in zip(maps, subject.slow, variants_seen(seen, count, len(maps)), strict=True):
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
    with inputs_seen(subject.model.module, with_gradient=False) as seen:
        maps = subject.explained("kernel_shap", segments=labels, samples=count)
    for attribution, slow, inputs in zip(maps, subject.slow, variants_seen(seen, count, len(maps)), strict=True):
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


@pytest.mark.parametrize("subject", ["flatten", "digits", "shapes"], indirect=True)
@pytest.mark.parametrize("lens", ["lime", "kernel_shap"])
def test_bands_hold_what_many_more_samples_say(lens: str, subject: Subject) -> None:
    """19 of 20 times; runs of several seeds, all parts counted."""
    inside = []
    for true in subject.explained(lens, samples=3000, segments=12, segmenter="grid", seed=99)[:1]:
        for seed in range(6):
            attribution = subject.explained(lens, samples=150, segments=12, segmenter="grid", seed=seed)[0]
            inside.append(((attribution.values - true.values).abs() <= attribution.uncertainty["band"]).float().mean())
    assert 0.8 < float(torch.stack(inside).mean()) <= 1


@pytest.mark.parametrize("subject", NETS, indirect=True)
def test_feature_ablation_takes_one_part_away_at_a_time(subject: Subject) -> None:
    labels = uneven(subject, 6)
    for attribution, slow in zip(subject.explained("feature_ablation", segments=labels), subject.slow, strict=True):
        true = feature_ablation(slow, mean_colour(slow.x), labels)
        assert relative_error(by_part(attribution.values, labels), true) < TOLERANCE


@pytest.mark.parametrize("subject", ["plain", "residual", "flatten", "digits", "resnet18"], indirect=True)
def test_feature_ablation_is_that_of_captum(subject: Subject, peers: ModuleType) -> None:
    """Captum paints a part's whole number on each of its pixels."""
    labels = uneven(subject, 6)
    baseline = torch.stack([mean_colour(slow.x) for slow in subject.slow]).float()
    captum_maps = peers.captum.attr.FeatureAblation(subject.model.module).attribute(
        subject.images, baselines=baseline, target=list(subject.targets), feature_mask=labels[None, None]
    )
    for attribution, captum_map in zip(
        subject.explained("feature_ablation", segments=labels), captum_maps, strict=True
    ):
        captum_values = torch.stack([captum_map[0][labels == part][0] for part in range(6)])
        assert relative_error(by_part(attribution.values, labels), captum_values) < TOLERANCE


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


def test_on_a_model_that_is_linear_in_its_parts_all_agree() -> None:
    from tests.conftest import picture_model
    from tests.nets import LinearNet, seeded

    model = picture_model(seeded(LinearNet))
    image = subject_called("plain").images[:1]
    labels = grid((16, 16), 9)
    slow = Slow(model.module, image[0], 1)
    true = feature_ablation(slow, mean_colour(slow.x), labels)
    for lens, options in (("lime", {"ridge": 0.0}), ("kernel_shap", {}), ("feature_ablation", {})):
        attribution = getattr(cs, lens)(model, image, target=1, segments=labels, **options)
        assert relative_error(by_part(attribution.values, labels), true) < TOLERANCE
        for band in attribution.uncertainty.values():
            assert band.max() < 1e-3 * attribution.values.abs().max()


def test_coalitions_scored_before_an_early_stop_tell_all_parts_apart() -> None:
    from tests.conftest import picture_model
    from tests.nets import LinearNet, seeded

    model, labels = picture_model(seeded(LinearNet)), grid((16, 16), 9)
    image = subject_called("plain").images[:1]
    slow = Slow(model.module, image[0], 1)
    with inputs_seen(model.module, with_gradient=False) as seen:
        attribution = cs.kernel_shap(model, image, target=1, segments=labels, samples=600, stop_when=0.9)
    assert sum(len(batch) for batch in seen) < 2**9 - 2
    assert (
        relative_error(by_part(attribution.values, labels), feature_ablation(slow, mean_colour(slow.x), labels)) < 1e-4
    )


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
