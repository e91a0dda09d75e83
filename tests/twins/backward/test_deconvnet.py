"""DeconvNet computed a second time, step by step, and compared with the lens; peers: Captum and zennit."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.backward.modified_gradients import CHAINS, assert_gradients_equal, modified_gradient
from tests.twins.backward.peer_networks import by_captum, by_convscope, small_net
from tests.twins.backward.zennit_peer import by_zennit, one_for_class_one, zennit
from tests.twins.binding import twin_of
from tests.twins.chains import Chain
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.deconvnet)
def deconvnet(chain: Chain, x: Tensor, target: int) -> Tensor:
    return modified_gradient(chain, x, target, lambda g, x, y: torch.where(g > 0, g, 0))


@pytest.mark.parametrize("subject", CHAINS, indirect=True)
def test_deconvnet_equals_its_twin(subject: Subject) -> None:
    assert_gradients_equal(deconvnet, subject)


def test_deconvnet_is_that_of_zennit(network: tuple) -> None:
    net, x, _ = network
    expected = by_zennit(net, x, zennit.composites.DeconvNet(), start=one_for_class_one)
    assert relative_error(by_convscope("deconvnet", net, x), expected) < TOLERANCE


def test_deconvnet_is_that_of_captum(peers: ModuleType) -> None:
    net, x = small_net()
    assert relative_error(by_convscope("deconvnet", net, x), by_captum(peers, "Deconvolution", net, x)) < TOLERANCE
