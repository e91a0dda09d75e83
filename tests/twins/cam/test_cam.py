"""CAM computed a second time, step by step, and compared with the lens; peers: TorchCAM."""

from types import ModuleType

import pytest
from torch import Tensor, nn

import convscope as cs
from convscope.errors import LayerError
from tests.twins.binding import twin_of
from tests.twins.peer_maps import at_layer, largest_error
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import POOLED, Subject


@twin_of(cs.cam)
def cam(a: Tensor, net: nn.Module, target: int) -> Tensor:
    """The map from the weights of the last linear layer instead of gradients."""
    head = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    return sum(w * a_k for w, a_k in zip(head.weight[target].detach(), a, strict=True))


@pytest.mark.parametrize("subject", POOLED, indirect=True)
def test_cam_is_made_of_the_weights_of_the_last_linear_layer(subject: Subject) -> None:
    layer = subject.layers[-1]
    for attribution, slow in zip(subject.explained("cam", layer=layer), subject.slow, strict=True):
        assert (
            relative_error(attribution.layer_values[layer], cam(slow.at(layer)[0], slow.net, slow.target)) < TOLERANCE
        )


@pytest.mark.parametrize("subject", ["flatten", "residual"], indirect=True)
def test_cam_refuses_a_network_that_does_more_than_pool_and_weigh(subject: Subject) -> None:
    with pytest.raises(LayerError, match="use grad-cam"):
        subject.explained("cam", layer=subject.layers[0])


@pytest.mark.parametrize("subject", ["plain", "digits", "shapes", "resnet18"], indirect=True)
def test_cam_is_that_of_torchcam(subject: Subject, peers: ModuleType) -> None:
    layer = subject.layers[-1]
    assert largest_error(at_layer(subject, "cam", layer), peers.torchcam_maps("CAM", subject, layer)) < TOLERANCE
