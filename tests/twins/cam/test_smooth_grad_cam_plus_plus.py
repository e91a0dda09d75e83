"""Smooth Grad-CAM++ computed a second time, step by step, and compared with the lens; peers: TorchCAM."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.cam.layer_maps import plus_plus_weight
from tests.twins.peer_maps import at_layer, largest_error
from tests.twins.results import sum_of
from tests.twins.slow import TOLERANCE, inputs_seen, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.smooth_grad_cam_plus_plus)
def smooth_grad_cam_plus_plus(a: Tensor, gradients: list[Tensor]) -> Tensor:
    """The map from the clean activation and the gradients at the noisy copies."""
    first, second, third = (sum_of(g**power for g in gradients) / len(gradients) for power in (1, 2, 3))
    return sum_of(plus_plus_weight(*moments) * moments[0] for moments in zip(a, first, second, third, strict=True))


@pytest.mark.parametrize("subject", ["plain", "flatten", "volume", "digits", "shapes", "resnet18"], indirect=True)
def test_smooth_grad_cam_plus_plus_is_its_formula_on_the_copies_it_drew(subject: Subject) -> None:
    """The lens draws the noise; the twin records the inputs of the network."""
    layer = subject.layers[-1]
    with inputs_seen(subject.model.module, with_gradient=False) as inputs:
        attributions = subject.explained("smooth_grad_cam_plus_plus", layer=layer, samples=5)
    clean = [float(x.flatten()[0]) for x in subject.images]
    noisy = [x for x in inputs if float(x.flatten()[0]) not in clean]
    for attribution, slow, copies in zip(attributions, subject.slow, (noisy[:5], noisy[5:]), strict=True):
        gradients = [slow.seen_at(layer, copy)[1] for copy in copies]
        assert len(gradients) == 5
        assert (
            relative_error(attribution.layer_values[layer], smooth_grad_cam_plus_plus(slow.at(layer)[0], gradients))
            < TOLERANCE
        )


@pytest.mark.parametrize("subject", ["plain", "digits", "shapes", "resnet18"], indirect=True)
def test_torchcam_maps_the_last_noisy_copy_in_smooth_grad_cam_plus_plus(
    subject: Subject, peers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hook keeps the layer's last output, the activation of a noisy copy, instead of the clean one.

    Without noise both are the same. Before a pooling head, whose gradient depends neither on the input nor on the
    position, the weights are the same in any case, so that only the copy differs.
    """
    layer, noise = (
        subject.layers[-1],
        torch.randn(subject.images[0].shape, generator=torch.Generator().manual_seed(0)) / 5,
    )
    own_maps = at_layer(subject, "smooth_grad_cam_plus_plus", layer, samples=2, sigma=0.0, relu=True)
    monkeypatch.setattr(torch.distributions.Normal, "sample", lambda _self, size: torch.zeros(size))
    clean = peers.torchcam_maps("SmoothGradCAMpp", subject, layer, num_samples=2, eps=0.0)
    assert largest_error(own_maps, clean) < TOLERANCE

    monkeypatch.setattr(torch.distributions.Normal, "sample", lambda _self, size: noise.expand(size))
    noisy = peers.torchcam_maps("SmoothGradCAMpp", subject, layer, num_samples=2, eps=0.0)
    for peer_map, slow in zip(noisy, subject.slow, strict=True):
        a, g = slow.at(layer)
        weights = [plus_plus_weight(a_k, g_k, g_k**2, g_k**3) for a_k, g_k in zip(a, g, strict=True)]
        disturbed, _ = slow.seen_at(layer, slow.x + noise)
        assert (
            relative_error(peer_map, sum(w * a_k for w, a_k in zip(weights, disturbed, strict=True)).clamp(min=0))
            < TOLERANCE
        )


@pytest.mark.parametrize("subject", ["flatten"], indirect=True)
def test_torchcam_sums_smooth_grad_cam_plus_plus_at_equal_positions(subject: Subject, peers: ModuleType) -> None:
    """If the gradient varies over space, Σ(A·g³) differs from ΣA times g³, the sum in the paper's equation."""
    layer = subject.layers[-1]
    peer_maps = peers.torchcam_maps("SmoothGradCAMpp", subject, layer, num_samples=1, std=1e-12, eps=0.0)

    def at_equal_positions(a: Tensor, g: Tensor) -> Tensor:
        denominator = 2 * g**2 + (a * g**3).flatten(1).sum(1).view(-1, 1, 1)
        weight = (g**2 / denominator * g.clamp(min=0)).nan_to_num(0).flatten(1).sum(1)
        return torch.einsum("c,c...->...", weight, a).clamp(min=0)

    assert largest_error([at_equal_positions(*slow.at(layer)) for slow in subject.slow], peer_maps) < TOLERANCE
    assert (
        largest_error(at_layer(subject, "smooth_grad_cam_plus_plus", layer, sigma=0.0, samples=1, relu=True), peer_maps)
        > 0.01
    )
