"""Networks for the comparison with zennit."""

from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from tests.nets import FlattenNet, seeded
from tests.twins.backward.peer_networks import vgg_like, with_statistics
from tests.twins.backward.zennit_peer import canonizers


@pytest.fixture(params=["sequence", "sequence, batch norm", "flatten", "vgg11_bn", "resnet18", "resnet50"])
def network(request: pytest.FixtureRequest, torchvision: ModuleType) -> tuple[nn.Module, Tensor, list]:
    """A network in float64, two inputs, and the canonizers that zennit needs for it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net: nn.Module
        match request.param:
            case "sequence":
                net, side = vgg_like(), 16
            case "sequence, batch norm":
                net, side = vgg_like(norm=True), 16
            case "flatten":
                net, side = seeded(FlattenNet), 16
            case name:
                net, side = with_statistics(getattr(torchvision.models, name)(num_classes=10)), 32
        x = torch.randn(2, 3, side, side, dtype=torch.double)
    return net.eval().double(), x, canonizers(request.param)
