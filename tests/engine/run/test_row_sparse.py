"""The backward pass of linear layers for rows with a gradient: that of autograd, with fewer multiplications."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import convscope as cs
from convscope.engine.run.row_sparse import RowSparseLinears

ROWS = 40


def frozen(*, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 5, bias=bias), nn.Tanh(), nn.Linear(5, 3, bias=bias))
    return layers.double().requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [[7], [0, 7, 39], list(range(ROWS))], ids=["one", "three", "all"])
def test_the_gradient_is_that_of_autograd(rows: list[int], bias: bool) -> None:
    net, x = frozen(bias=bias), torch.randn(ROWS, 6, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(net(x)[rows].square().sum(), x)
    with RowSparseLinears():
        output = net(x)
    with FlopCounterMode(display=False) as counter:
        (gradient,) = torch.autograd.grad(output[rows].square().sum(), x)
    torch.testing.assert_close(gradient, expected)
    assert counter.get_total_flops() == len(rows) * 2 * (6 * 5 + 5 * 3)


def test_weights_with_a_gradient_and_few_rows_are_left_to_autograd() -> None:
    trained, few = frozen().requires_grad_(True), torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    with RowSparseLinears():
        for net, x in ((trained, torch.randn(ROWS, 6, dtype=torch.float64, requires_grad=True)), (frozen(), few)):
            assert "Addmm" in net(x).grad_fn.name()
    (gradient,) = torch.autograd.grad(net(few).sum(), few)
    assert gradient.abs().sum() > 0


def test_the_map_of_a_box_of_a_detector_is_the_same(torchvision: object) -> None:
    torch.manual_seed(0)
    model = cs.load("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn?weights=none", size=64)
    model.module.transform.min_size, model.module.roi_heads.score_thresh = (64,), 0.0
    x = torch.rand(1, 3, 64, 64)
    value = cs.grad_cam(model, x, target="box:1")
    kept = cs.grad_cam(model, x, target="box:1", differentiable=True)  # whose graph autograd keeps for itself
    torch.testing.assert_close(value.values, kept.values.detach())
    assert value.values.abs().max() > 0
