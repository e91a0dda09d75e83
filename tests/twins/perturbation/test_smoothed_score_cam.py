"""SS-CAM computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.channel_masks import masks
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.smoothed_score_cam)
def smoothed_score_cam(slow: Slow, layer: str, inputs: Tensor) -> Tensor:
    """The map from the noisy inputs that were drawn, (channels, copies, C, …)."""
    a, _ = slow.at(layer)
    means = torch.tensor([sum(map(slow.score, copies)) / len(copies) for copies in inputs])
    return sum(w * a_k for w, a_k in zip(means.softmax(0), a, strict=True))


@pytest.mark.parametrize("subject", ["plain", "flatten"], indirect=True)
def test_smoothed_score_cam_is_its_formula_on_the_inputs_it_drew(subject: Subject) -> None:
    """The lens draws the noise; the twin records the inputs of the network."""
    layer = subject.layers[-1]
    with inputs_seen(subject.model.module, with_gradient=False) as network_inputs:
        attributions = subject.explained("smoothed_score_cam", layer=layer, samples=3, sigma=0.5)
    channels = len(subject.slow[0].at(layer)[0])
    network_inputs = network_inputs[:-2]  # the images again, to check that the network is deterministic
    drawn = torch.stack(network_inputs[-2 * 3 * channels :]).double().view(2, channels, 3, *subject.images.shape[1:])
    for attribution, slow, inputs in zip(attributions, subject.slow, drawn, strict=True):
        layer_masks = [mask for mask in masks(slow.at(layer)[0], slow.x.shape[1:]) if mask is not None]
        assert len(layer_masks) == channels, "a constant channel would have been left out"
        noise = inputs[:, :, 0] / slow.x[0] - torch.stack(layer_masks)[:, None]
        inside = slow.x[0].abs() > 0.1
        assert torch.allclose(noise[0][:, inside], noise[-1][:, inside], atol=1e-4), "all channels have the same noise"
        assert 0.4 < float(noise[0][:, inside].std()) < 0.6
        assert relative_error(attribution.layer_values[layer], smoothed_score_cam(slow, layer, inputs)) < TOLERANCE
