"""The strongest activation of a unit painted back by hand: transposed convolutions with rectifiers between them."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import convscope as cs
from convscope.errors import ParameterError, UnknownName
from tests.nets import PlainNet, seeded


def deconv_unit(net: PlainNet, x: Tensor, unit: int, *, guided: bool = False) -> tuple[Tensor, float]:
    """What one unit of the second convolution's rectifier is painted back into, and how strong it was."""
    first, _, second, _ = net.features
    a1 = F.relu(F.conv2d(x, first.weight, first.bias, padding=1))
    a2 = F.relu(F.conv2d(a1, second.weight, second.bias, stride=2, padding=1))
    flat = int(a2[0, unit].argmax())
    g = torch.zeros_like(a2)
    g[0, unit].view(-1)[flat] = 1
    switched = a2 > 0 if guided else torch.ones_like(a2)
    g = F.relu(g) * switched
    g = F.conv_transpose2d(g, second.weight, stride=2, padding=1, output_padding=1)
    g = F.relu(g) * (a1 > 0 if guided else 1)
    return F.conv_transpose2d(g, first.weight, padding=1)[0].detach(), float(a2[0, unit].detach().flatten()[flat])


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
@pytest.mark.parametrize("unit", [0, 3, 6])
def test_it_is_the_transposed_network_run_back_from_the_strongest_place(unit: int, rule: str) -> None:
    net = seeded(PlainNet).double()
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(unit)).double()
    true, score = deconv_unit(net, x, unit, guided=rule == "guided")
    found = cs.deconv_unit(net, x, unit=f"features.3[{unit}]", rule=rule)
    assert found.score == pytest.approx(score)
    assert found.target == f"features.3[{unit}]"
    torch.testing.assert_close(found.channels, true.float(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.values, true.sum(0).float(), rtol=1e-5, atol=1e-6)


def test_a_bare_layer_means_its_most_excited_unit_each_image_its_own() -> None:
    net = seeded(PlainNet)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    strongest = net.features(x).amax((2, 3)).argmax(1).tolist()
    found = cs.deconv_unit(net, x, unit="features.3")
    assert [one.target for one in found] == [f"features.3[{unit}]" for unit in strongest]
    for one, image, unit in zip(found, x, strongest, strict=True):
        alone = cs.deconv_unit(net, image[None], unit=f"features.3[{unit}]")
        torch.testing.assert_close(one.values, alone.values)


def test_a_named_place_is_the_one_painted_back() -> None:
    net = seeded(PlainNet)
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    found = cs.deconv_unit(net, x, unit="features.3[2, 4, 1]")
    assert found.notes["place"] == "4, 1 of 8×8"
    assert found.score == pytest.approx(net.features(x)[0, 2, 4, 1].item())
    outside = found.values.clone()
    outside[6:11, 0:5] = 0  # place (4, 1) at stride 2, with two kernels of three
    assert not outside.any()


@pytest.mark.parametrize(
    ("unit", "error", "said"),
    [
        ("features.3[8]", UnknownName, r"no unit features.3\[8\]: 'features.3' has units 0 to 7"),
        ("features.3[1, 9, 0]", UnknownName, r"no position .*: the map of 'features.3' is \(8, 8\)"),
        ("features.9[1]", UnknownName, "no layer 'features.9'"),
        (["features.0[1]", "features.0[2]"], ParameterError, "unit names one unit, got 2"),
        (7, UnknownName, "a unit is named as in"),
    ],
)
def test_a_unit_that_is_not_there_is_refused(unit: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        cs.deconv_unit(seeded(PlainNet), torch.zeros(1, 3, 16, 16), unit=unit)
