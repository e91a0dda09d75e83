"""A picture, text or note that omits something says so and how much."""

import torch
from torch import nn

import convscope as cs
from tests.narrowing import tensor_in

CHANNELS = 2048


def images(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_maps_along_one_axis(drawn_texts: list[str]) -> None:
    net = nn.Sequential(nn.Conv1d(2, CHANNELS, 3))
    cs.feature_maps(net, images(1, 2, 1500), layer="0", channels=0).picture()
    text = " ".join(drawn_texts)
    assert "1024 of 2048 channels are drawn, the largest mean magnitude first; the .npz file has all" in text
    assert "952 of 1498 positions are drawn, evenly chosen" in text


def test_kernels_of_one_place_as_a_matrix(drawn_texts: list[str]) -> None:
    cs.kernels(nn.Sequential(nn.Conv2d(8, CHANNELS, 1)), layer="0", most=0).picture()
    text = " ".join(drawn_texts)
    assert "2048 filters, one per row" in text
    assert "neighbouring cells share a pixel" in text
    assert "are drawn; all are in" not in text


def test_dead_layers_of_a_distribution() -> None:
    net = nn.Sequential(*(layer for _ in range(7) for layer in (nn.Conv2d(3, 3, 1), nn.ReLU())))
    for layer in [*net][::2]:
        nn.init.constant_(tensor_in(layer.weight), 0.0)
        nn.init.constant_(layer.bias, -1.0)
    distribution = cs.activations(net, images(9, 3, 8, 8), layer=[str(n) for n in range(1, 14, 2)])
    assert distribution.picture().alt.count("units dead") == 5
    assert "and 2 more" in distribution.picture().alt


def test_channels_of_a_distribution(drawn_texts: list[str]) -> None:
    net = nn.Sequential(nn.Conv2d(3, CHANNELS, 1))
    cs.activations(net, images(4, 3, 4, 4), layer="0").picture(layer="0")
    assert any("of 2048 channels, evenly chosen, the highest mean first" in text for text in drawn_texts)


def test_classes_of_a_distribution() -> None:
    labelled = [(torch.full((3, 4, 4), float(n)), n) for n in range(70)]
    distribution = cs.activations(nn.Sequential(nn.Conv2d(3, 4, 1)), labelled, layer="0")
    assert len(distribution.classes) == 64
    assert distribution.notes["classes"] == "means are kept of 64 of 70 classes, those met first"


def test_units_of_exemplars() -> None:
    net = nn.Sequential(nn.Conv2d(3, 20, 1))
    net[0].bias.data.fill_(-9.0)
    exemplars = cs.top_inputs(net, images(4, 3, 4, 4), unit=[f"0[{n}]" for n in range(14)], k=1)
    assert "and 2 more" in exemplars.picture().alt
    assert exemplars.notes["never above zero"].endswith("and 6 more")


def test_likeness_of_many_columns(drawn_texts: list[str]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 20, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    cs.compare(net, images(1, 3, 8, 8), targets=list(range(17)), lenses=["saliency"]).picture()
    assert any("are listed for up to 16 columns" in text for text in drawn_texts)
