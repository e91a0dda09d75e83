"""Feature ablation computed a second time, step by step, and compared with the lens; peers: Captum."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.perturbation.shown_masks import mean_colour
from tests.twins.perturbation.shown_parts import NETS, by_part, shown, uneven
from tests.twins.slow import TOLERANCE, Slow, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.feature_ablation)
def feature_ablation(slow: Slow, baseline: Tensor, labels: Tensor) -> Tensor:
    parts = int(labels.max()) + 1
    without = [torch.arange(parts) != part for part in range(parts)]
    return torch.tensor([slow.score(slow.x) - slow.score(shown(slow.x, baseline, labels, z)) for z in without])


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
