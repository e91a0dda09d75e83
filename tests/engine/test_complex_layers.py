"""Layers with complex outputs: refused as complex, not as integer, and never reduced to their real part."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import LayerError, NoRule


class Filter(nn.Module):
    """A filter in frequency space."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*shape, dtype=torch.cfloat))

    def forward(self, spectrum: Tensor) -> Tensor:
        return spectrum * self.weight


class Spectral(nn.Module):
    """A convolution, a filter in frequency space, and a linear head, over one to three axes."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.stem = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes](1, 4, 3, padding=1)
            self.filter = Filter(4, *[8] * (axes - 1), 5)
            self.back = nn.ReLU()
            self.head = nn.Linear(4, 3)
        self.axes = tuple(range(2, 2 + axes))

    def forward(self, x: Tensor) -> Tensor:
        spectrum = self.filter(torch.fft.rfftn(self.stem(x).relu(), dim=self.axes))
        signal = torch.fft.irfftn(spectrum, s=x.shape[2:], dim=self.axes)
        return self.head(self.back(signal).flatten(2).mean(2))


class Parts(Spectral):
    """The filter gives a tuple, as some layers do."""

    def __init__(self, axes: int) -> None:
        super().__init__(axes)
        inner = self.filter.forward

        def in_a_tuple(spectrum: Tensor) -> Any:
            return (inner(spectrum),)

        self.filter.forward = in_a_tuple  # type: ignore[method-assign]

    def forward(self, x: Tensor) -> Tensor:
        spectrum = self.filter(torch.fft.rfftn(self.stem(x).relu(), dim=self.axes))[0]
        return self.head(self.back(torch.fft.irfftn(spectrum, s=x.shape[2:], dim=self.axes)).flatten(2).mean(2))


def inputs(axes: int) -> Tensor:
    return torch.randn(1, 1, *[8] * axes, generator=torch.Generator().manual_seed(1))


AT_THE_FILTER: dict[str, Callable[[Any, Tensor], Any]] = {
    "grad-cam": lambda net, x: cs.grad_cam(net, x, layer="filter"),
    "eigen-cam": lambda net, x: cs.eigen_cam(net, x, layer="filter"),
    "score-cam": lambda net, x: cs.score_cam(net, x, layer="filter"),
    "ablation-cam": lambda net, x: cs.ablation_cam(net, x, layer="filter"),
    "recipro-cam": lambda net, x: cs.recipro_cam(net, x, layer="filter"),
    "feature-maps": lambda net, x: cs.feature_maps(net, x, layer="filter"),
    "activations": lambda net, x: cs.activations(net, x, layer="filter"),
    "top-inputs": lambda net, x: cs.top_inputs(net, x, unit="filter[3]"),
    "saliency of a unit": lambda net, x: cs.saliency(net, x, target="filter[3]"),
    "invert": lambda net, x: cs.invert(net, x, layer="filter", steps=2),
}


@pytest.mark.parametrize("call", AT_THE_FILTER)
@pytest.mark.parametrize("build", [Spectral, Parts])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_complex_layer_is_refused_as_complex(axes: int, build: type[Spectral], call: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns where it drops an imaginary part
        with pytest.raises(LayerError, match=r"filter.* complex numbers \(complex64\)") as refusal:
            AT_THE_FILTER[call](build(axes).eval(), inputs(axes))
    assert "whole numbers" not in str(refusal.value)


@pytest.mark.parametrize("unit", ["filter[3]", "filter[3, 2, 2]"])
def test_a_complex_number_is_not_worked_out(unit: str) -> None:
    with pytest.raises(LayerError, match="complex"):
        cs.step_through(Spectral(2).eval(), inputs(2), unit=unit)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_what_lies_around_a_complex_layer_is_looked_into(axes: int) -> None:
    net, x = Spectral(axes).eval(), inputs(axes)
    for layer in ("stem", "back"):
        assert not cs.grad_cam(net, x, layer=layer, relu=False).blank
    distribution = cs.activations(net, x)
    assert [layer.layer for layer in distribution.layers] == ["stem", "back", "head"]
    assert distribution.notes["left out"] == "filter: these give complex numbers (complex64)"
    assert not cs.saliency(net, x).blank
    assert cs.structure(net, x).parameters == sum(p.numel() for p in net.parameters())
    assert cs.parameter_gradients(net, x).notes["left out"] == "complex parameters: filter.weight"


def test_whole_numbers_are_still_called_so() -> None:
    class Bins(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * 8).long()

    net = nn.Sequential(nn.Conv2d(1, 4, 3), Bins(), nn.Flatten())
    net.forward = lambda x: net[2](net[1](net[0](x)).float())  # type: ignore[method-assign]
    with pytest.raises(LayerError, match=r"whole numbers \(int64\)"):
        cs.grad_cam(net.eval(), inputs(2), target=0, layer="1")
    assert cs.feature_maps(net, inputs(2), layer="1").maps["1"].dtype == torch.float32


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_rules_of_relevance_name_a_complex_convolution(axes: int) -> None:
    conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes](1, 4, 3, dtype=torch.cfloat)

    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = conv, nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x.to(torch.cfloat)).abs().flatten(2).mean(2))

    with pytest.raises(NoRule, match="complex numbers"):
        cs.lrp(Complex().eval(), inputs(axes), target=1)
