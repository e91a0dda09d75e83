"""Networks whose backward pass is not the derivative are detected and noted."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from tests.engine.network.checked_networks import Net, Recurrent, Tokens, hooked
from tests.engine.networks import SIDE, seeded, tensor

INPUTS = {1: (1, 3, 40), 2: (1, 3, SIDE, SIDE), 3: (1, 3, 6, 8, 8)}


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class Signs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (ctx.saved_tensors[0].abs() < 1)


def nearest_of(f: Tensor) -> Tensor:
    """Vector quantisation with a straight-through gradient."""
    book = torch.randn(16, 8, generator=torch.Generator().manual_seed(1))
    tokens = f.flatten(2).transpose(1, 2)
    near = book[torch.cdist(tokens, book.expand(len(f), -1, -1)).argmin(-1)].transpose(1, 2).view_as(f)
    return f + (near - f).detach()


def with_module_hook(rank: int = 2) -> nn.Module:
    net = Net(rank)
    net.second.register_full_backward_hook(lambda _module, grad_input, _grad_output: (-grad_input[0],))
    return net


BETWEEN: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "reversed by a function": (Reverse.apply, "-1.00 times"),
    "reversed by a tensor hook": (hooked(lambda g: -g), "-1.00 times"),
    "scaled by a tensor hook": (hooked(lambda g: 0.1 * g), "0.10 times"),
    "enlarged by a tensor hook": (hooked(lambda g: 10 * g), "10.0"),
    "clipped by a tensor hook": (hooked(lambda g: g.clamp(-1e-5, 1e-5)), "times"),
    "partly cut off": (lambda f: 0.5 * f + 0.5 * f.detach(), "0.50 times"),
    "a factor cut off": (lambda f: f * f.detach(), "0.50 times"),
    "a gate cut off": (lambda f: f * (3 * f).detach().sigmoid(), "times"),
    "another forward by subtraction": (lambda f: f + (3 * f - f).detach(), "0.33 times"),
    "rounded straight through": (Rounded.apply, "in steps"),
    "rounded by detaching": (lambda f: f + (f.round() - f).detach(), "in steps"),
    "signs straight through": (Signs.apply, "in steps"),
}


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("between", "message"), list(BETWEEN.values()), ids=list(BETWEEN))
def test_a_custom_backward_pass_is_noted(between: Any, message: str, rank: int) -> None:
    attribution = cs.gradient_x_input(seeded(lambda: Net(rank, between=between)), tensor(*INPUTS[rank]), target=1)
    assert message in attribution.notes["backward"]
    assert "batch" not in attribution.notes


CUSTOM_BACKWARD: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "module hook": (with_module_hook, 2),
    "module hook 1-D": (lambda: with_module_hook(1), 1),
    "nested module hook": (lambda: nn.Sequential(nn.Sequential(with_module_hook(3))), 3),
    "tokens": (lambda: Tokens(batch_first=True, between=Reverse.apply), 2),
    "LSTM": (lambda: Recurrent(between=hooked(lambda g: -g)), 1),
    "before a softmax": (lambda: Net(between=Reverse.apply, after=lambda out: out.softmax(1)), 2),
    "several heads, one reversed": (
        lambda: Net(after=lambda out: torch.cat([out[:, :2], Reverse.apply(out[:, 2:])], 1)),
        2,
    ),
    "vector quantisation": (lambda: Net(between=nearest_of), 2),
    "images that influence each other too": (
        lambda: Net(between=lambda f: Reverse.apply(f) - 0.5 * f.mean(0, keepdim=True)),
        2,
    ),
}


@pytest.mark.parametrize(("build", "rank"), list(CUSTOM_BACKWARD.values()), ids=list(CUSTOM_BACKWARD))
def test_a_custom_backward_pass_is_noted_for_other_networks(build: Any, rank: int) -> None:
    attribution = cs.saliency(seeded(build), tensor(*INPUTS[rank]), target=1)
    assert "not the derivative" in attribution.notes["backward"]


@pytest.mark.parametrize(
    "name",
    [
        *("saliency", "integrated_gradients", "smooth_grad", "grad_cam", "hires_cam", "layer_cam", "guided_backprop"),
        *("lrp", "deep_lift", "guided_grad_cam", "full_grad", "meaningful_perturbation"),
    ],
)
def test_every_lens_that_uses_the_backward_pass_notes_it(name: str) -> None:
    net = seeded(lambda: Net(between=hooked(lambda g: 0.5 * g)))
    sizes = {"steps": 3, "samples": 3}
    lens = getattr(cs, name)
    options = {key: value for key, value in sizes.items() if key in lens.declaration.parameters}
    layer = {"layer": "first"} if lens.declaration.takes_layer else {}
    assert "0.50 times" in lens(net, tensor(), target=1, **options, **layer).notes["backward"]
    assert "backward" not in lens(seeded(Net), tensor(), target=1, **options, **layer).notes


def test_lenses_without_gradients_do_not_note_it() -> None:
    net = seeded(lambda: Net(between=Reverse.apply))
    values = [
        cs.occlusion(net, tensor(), target=1, patch=8, stride=8),
        cs.eigen_cam(net, tensor()),
        cs.predict(net, tensor()),
    ]
    assert all("backward" not in value.notes for value in values)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_gradient_that_is_far_too_small_is_noted(rank: int) -> None:
    """The rise that it predicts exceeds the rounding for no short step; the measured rise does for one."""
    net = seeded(lambda: Net(rank, after=hooked(lambda g: g.clamp(-1e-6, 1e-6))))
    assert "times the true slope" in cs.saliency(net, tensor(*INPUTS[rank]), target=1).notes["backward"]
