"""Layouts of outputs without a recorded operation are found by probing."""

import pytest
import torch

import convscope as cs
from convscope.engine.layers.layer_trace import as_feature_map
from tests.engine.layers.layout_cases import Hidden, _layer_output
from tests.narrowing import listed


@pytest.mark.parametrize("fold", [False, True])
def test_an_unrecorded_layout_is_probed(fold: bool) -> None:
    torch.manual_seed(0)
    model, x = cs.Model(Hidden(fold).eval()), torch.randn(2, 3, 16, 16)
    output = _layer_output(model, x, "norm")
    expected = output.movedim(-1, 1)
    if fold:
        expected = expected.unflatten(0, (2, 3)).transpose(1, 2)
    with model.preserve_state():
        torch.testing.assert_close(as_feature_map(model, "norm", x, output), expected)
    (first, second) = listed(cs.eigen_cam(model, x))
    assert first.layers == ("norm",)
    assert cs.eigen_cam(model, x)[0].cost.forwards == 1, "nothing is probed twice"
    assert not torch.equal(first.values, second.values)
