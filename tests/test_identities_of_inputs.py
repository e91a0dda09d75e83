"""What must hold whatever the numbers are, on signals, bands, volumes, clips and rows of a table, and for boxes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from tests.input_kinds import KINDS
from tests.nets import CLASSES, PlainNet, seeded

TARGET = 1
Composite = Literal["zero", "epsilon-plus", "alpha2-beta1"]


def network_of(axes: int, *, smooth: bool = False) -> nn.Module:
    """Two convolutions without biases, a max pooling between them and one weight per position behind them."""
    convolution = {1: nn.Conv1d, 3: nn.Conv3d}[axes]
    pooling = {1: nn.MaxPool1d, 3: nn.MaxPool3d}[axes]

    def build() -> nn.Module:
        bend = nn.Tanh if smooth else nn.ReLU
        return nn.Sequential(
            convolution(2, 6, 3, padding=1, bias=False), bend(), nn.Identity() if smooth else pooling(2),
            convolution(6, 8, 3, padding=1, bias=False), bend(), nn.Flatten(), nn.LazyLinear(CLASSES, bias=False),
        )  # fmt: skip

    network = seeded(build)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network(torch.zeros(1, 2, *[8] * axes))
        network[-1].weight.mul_(20)  # scores far from 0
    return network


def random_input(axes: int) -> Tensor:
    return torch.randn(1, 2, *[8] * axes, generator=torch.Generator().manual_seed(0))


def model_of(axes: int, *, smooth: bool = False) -> cs.Model:
    return cs.Model(network_of(axes, smooth=smooth), input=cs.TensorInput(shape=(2, *[8] * axes)))


# Linear networks

MEASURED: Mapping[str, Any] = {
    "bands": cs.BandsInput(shape=(6, 16, 16), window=(0, 1e4)),
    "signal": cs.SignalInput(shape=(2, 48), rate=100, standardize=True),
    "volume": cs.VolumeInput(shape=(1, 8, 10, 12), window=(-2, 2)),
    "clip": cs.VideoInput(shape=(3, 6, 12, 12), mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.3)),
    "table": cs.TableInput(features=("age", "pulse", "dose"), mean=(50, 70, 1), std=(20, 12, 2)),
}


@pytest.mark.parametrize("name", MEASURED)
def test_a_linear_model_of_a_file_of_each_kind_gives_its_weights(name: str, tmp_path: Path) -> None:
    spec = MEASURED[name]
    shape = (3,) if name == "table" else spec.shape
    model = cs.Model(seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), CLASSES))), input=spec)
    given: Any = (
        [64.0, 80.0, 3.0] if name == "table" else next(kind for kind in KINDS if kind.name == name).write(tmp_path)
    )
    weight = model.module[1].weight[TARGET].detach().view(shape)  # type: ignore[index]
    gradient: Any = cs.saliency(model, given, target=TARGET)
    torch.testing.assert_close(gradient.channels.view(shape), weight)
    product: Any = cs.gradient_x_input(model, given, target=TARGET)
    prepared = model.prepare(given).tensor[0]
    torch.testing.assert_close(product.channels.view(shape), weight * prepared.view(shape), atol=1e-5, rtol=1e-4)
    path: Any = cs.integrated_gradients(model, given, target=TARGET, steps=2, quadrature="riemann-left")
    moved = (path.channels.view(shape) / weight).view(prepared.shape)
    start = model.module(prepared[None] - moved[None])[0, TARGET].item()  # type: ignore[operator]
    assert path.notes["baseline score"] == pytest.approx(start, abs=1e-3)


# Completeness and conservation


@pytest.mark.parametrize("axes", [1, 3])
def test_integrated_gradients_of_a_signal_and_a_volume_add_up_to_the_rise_of_the_score(axes: int) -> None:
    model, x = model_of(axes, smooth=True), random_input(axes)
    start = torch.full_like(x, 0.25)
    value: Any = cs.integrated_gradients(model, x, target=TARGET, baseline=start[0], steps=64)
    with torch.no_grad():
        rise = float((model.module(x) - model.module(start))[0, TARGET])  # type: ignore[operator]
    assert abs(rise) > 0.05
    assert float(value.values.double().sum()) == pytest.approx(rise, rel=1e-4)
    assert value.score - value.notes["baseline score"] == pytest.approx(rise, rel=1e-4)


@pytest.mark.parametrize("axes", [1, 3])
@pytest.mark.parametrize("composite", ["zero", "epsilon-plus", "alpha2-beta1"])
def test_relevance_is_conserved_without_biases(composite: Composite, axes: int) -> None:
    value: Any = cs.lrp(model_of(axes), random_input(axes), target=TARGET, composite=composite)
    assert abs(value.score) > 0.01
    assert float(value.channels.double().sum()) == pytest.approx(value.score, rel=1e-3)
    assert value.notes["absorbed by biases"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("axes", [1, 3])
def test_relevance_by_the_basic_rule_is_gradient_times_input_without_biases(axes: int) -> None:
    model, x = model_of(axes), random_input(axes)
    relevance: Any = cs.lrp(model, x, target=TARGET, composite="zero")
    product: Any = cs.gradient_x_input(model, x, target=TARGET)
    torch.testing.assert_close(relevance.channels, product.channels, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("axes", [1, 3])
def test_deep_lift_of_a_signal_and_a_volume_adds_up_to_the_rise_of_the_score(axes: int) -> None:
    model, x = PlainNet(axes, 2), random_input(axes)
    value: Any = cs.deep_lift(cs.Model(seeded(lambda: model)), x, target=TARGET, baseline=torch.full_like(x[0], 0.25))
    with torch.no_grad():
        rise = float((model(x) - model(torch.full_like(x, 0.25)))[0, TARGET])
    assert float(value.channels.double().sum()) == pytest.approx(rise, rel=1e-3)


# Boxes


def scaled(factor: float) -> cs.Model:
    """`bundled:detector` whose backbone gives ``factor`` times its maps, which the next layer takes back."""
    model = cs.load("bundled:detector")
    network: Any = model.module
    with torch.no_grad():
        network.backbone.merge[1].weight.mul_(factor), network.backbone.merge[1].bias.mul_(factor)
        network.head[0].weight.div_(factor)
    return model


@pytest.mark.parametrize(
    ("lens", "expected"),
    [
        ("saliency", 1),
        ("grad_cam", 1),
        ("grad_cam_plus_plus", 1),
        ("hires_cam", 1),
        ("layer_cam", 1),
        ("x_grad_cam", 1),
        ("eigen_grad_cam", 1),
        ("lrp", 1),
        ("eigen_cam", 4),  # activations alone, of whatever follows
    ],
)
def test_a_detector_whose_backbone_is_scaled_keeps_the_maps_of_its_boxes(lens: str, expected: float) -> None:
    """The boxes are the same: gradient × activation does not notice, a map of activations alone is scaled."""
    options: dict[str, Any] = {} if lens in ("saliency", "lrp") else {"layer": "backbone"}
    options |= {"composite": "zero"} if lens == "lrp" else {}
    options |= {} if lens == "eigen_cam" else {"target": "box:1"}
    plain, other = (getattr(cs, lens)(scaled(c), "sample:scenes/1", **options) for c in (1.0, 4.0))
    if "target" in options:
        assert other.score == pytest.approx(plain.score, rel=1e-5)
    torch.testing.assert_close(
        other.values, expected * plain.values, rtol=0, atol=1e-4 * expected * float(plain.values.abs().max())
    )
    assert plain.values.abs().max() > 0
