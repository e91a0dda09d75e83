"""Grad-CAM++ computed a second time, step by step, and compared with the lens; peers: pytorch-grad-cam and TorchCAM."""

from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.cam.layer_maps import assert_layer_maps_equal, plus_plus_weight
from tests.twins.peer_maps import at_layer, largest_error
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import BUNDLED, LARGE, TINY, Subject


@twin_of(cs.grad_cam_plus_plus)
def grad_cam_plus_plus(a: Tensor, g: Tensor) -> Tensor:
    return sum(plus_plus_weight(a_k, g_k, g_k**2, g_k**3) * a_k for a_k, g_k in zip(a, g, strict=True))


@pytest.mark.parametrize("subject", [*TINY, *BUNDLED, *LARGE], indirect=True)
def test_grad_cam_plus_plus_at_a_layer_equals_its_twin(subject: Subject) -> None:
    assert_layer_maps_equal(grad_cam_plus_plus, subject, subject.layers)


class TwoTerms(nn.Module):
    """A layer without rectifier; the score is the sum of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).flatten(2).sum(2) @ torch.tensor([[1.0, 0.0], [1.0, 0.0]])


def test_grad_cam_plus_plus_has_negative_weights_where_activations_sum_below_minus_two() -> None:
    """α = g² / (2g² + ΣA·g³) with g = 1 and ΣA = −17: the channel counts with reversed sign, as documented."""
    channel = torch.tensor([[-20.0, 1.0], [1.0, 1.0]])
    picture = torch.stack([channel, torch.ones(2, 2)])[None]
    model = cs.Model(TwoTerms().eval(), input=cs.TensorInput((2, 2, 2)))
    (values,) = (
        attribution.layer_values["layer"]
        for attribution in [cs.grad_cam_plus_plus(model, picture, target=0, layer="layer")]
    )
    weight = plus_plus_weight(channel.double(), *[torch.ones(2, 2).double()] * 3)
    assert weight < 0
    other_weight = plus_plus_weight(torch.ones(2, 2).double(), *[torch.ones(2, 2).double()] * 3)
    assert relative_error(values, weight * channel.double() + other_weight) < TOLERANCE


@pytest.mark.parametrize("subject", ["plain", "digits", "resnet18"], indirect=True)
def test_pytorch_grad_cam_adds_a_millionth_to_a_denominator_of_that_size(subject: Subject, peers: ModuleType) -> None:
    """Grad-CAM++ divides squared gradients, which before a pooling head are as small as the constant it adds."""
    layer = subject.layers[-1]
    peer_maps = peers.pytorch_grad_cam_maps("GradCAMPlusPlus", subject, layer)

    def with_their_constant(a: Tensor, g: Tensor) -> Tensor:
        total = a.flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))
        weight = (g**2 / (2 * g**2 + total * g**3 + 1e-6) * g.clamp(min=0)).flatten(1).sum(1)
        return (weight.view(total.shape) * a).sum(0)

    assert largest_error([with_their_constant(*slow.at(layer)) for slow in subject.slow], peer_maps) < TOLERANCE
    assert largest_error(at_layer(subject, "grad_cam_plus_plus", layer), peer_maps) > 0.01


@pytest.mark.parametrize("subject", ["flatten", "digits", "shapes"], indirect=True)
def test_torchcam_forgets_to_divide_in_grad_cam_plus_plus(subject: Subject, peers: ModuleType) -> None:
    """It divides a copy (``alpha[idx][mask].div_(…)``): its weights are Σ g² relu(g), not Σ α relu(g)."""
    layer = subject.layers[-1]
    peer_maps = peers.torchcam_maps("GradCAMpp", subject, layer)
    cubed = [(g.clamp(min=0) ** 3).flatten(1).sum(1) for _, g in (slow.at(layer) for slow in subject.slow)]
    undivided = [
        torch.einsum("c,c...->...", weight, slow.at(layer)[0]).clamp(min=0)
        for weight, slow in zip(cubed, subject.slow, strict=True)
    ]
    assert largest_error(undivided, peer_maps) < TOLERANCE
    own_maps = at_layer(subject, "grad_cam_plus_plus", layer, relu=True)
    assert (
        largest_error([values / values.max() for values in own_maps], [values / values.max() for values in peer_maps])
        > 0.01
    )
