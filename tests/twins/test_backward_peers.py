"""Lenses with backward rules, where ReLUs are no modules: compared with zennit and Captum."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.twins.backward.peer_networks import by_captum, by_convscope, small_net
from tests.twins.backward.zennit_peer import by_zennit, one_for_class_one, zennit
from tests.twins.slow import TOLERANCE, relative_error


class Functional(nn.Module):
    """A sequence of modules in which every ReLU is called as a function, or one ReLU module is used for all."""

    def __init__(self, modules: nn.Sequential, spelling: str) -> None:
        super().__init__()
        self.steps = nn.ModuleList(m for m in modules if not isinstance(m, nn.ReLU))
        self.relu = nn.ReLU(inplace="in place" in spelling)
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.steps) - 1
        for number, step in enumerate(self.steps):
            x = step(x)
            followed = isinstance(step, (nn.Conv2d, nn.Linear)) and number < last
            x = SPELLINGS[self.spelling](self, x) if followed else x
        return x


SPELLINGS: dict[str, Callable[[Functional, Tensor], Tensor]] = {
    "F.relu": lambda _net, x: F.relu(x),
    "F.relu in place": lambda _net, x: F.relu(x, inplace=True),
    "torch.relu": lambda _net, x: torch.relu(x),
    "x.relu()": lambda _net, x: x.relu(),
    "x.relu_()": lambda _net, x: x.relu_(),
    "one ReLU for all": lambda net, x: net.relu(x),
    "one ReLU for all, in place": lambda net, x: net.relu(x),
    "clamp": lambda _net, x: x.clamp(min=0),
    "clamp_min_": lambda _net, x: x.clamp_min_(0),
}


RULES: list[tuple[str, dict[str, Any]]] = [
    ("guided_backprop", {}), ("deconvnet", {}), ("rectified_gradient", {"quantile": 0.5}), ("deep_lift", {}),
    ("deep_lift", {"rule": "reveal-cancel"}), ("lrp", {}), ("lrp", {"composite": "alpha2-beta1-flat"}),
    ("lrp", {"composite": "epsilon-gamma-box"}), ("attn_lrp", {}),
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_relu_is_a_relu_however_it_is_written(spelling: str) -> None:
    net, x = small_net()
    functional = Functional(net, spelling)
    for lens, parameters in RULES:
        assert (
            relative_error(by_convscope(lens, functional, x, **parameters), by_convscope(lens, net, x, **parameters))
            < 1e-6
        ), lens


@pytest.mark.parametrize(
    ("lens", "method"),
    [("guided_backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution"), ("deep_lift", "DeepLift")],
)
def test_captum_does_not_see_a_relu_that_is_no_module(lens: str, method: str, peers: ModuleType) -> None:
    """ConvScope gives the same result for both; Captum's differs for the functional network, without a warning."""
    net, x = small_net()
    net[2] = nn.AvgPool2d(2)
    captum_options = {"baselines": torch.zeros_like(x)} if lens == "deep_lift" else {}
    parameters = {"baseline": torch.zeros_like(x)} if lens == "deep_lift" else {}
    actual = by_convscope(lens, Functional(net, "F.relu"), x, **parameters)
    assert relative_error(actual, by_captum(peers, method, net, x, **captum_options)) < TOLERANCE
    assert relative_error(actual, by_captum(peers, method, Functional(net, "F.relu"), x, **captum_options)) > 0.1


def test_zennit_gives_plain_gradients_where_a_relu_is_no_module() -> None:
    net, x = small_net()
    for lens, composite in (("guided_backprop", "GuidedBackprop"), ("deconvnet", "DeconvNet")):
        make_composite = getattr(zennit.composites, composite)
        actual = by_convscope(lens, Functional(net, "F.relu"), x)
        assert relative_error(actual, by_zennit(net, x, make_composite(), start=one_for_class_one)) < TOLERANCE
        assert (
            relative_error(actual, by_zennit(Functional(net, "F.relu"), x, make_composite(), start=one_for_class_one))
            > 0.1
        )
