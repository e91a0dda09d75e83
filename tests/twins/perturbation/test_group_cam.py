"""Group-CAM computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.engine.paths.baselines import make_baseline
from tests.twins.binding import twin_of
from tests.twins.channel_masks import masks
from tests.twins.slow import TOLERANCE, Slow, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.group_cam)
def group_cam(slow: Slow, layer: str, blurred: Tensor, groups: int = 4, keep: float = 0.3) -> Tensor:
    a, g = slow.at(layer)
    total = torch.zeros(a.shape[1:], dtype=torch.float64)
    for part_a, part_g in zip(a.tensor_split(groups), g.tensor_split(groups), strict=True):
        m = sum(g_k.mean() * a_k for a_k, g_k in zip(part_a, part_g, strict=True)).clamp(min=0)
        m = torch.where(m >= m.flatten().quantile(1 - keep), m, 0.0)
        (mask,) = masks(m[None], slow.x.shape[1:])
        if mask is not None:
            rise = slow.score(slow.x * mask + blurred * (1 - mask)) - slow.score(blurred)
            total += rise * (m - m.min()) / (m.max() - m.min())
    return total


@pytest.mark.parametrize("subject", ["plain", "flatten", "digits", "shapes"], indirect=True)
def test_group_cam_is_its_formula(subject: Subject) -> None:
    layer = subject.layers[-1]
    blurred = make_baseline("blur", subject.model.prepare(subject.images)).double()
    attributions = subject.explained("group_cam", layer=layer, groups=4)
    for attribution, slow, baseline in zip(attributions, subject.slow, blurred, strict=True):
        assert relative_error(attribution.layer_values[layer], group_cam(slow, layer, baseline)) < TOLERANCE
