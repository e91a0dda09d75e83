"""Identities between LRP, excitation backprop and plain gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from tests.conftest import picture_model
from tests.engine.rules.networks import _apart
from tests.nets import FlattenNet, PlainNet, ResidualNet, seeded
from tests.twins.results import list_of_values


def bias_free(net: nn.Module) -> nn.Module:
    for name, weight in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(weight)
    return net


def test_lrp_zero_is_gradient_times_input_without_biases(pictures) -> None:
    for build in (PlainNet, FlattenNet):
        model = picture_model(bias_free(seeded(build)))
        for relevance, expected in zip(
            cs.lrp(model, pictures, composite="zero"), cs.gradient_x_input(model, pictures), strict=True
        ):
            assert _apart(relevance.values, expected.values) < 1e-5


def test_z_plus_relevance_is_nowhere_negative_for_positive_input_and_score() -> None:
    net = bias_free(seeded(FlattenNet))
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for target in range(4):
        for attribution in cs.lrp(net, x, composite="deep-taylor", rules="first: z-plus", target=target):
            assert attribution.score * float(attribution.channels.min()) >= -1e-9 or attribution.score < 0
            assert float((attribution.channels * (1 if attribution.score > 0 else -1)).min()) >= -1e-7


@pytest.mark.parametrize("first", ["flat", "w-square", "box"])
def test_the_rules_of_the_first_layer_give_to_pixels_that_are_zero_too(first: str) -> None:
    model = cs.Model(seeded(FlattenNet), input=cs.ImageInput(size=16, mean=(0.5,) * 3, std=(0.5,) * 3))
    x = torch.zeros(1, 3, 16, 16)
    x[:, :, :8] = torch.rand(3, 8, 16)
    attribution = cs.lrp(model, x, composite="zero", rules=f"first: {first}")
    assert float(attribution.values[10:].abs().sum()) > 0
    assert torch.isfinite(attribution.values).all()
    black = cs.lrp(model, torch.zeros(1, 3, 16, 16), composite="zero", rules=f"first: {first}")
    assert black.notes["relative conservation gap"] < 1e-4


@pytest.mark.parametrize("contrastive", [False, True])
def test_excitation_is_a_probability_and_its_contrast_adds_up_to_nothing(contrastive: bool, pictures) -> None:
    model = picture_model(seeded(FlattenNet))
    for attribution in cs.excitation_backprop(model, pictures, contrastive=contrastive, layer="features.1"):
        total = float(attribution.layer_values["features.1"].double().sum())
        assert total == pytest.approx(0 if contrastive else 1, abs=1e-5)


def test_relevance_through_all_channels_is_lrp(pictures) -> None:
    for build, layer, count in ((ResidualNet, "relu", 6), (FlattenNet, "features.1", 6), (PlainNet, "features", 8)):
        model = picture_model(seeded(build))
        by_index = cs.concept_relevance(model, pictures, layer=layer, channels=", ".join(map(str, range(count))))
        by_relevance = cs.concept_relevance(model, pictures, layer=layer, most=count)
        for chosen, largest, full in zip(by_index, by_relevance, cs.lrp(model, pictures), strict=True):
            assert _apart(chosen.values, full.values) < 1e-5
            assert _apart(largest.values, full.values) < 1e-5
            assert chosen.notes["share"] == pytest.approx(1)


SPELLINGS: dict[str, Callable[[nn.Linear, Tensor], Tensor]] = {
    "product and sum": lambda layer, x: x @ layer.weight.T + layer.bias,
    "sum and product": lambda layer, x: layer.bias + x @ layer.weight.T,
    "row of biases": lambda layer, x: x @ layer.weight.T + layer.bias[None],
    "addmm": lambda layer, x: torch.addmm(layer.bias, x.flatten(0, 1), layer.weight.T).unflatten(0, x.shape[:2]),
    "bmm": lambda layer, x: torch.bmm(x, layer.weight.T.expand(len(x), -1, -1)).view(*x.shape[:2], -1) + layer.bias,
}
"""A linear layer as networks and exported programs write it."""


class Spelled(nn.Module):
    """Two linear layers over the rows of an image, of which the first is spelled out."""

    def __init__(self, spelling: Callable[[nn.Linear, Tensor], Tensor] | None) -> None:
        super().__init__()
        self.hidden, self.scores, self.spelling = nn.Linear(8, 6), nn.Linear(6, 3), spelling

    def forward(self, x: Tensor) -> Tensor:
        rows = x.mean(1)
        hidden = self.hidden(rows) if self.spelling is None else self.spelling(self.hidden, rows)
        return self.scores(hidden.relu()).mean(1)


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_product_with_a_matrix_and_its_bias_are_a_linear_layer(spelling: Callable[..., Tensor]) -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected, values = (
        list_of_values(cs.lrp(seeded(Spelled, each), x, composite="epsilon", rules="linear: gamma 0.25", target=1))
        for each in (None, spelling)
    )
    for value, of_layer in zip(values, expected, strict=True):
        assert _apart(value.values, of_layer.values) < 1e-6
        assert value.notes["rules"]["linear: gamma"] == of_layer.notes["rules"]["linear: gamma"] == 2
