"""The reason that a map is zero everywhere: it is determined by running the network, never guessed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.errors import NoGradient
from tests.narrowing import tensor_in


class Between(nn.Module):
    """An operation between a convolution and a linear head."""

    def __init__(self, middle: Callable[[Tensor], Tensor], axes: int = 2) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes](1, 4, 3)
            self.head = nn.Linear(4, 3)
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.conv(x)).flatten(2).mean(2))


def inputs(axes: int = 2) -> Tensor:
    return torch.randn(1, 1, *[8] * axes, generator=torch.Generator().manual_seed(1))


class Silent(torch.autograd.Function):
    """Doubles its input and passes a gradient of zeros."""

    @staticmethod
    def forward(_ctx: object, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(_ctx: object, gradient: Tensor) -> Tensor:
        return gradient * 0


class Straight(torch.autograd.Function):
    """Rounds, and passes the gradient as if it had not."""

    @staticmethod
    def forward(_ctx: object, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(_ctx: object, gradient: Tensor) -> Tensor:
        return gradient


def ungraded(h: Tensor) -> Tensor:
    with torch.no_grad():
        return h * 2


STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "round": lambda h: (h * 4).round() / 4,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "trunc": torch.trunc,
    "sign": torch.sign,
    "div": lambda h: torch.div(h, 0.1, rounding_mode="floor"),
}
CUT: dict[str, Callable[[Tensor], Tensor]] = {
    "argmax": lambda h: F.one_hot(h.argmax(1), 4).movedim(-1, 1).float(),
    "gt": lambda h: (h > 0).float(),
    "int": lambda h: (h * 8).int().float() / 8,
    "detach": lambda h: h.detach(),
    "data": lambda h: h.data,
    "item": lambda h: torch.ones_like(h) * h.mean().item(),
    "argsort": lambda h: h.flatten(2).argsort(2).float().view_as(h),
    "torch.no_grad": ungraded,
}
SWITCHED_OFF: dict[str, Callable[[Tensor], Tensor]] = {
    "dead": lambda h: F.relu(h - 1000),
    "clamped": lambda h: h.clamp(1000, 1001),
    "times zero": lambda h: h * 0,
}


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("name", STEPS)
def test_a_step_without_a_slope_is_named_and_the_score_is_said_to_change(name: str, axes: int) -> None:
    model = cs.Model(Between(STEPS[name], axes).eval())
    for attribution, changed_part in (
        (cs.saliency(model, inputs(axes), target=1), "the input"),
        (cs.grad_cam(model, inputs(axes), target=1, layer="conv"), "the output of layer 'conv'"),
    ):
        assert attribution.blank
        assert f"although the score changes with {changed_part}: '{name}'" in attribution.notes["blank"]
    assert not cs.occlusion(model, inputs(axes), target=1).blank  # so it does change


@pytest.mark.parametrize("name", CUT)
def test_an_operation_that_cuts_the_graph_is_named(name: str) -> None:
    model = cs.Model(Between(CUT[name]).eval())
    for lens in (cs.saliency, cs.integrated_gradients, cs.grad_cam):
        given: dict[str, Any] = {"layer": "conv"} if lens is cs.grad_cam else {}
        with pytest.raises(NoGradient, match=f"no gradient passes .*{name}"):
            lens(model, inputs(), target=1, **given)


@pytest.mark.parametrize("name", SWITCHED_OFF)
def test_a_score_that_stays_where_it_is_is_said_to(name: str) -> None:
    model = cs.Model(Between(SWITCHED_OFF[name]).eval())
    for attribution in (cs.saliency(model, inputs(), target=1), cs.grad_cam(model, inputs(), target=1, layer="conv")):
        assert attribution.notes["blank"].startswith(
            "the gradient is zero everywhere, and the score stays the same when noise"
        )


def test_a_saturated_path_is_told_from_one_that_leads_nowhere() -> None:
    net = Between(lambda h: h).eval()
    with torch.no_grad():
        just_off = float(net.conv(inputs()).max()) + 0.01
    net.middle = lambda h: F.relu(h - just_off)
    assert "saturated or switched off here" in cs.saliency(cs.Model(net), inputs(), target=1).notes["blank"]


def test_a_backward_pass_of_the_networks_own_is_named() -> None:
    attribution = cs.saliency(cs.Model(Between(Silent.apply).eval()), inputs(), target=1)
    assert "leads through Silent, whose backward pass is the network's own" in attribution.notes["blank"]
    assert not cs.saliency(cs.Model(Between(Straight.apply).eval()), inputs(), target=1).blank


def test_a_map_may_be_blank_though_the_gradient_is_not() -> None:
    model = cs.Model(Between(lambda h: h).eval())
    black = torch.zeros(1, 1, 8, 8)
    for lens in (cs.gradient_x_input, cs.integrated_gradients):
        assert lens(model, black, target=1).notes["blank"] == "the input is zero, though the gradient there is not"


def test_a_map_of_which_the_positive_part_is_kept_says_that_all_speaks_against() -> None:
    net = Between(F.relu).eval()
    with torch.no_grad():
        net.head.weight[1] = -net.head.weight[1].abs()
        tensor_in(net.conv.bias).add_(10)
    attribution = cs.grad_cam(cs.Model(net), inputs(), target=1, layer="conv", relu=True)
    assert attribution.blank
    assert "speaks against" in attribution.notes["blank"]
    assert not cs.grad_cam(cs.Model(net), inputs(), target=1, layer="conv", relu=False).blank


def test_looking_for_the_reason_leaves_the_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    cs.saliency(cs.Model(Between(torch.round).eval()), inputs(), target=1)
    assert torch.equal(torch.get_rng_state(), before)
