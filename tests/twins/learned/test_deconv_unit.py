"""Deconvolution of a unit computed a second time, step by step, and compared with the lens."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.errors import ParameterError, UnknownName
from tests.nets import PlainNet, seeded
from tests.twins.binding import twin_of
from tests.twins.results import list_of_values


@twin_of(cs.deconv_unit)
def deconv_unit(net: PlainNet, x: Tensor, unit: int, *, guided: bool = False) -> tuple[Tensor, float]:
    """The back-projection of a unit of the second ReLU, and its activation."""
    first, _, second, _ = net.features
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.Conv2d)
    a1 = F.relu(F.conv2d(x, first.weight, first.bias, padding=1))
    a2 = F.relu(F.conv2d(a1, second.weight, second.bias, stride=2, padding=1))
    index = int(a2[0, unit].argmax())
    g = torch.zeros_like(a2)
    g[0, unit].view(-1)[index] = 1
    active = a2 > 0 if guided else torch.ones_like(a2)
    g = F.relu(g) * active
    g = F.conv_transpose2d(g, second.weight, stride=2, padding=1, output_padding=1)
    g = F.relu(g) * (a1 > 0 if guided else 1)
    return F.conv_transpose2d(g, first.weight, padding=1)[0].detach(), float(a2[0, unit].detach().flatten()[index])


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
@pytest.mark.parametrize("unit", [0, 3, 6])
def test_the_map_is_the_transposed_network_from_the_strongest_position(
    unit: int, rule: Literal["deconvnet", "guided"]
) -> None:
    net = seeded(PlainNet).double()
    assert isinstance(net, PlainNet)
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(unit)).double()
    expected, score = deconv_unit(net, x, unit, guided=rule == "guided")
    attribution = cs.deconv_unit(net, x, unit=f"features.3[{unit}]", rule=rule)
    assert attribution.score == pytest.approx(score)
    assert attribution.target == f"features.3[{unit}]"
    torch.testing.assert_close(attribution.channels, expected.float(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(attribution.values, expected.sum(0).float(), rtol=1e-5, atol=1e-6)


def test_a_layer_means_its_most_active_unit_in_each_image() -> None:
    net = seeded(PlainNet)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    strongest = net.features(x).amax((2, 3)).argmax(1).tolist()
    attributions = cs.deconv_unit(net, x, unit="features.3")
    assert [attribution.target for attribution in attributions] == [f"features.3[{unit}]" for unit in strongest]
    for attribution, image, unit in zip(list_of_values(attributions), x, strongest, strict=True):
        alone = cs.deconv_unit(net, image[None], unit=f"features.3[{unit}]")
        torch.testing.assert_close(attribution.values, alone.values)


def test_a_given_position_is_projected_back() -> None:
    net = seeded(PlainNet)
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    attribution = cs.deconv_unit(net, x, unit="features.3[2, 4, 1]")
    assert attribution.notes["place"] == "4, 1 of 8×8"
    assert attribution.score == pytest.approx(net.features(x)[0, 2, 4, 1].item())
    outside = attribution.values.clone()
    outside[6:11, 0:5] = 0  # position (4, 1) at stride 2, after two 3×3 kernels
    assert not outside.any()


@pytest.mark.parametrize(
    ("unit", "error", "message"),
    [
        ("features.3[8]", UnknownName, r"no unit features.3\[8\]: 'features.3' has units 0 to 7"),
        ("features.3[1, 9, 0]", UnknownName, r"no position .*: the map of 'features.3' is \(8, 8\)"),
        ("features.9[1]", UnknownName, "no layer 'features.9'"),
        (["features.0[1]", "features.0[2]"], ParameterError, "unit names one unit, got 2"),
        (7, UnknownName, "a unit is named as in"),
    ],
)
def test_a_missing_unit_is_refused(unit: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cs.deconv_unit(seeded(PlainNet), torch.zeros(1, 3, 16, 16), unit=unit)
