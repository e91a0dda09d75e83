"""An activation written in any way is treated as itself; what is no activation is not."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import convscope as cs
from tests.engine.rules.networks import EVERY
from tests.engine.rules.spelled_networks import Two, an_input
from tests.nets import seeded


def in_place(change: Callable[[Tensor], object]) -> Callable[[Tensor], Tensor]:
    def act(y: Tensor) -> Tensor:
        change(y)
        return y

    return act


def _set_to_zero(y: Tensor) -> None:
    y[y < 0] = 0


def _by_name(name: str) -> Callable[[Tensor], Tensor]:
    return lambda y: getattr(y, name)(torch.zeros(()))


SPELLED: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "torch.maximum": (lambda y: torch.maximum(y, torch.zeros_like(y)), F.relu),
    "torch.maximum, a number": (lambda y: torch.maximum(torch.tensor(0.0), y), F.relu),
    "torch.max": (lambda y: torch.max(y, torch.zeros(())), F.relu),
    "torch.fmax": (lambda y: torch.fmax(y, torch.zeros(())), F.relu),
    "maximum, method": (_by_name("maximum"), F.relu),
    "clamp_min": (lambda y: y.clamp_min(0), F.relu),
    "clamp": (lambda y: torch.clamp(y, min=0), F.relu),
    "threshold": (lambda y: F.threshold(y, 0, 0), F.relu),
    "minus the minimum": (lambda y: -torch.minimum(-y, torch.zeros(())), F.relu),
    "less what is negative": (lambda y: y - y.clamp(max=0), F.relu),
    "half of x + |x|": (lambda y: (y + y.abs()) / 2, F.relu),
    "times a mask": (lambda y: y * (y > 0), F.relu),
    "times a mask of floats": (lambda y: (y > 0).float() * y, F.relu),
    "times a mask of its type": (lambda y: y * y.gt(0).type_as(y), F.relu),
    "times a mask turned round": (lambda y: y * ~(y <= 0), F.relu),
    "times what is not below": (lambda y: y * (1 - (y < 0).to(y.dtype)), F.relu),
    "heaviside": (lambda y: y * torch.heaviside(y, torch.zeros(())), F.relu),
    "where": (lambda y: torch.where(y > 0, y, torch.zeros(())), F.relu),
    "where turned round": (lambda y: torch.where(y.le(0), torch.zeros_like(y), y), F.relu),
    "masked_fill": (lambda y: y.masked_fill(y < 0, 0.0), F.relu),
    "masked_fill_": (in_place(lambda y: y.masked_fill_(y < 0, 0.0)), F.relu),
    "set to zero": (in_place(_set_to_zero), F.relu),
    "mul_": (in_place(lambda y: y.mul_(y > 0)), F.relu),
    "torch.ops": (lambda y: torch.ops.aten.relu.default(y), F.relu),
    "leaky, where": (lambda y: torch.where(y > 0, y, 0.1 * y), lambda y: F.leaky_relu(y, 0.1)),
    "leaky, maximum": (lambda y: torch.maximum(y, 0.1 * y), lambda y: F.leaky_relu(y, 0.1)),
    "relu6": (lambda y: torch.minimum(torch.maximum(y, torch.zeros(())), torch.tensor(6.0)), F.relu6),
    "x * sigmoid(x)": (lambda y: y * torch.sigmoid(y), F.silu),
    "sigmoid(x) * x": (lambda y: y.sigmoid().mul(y), F.silu),
    "x / (1 + exp(-x))": (lambda y: y / (1 + torch.exp(-y)), F.silu),
    "gelu, erf": (lambda y: 0.5 * y * (1 + torch.erf(y / math.sqrt(2))), F.gelu),
    "gelu, cdf first": (lambda y: y * (0.5 * (1.0 + torch.erf(y * 2**-0.5))), F.gelu),
    "gelu, tanh": (
        lambda y: 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3))),
        lambda y: F.gelu(y, approximate="tanh"),
    ),
    "mish": (lambda y: y * torch.tanh(F.softplus(y)), F.mish),
    "hardswish": (lambda y: y * F.relu6(y + 3) / 6, F.hardswish),
    "hardswish, gate first": (lambda y: y * (F.relu6(y + 3) / 6), F.hardswish),
}  # fmt: skip


RECTIFYING = ("guided_backprop", "deconvnet", "rectified_gradient")
"""Lenses whose rule for rectifiers ignores the slope: after half of x + |x| their maps are half as large."""


LENSES_AND_SPELLINGS = [
    pytest.param(lens, written, marks=() if (number + place) % 3 == 0 else pytest.mark.by_hand)
    for number, lens in enumerate([*EVERY, "excitation_backprop"])
    for place, written in enumerate(SPELLED)
]
"""Each spelling with a third of the lenses in ``make test``, with the others by hand."""


@pytest.mark.parametrize(("lens", "written"), LENSES_AND_SPELLINGS)
def test_an_activation_is_itself_in_any_spelling(lens: str, written: str) -> None:
    spelled, named = (seeded(Two, act) for act in SPELLED[written])
    x = an_input()
    torch.testing.assert_close(spelled(x.clone()), named(x.clone()))
    parameters = {"layer": "first"} if lens == "excitation_backprop" else {}
    pairs = zip(
        getattr(cs, lens)(spelled, x, target=1, **parameters),
        getattr(cs, lens)(named, x, target=1, **parameters),
        strict=True,
    )
    for actual, expected in pairs:
        assert expected.values.any()
        if lens in RECTIFYING and written == "minus the minimum":
            assert any("gradient" in name for name in actual.notes["rules"])  # not recognized as a rectifier
            continue
        if lens in RECTIFYING:
            actual, expected = (values / values.abs().max() for values in (actual.values, expected.values))
            torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)
            continue
        torch.testing.assert_close(
            actual.values, expected.values, rtol=1e-3, atol=2e-5 * float(expected.values.abs().max())
        )


@pytest.mark.parametrize("written", ["times a mask", "where", "torch.maximum", "x * sigmoid(x)", "set to zero"])
@pytest.mark.parametrize("axes", [0, 1, 3])
def test_spellings_are_known_whatever_the_axes(axes: int, written: str) -> None:
    spelled, named = (seeded(Two, act, axes) for act in SPELLED[written])
    x = an_input(axes)
    for lens in EVERY:
        for actual, expected in zip(
            getattr(cs, lens)(spelled, x, target=1), getattr(cs, lens)(named, x, target=1), strict=True
        ):
            torch.testing.assert_close(
                actual.values, expected.values, rtol=1e-3, atol=2e-5 * float(expected.values.abs().max())
            )


def test_the_sloped_sigmoid_of_quick_gelu_is_one_activation() -> None:
    act = lambda y: y * torch.sigmoid(1.702 * y)  # noqa: E731
    net, x = seeded(Two, act), an_input()
    for attribution in cs.lrp(net, x, target=1):
        assert attribution.notes["relative conservation gap"] < 1e-4
        assert attribution.notes["rules"]["rectifier: pass"] == 2
    for attribution in cs.deep_lift(net, x, target=1):
        assert abs(attribution.notes["relative completeness gap"]) < 1e-4
    assert cs.guided_backprop(net, x, target=1)[0].notes["rules"] == {
        "mul: gradient": 2, "sigmoid: gradient": 2, "rectifier: guided": 2
    }  # fmt: skip


NO_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "square": lambda y: y * y,
    "residual": lambda y: y + F.relu(y),
    "gate of another": lambda y: y * y.flip(1).sigmoid(),
    "mean subtracted": lambda y: y - y.mean(1, keepdim=True),
    "difference of halves": lambda y: F.relu(y) - F.relu(-y) + y,
}  # fmt: skip


@pytest.mark.parametrize("written", NO_ACTIVATIONS)
def test_what_is_no_activation_is_not_taken_for_one(written: str) -> None:
    net = seeded(Two, NO_ACTIVATIONS[written])
    for lens in EVERY:
        rules = getattr(cs, lens)(net, an_input(), target=1)[0].notes.get("rules", {})
        assert not any("rectifier" in name for name in rules), rules


def test_a_source_written_to_since_is_no_source() -> None:
    def act(y: Tensor) -> Tensor:
        mask = y > 0
        y += 1
        return y * mask

    net, x = seeded(Two, act), an_input()
    rules = cs.guided_backprop(net, x, target=1)[0].notes["rules"]
    assert not any("rectifier" in name for name in rules)
    for attribution in cs.lrp(net, x, target=1):
        assert attribution.notes["relative conservation gap"] < 1e-4
