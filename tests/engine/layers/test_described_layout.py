"""Layouts that the user declares as text."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.engine.layers.layer_trace import layout_of
from convscope.errors import LayerError
from tests.engine.layers.layout_cases import Hidden, _build


@pytest.mark.parametrize(
    ("case", "notation"),
    [
        ("time first", "T N C"),
        ("channels last, a volume", "N D H W C"),
        ("tokens after a class token and a register", "N 2+H*W C"),
        ("frames folded into the batch, images first", "N*F C H W"),
        ("frames folded into the batch, frames first", "F*N C H W"),
        ("clips of frames with time as an axis", "N*D C H W"),
        ("columns of a spectrogram", "W N C"),
    ],
)
def test_the_notation_of_layouts(case: str, notation: str) -> None:
    model, x, layer, _ = _build(case)
    with model.preserve_state():
        assert layout_of(model, layer, x).notation == notation


class Fixed(Hidden):
    """It accepts one size of input only, and raises before any layer runs."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2:] == (16, 16)
        return super().forward(x)


def test_an_unknown_layout_is_refused_and_can_be_declared() -> None:
    torch.manual_seed(0)
    net, x = Fixed().eval(), torch.randn(2, 3, 16, 16)
    with pytest.raises(LayerError, match=r"layer 'norm' gives shape .*: choose another layer, or declare its layout"):
        cs.eigen_cam(net, x, layer="norm")
    declared = cs.eigen_cam(cs.Model(net, layouts={"norm": "N H W C"}), x, layer="norm")
    probed = cs.eigen_cam(cs.Model(Hidden().eval(), layouts={}), x, layer="norm")
    assert declared[0].layer_values["norm"].shape == probed[0].layer_values["norm"].shape == (8, 16)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("N H W", "has 3 words and its output 4 dimensions"),
        ("N H W Q", "has the word 'Q': a word is made of N, C, F, H, W"),
        ("C H W C", "names no batch"),
        ("N H2 W C", "gives 'H2' to a dimension of size 8"),
        ("N*F H W C", "N"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(text: str, message: str) -> None:
    model = cs.Model(Fixed().eval(), layouts={"norm": text})
    if text == "N*F H W C":  # fits: one frame
        assert cs.eigen_cam(model, torch.randn(1, 3, 16, 16), layer="norm").layers == ("norm",)
        return
    with pytest.raises(LayerError, match=message):
        cs.eigen_cam(model, torch.randn(1, 3, 16, 16), layer="norm")


@pytest.mark.parametrize("text", ["N 1+H3*W4 C", "N 1+H*W4 C", "N, 1+H3*W, C"])
def test_layouts_with_tokens_are_parsed(text: str) -> None:
    from convscope.engine.layers.described_layout import parse_layout

    output = torch.randn(2, 13, 5)
    layout = parse_layout(text, "block", (2, 13, 5), 2, 2)
    torch.testing.assert_close(layout.to_map(output), output[:, 1:].transpose(1, 2).unflatten(2, (3, 4)))
