"""The networks of torchvision on which conservation of relevance is tested."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.engine.rules.networks import CONVNETS, alive, images
from tests.marks import all_but


@pytest.fixture(
    scope="module",
    params=all_but(("vgg11", "vgg11_bn", "resnet50", "inception_v3", "regnet_y_400mf"), [*CONVNETS, "swin_t"]),
)
def network(request: pytest.FixtureRequest, torchvision: ModuleType) -> tuple[cs.Model, Tensor]:
    """A torchvision network, unmodified, and an input of the smallest size it takes."""
    side = CONVNETS.get(request.param, 48)
    options = {"init_weights": False} if request.param in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = getattr(torchvision.models, request.param)(weights=None, **options)
    return alive(net, side), images(side)
