"""Networks for the comparison with zennit."""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.marks import all_but
from tests.nets import FlattenNet, seeded
from tests.twins.backward.peer_networks import vgg_like, with_statistics
from tests.twins.backward.zennit_peer import canonizers


@pytest.fixture(
    scope="module",
    params=all_but(
        ("vgg11_bn", "resnet50"), ["sequence", "sequence, batch norm", "flatten", "vgg11_bn", "resnet18", "resnet50"]
    ),
)
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
                net = getattr(torchvision.models, name)(num_classes=10)
                if name == "vgg11_bn":
                    _narrow(net)
                net, side = with_statistics(net), 32
        x = torch.randn(2, 3, side, side, dtype=torch.double)
    return net.eval().double(), x, canonizers(request.param)


def _narrow(net: nn.Module) -> None:
    """Give VGG a head of 64 units in place of 4096, whose hundred million weights show nothing more."""
    head: Any = net.classifier
    linear = [index for index, module in enumerate(head) if isinstance(module, nn.Linear)]
    for index, (inputs, outputs) in zip(linear, [(512 * 7 * 7, 64), (64, 64), (64, 10)], strict=True):
        head[index] = nn.Linear(inputs, outputs)
