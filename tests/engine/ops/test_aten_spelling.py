"""Operators of ATen have the names, the kinds and the arguments of the functions that every other road calls."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.ops.aten_spelling import convolution, torch_spelling
from convscope.engine.ops.call import Call
from convscope.engine.ops.operation_kinds import operation_kind, operation_name

aten = torch.ops.aten
SPELLINGS: list[tuple[str, list[Any]]] = [
    ("conv2d", [aten.conv2d.default, aten.conv2d.padding, torch.conv2d, F.conv2d]),
    ("relu", [aten.relu.default, aten.relu_.default, torch.relu, torch.relu_, F.relu, Tensor.relu_]),
    ("gelu", [aten.gelu.default, torch._C._nn.gelu, F.gelu]),
    ("batch_norm", [aten.batch_norm.default, torch.batch_norm, F.batch_norm]),
    ("softmax", [aten.softmax.int, aten._softmax.default, torch.softmax, F.softmax, Tensor.softmax]),
    ("add", [aten.add.Tensor, aten.add_.Tensor, torch.add, Tensor.add, Tensor.__add__, Tensor.__iadd__]),
    ("interpolate", [aten.upsample_bilinear2d.vec, aten.upsample_nearest2d.vec, F.interpolate]),
    ("pad", [aten.constant_pad_nd.default, aten.reflection_pad2d.default, aten.pad.default, F.pad]),
    ("linear", [aten.linear.default, torch._C._nn.linear, F.linear]),
    ("view", [aten.view.default, aten._unsafe_view.default, Tensor.view]),
    (
        "adaptive_avg_pool2d",
        [aten.adaptive_avg_pool2d.default, torch._C._nn.adaptive_avg_pool2d, F.adaptive_avg_pool2d],
    ),
]


@pytest.mark.parametrize(("name", "functions"), SPELLINGS, ids=[name for name, _ in SPELLINGS])
def test_every_spelling_has_one_name_and_one_kind(name: str, functions: list[Any]) -> None:
    assert {operation_name(function)[0] for function in functions} == {name}
    assert len({operation_kind(function) for function in functions}) == 1
    assert operation_kind(functions[0]) is not None


def test_arguments_of_a_norm_are_found_in_their_order() -> None:
    mean, variance, weight, bias = (torch.full((3,), float(n)) for n in range(1, 5))
    x = torch.randn(1, 3, 2, 2)
    operator = Call(aten.batch_norm.default, (x, weight, bias, mean, variance, False, 0.1, 1e-5, False), {})
    function = Call(F.batch_norm, (x, mean, variance, weight, bias, False, 0.1, 1e-5), {})
    for position, name in enumerate(("input", "running_mean", "running_var", "weight", "bias", "training")):
        assert operator.argument(position, name) is function.argument(position, name), name


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_general_convolution_is_that_of_its_axes(axes: int, transposed: bool) -> None:
    x, weight, bias = torch.randn(1, 4, *[7] * axes), torch.randn(4, 2, *[3] * axes), torch.randn(4)
    x = x if transposed else x[:, :4]
    groups = 2
    bias = torch.randn(4)
    args = (x, weight, bias, [2] * axes, [1] * axes, [1] * axes, transposed, [1 if transposed else 0] * axes, groups)
    function, arguments = torch_spelling(aten.convolution.default, args, {})
    assert operation_name(function)[0] == f"conv{'_transpose' if transposed else ''}{axes}d"
    assert torch.equal(function(*arguments), aten.convolution.default(*args))
    assert torch.equal(convolution(*args), aten.convolution.default(*args))


class GeneralConvolution(nn.Module):
    """A network whose convolution is called as decomposed programs do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.general = True

    def forward(self, x: Tensor) -> Tensor:
        if self.general:
            args = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
            y = aten.convolution.default(x, self.conv.weight, self.conv.bias, *args)
        else:
            y = F.conv2d(x, self.conv.weight, self.conv.bias)
        return self.head(aten.relu.default(y).flatten(2).mean(2))


@pytest.mark.parametrize("lens", ["lrp", "deep_lift", "full_grad"])
def test_rules_see_a_general_convolution(lens: str) -> None:
    network, x = GeneralConvolution().eval(), torch.randn(1, 3, 8, 8)
    general = getattr(cs, lens)(network, x)
    network.general = False
    plain = getattr(cs, lens)(network, x)
    assert general.notes["rules"] == plain.notes["rules"]
    assert torch.allclose(torch.as_tensor(general.values), torch.as_tensor(plain.values), atol=1e-6)
