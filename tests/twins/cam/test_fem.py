"""FEM computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.cam.layer_maps import assert_layer_maps_equal
from tests.twins.subjects import BUNDLED, LARGE, TINY, Subject


@twin_of(cs.fem)
def fem(a: Tensor, _g: Tensor, k: float = 2.0, variant: str = "paper") -> Tensor:
    """A position exactly at the threshold, as with 1 of 5 positions active, counts in the paper's variant."""
    total = torch.zeros(a.shape[1:], dtype=a.dtype)
    for a_k in a:
        mean, spread = a_k.mean(), a_k.std(correction=0)
        excess, rounding = a_k - mean - k * spread, 1e-6 * a_k.abs().max()
        total += mean * (excess >= -rounding) if variant == "paper" else (excess > rounding).double().mean() * a_k
    return total


@pytest.mark.parametrize("subject", [*TINY, *BUNDLED, *LARGE], indirect=True)
def test_fem_at_a_layer_equals_its_twin(subject: Subject) -> None:
    assert_layer_maps_equal(fem, subject, subject.layers)


@pytest.mark.parametrize("subject", ["plain", "shapes", "resnet18"], indirect=True)
@pytest.mark.parametrize("parameters", [{"k": 1.0}, {"variant": "pytorch-grad-cam"}])
def test_the_parameters_of_fem_equal_those_of_its_twin(parameters: dict, subject: Subject) -> None:
    assert_layer_maps_equal(fem, subject, subject.layers[-1:], **parameters)


def test_fem_marks_strong_places_with_the_channel_s_mean() -> None:
    """One channel with one strong position of sixteen: the paper's map is the mean there and zero elsewhere."""
    a = torch.zeros(1, 4, 4, dtype=torch.float64)
    a[0, 1, 2] = 16.0
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[1, 2] = 1.0
    assert torch.equal(fem(a, a), expected)
    assert torch.equal(fem(a, a, variant="pytorch-grad-cam"), expected)


def test_fem_at_the_very_threshold() -> None:
    """One of five positions is active: it is two standard deviations above the mean, which the paper counts."""
    model = cs.Model(nn.Sequential(nn.Conv1d(1, 1, 1), nn.Flatten()), input=cs.TensorInput((1, 5)))
    nn.init.constant_(model.module[0].weight, 3.0)
    nn.init.zeros_(model.module[0].bias)
    image = torch.tensor([[0.0, 0, 1, 0, 0]])
    paper, package = (cs.fem(model, image, layer="0", variant=v).values for v in ("paper", "pytorch-grad-cam"))
    torch.testing.assert_close(paper, torch.tensor([0, 0, 0.6, 0, 0]))
    assert not package.any()
