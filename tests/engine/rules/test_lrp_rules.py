"""Relevance is conserved on common networks."""

from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from tests.engine.rules.networks import SPEC, alive, images
from tests.narrowing import single

Composite = Literal["epsilon-plus", "epsilon-plus-flat", "epsilon-gamma-box", "alpha2-beta1"]
LRP: tuple[Composite, ...] = ("epsilon-plus", "epsilon-plus-flat", "epsilon-gamma-box", "alpha2-beta1")


@pytest.mark.parametrize("composite", LRP)
def test_lrp_keeps_all_relevance(composite: Composite, network: tuple[cs.Model, Tensor]) -> None:
    """The relevance of the input and what biases and other constants absorbed sum to the score, at each layer too."""
    model, x = network
    attribution = single(cs.lrp(model, x, composite=composite))
    assert attribution.score is not None
    notes = attribution.notes
    assert abs(attribution.score) > 1e-3
    assert notes["relative conservation gap"] < 1e-3
    assert float(attribution.channels.double().sum()) - attribution.score == pytest.approx(
        notes["completeness gap"], abs=1e-3 * abs(attribution.score)
    )
    largest = max(abs(part["received"]) for part in notes["relevance per layer"].values())
    assert max(abs(part["lost"]) for part in notes["relevance per layer"].values()) < 1e-3 * largest
    assert "without a rule" not in notes


def test_lrp_that_shares_biases_gives_all_to_the_pixels_where_layers_are_alive(network: tuple) -> None:
    """Biases of affine layers absorb relevance only of outputs without other terms; norms still absorb their share."""
    model, x = network
    notes = cs.lrp(model, x, bias="share").notes
    assert notes["relative conservation gap"] < 1e-3
    if type(model.module).__name__ in ("VGG", "ResNet", "GoogLeNet", "RegNet"):
        assert abs(notes["absorbed by biases"]) < 1e-6


@pytest.mark.parametrize("rule", ["rescale", "reveal-cancel"])
def test_deep_lift_adds_up_to_the_difference(
    rule: Literal["rescale", "reveal-cancel"], network: tuple[cs.Model, Tensor]
) -> None:
    model, x = network
    attribution = cs.deep_lift(model, x, rule=rule)
    rise = attribution.score - attribution.notes["baseline score"]
    assert abs(rise) > 1e-3
    assert abs(float(attribution.channels.double().sum()) - rise) < 1e-3 * abs(rise)
    assert abs(attribution.notes["relative completeness gap"]) < 1e-3


def test_networks_whose_signal_vanishes_keep_all_relevance_too(torchvision: ModuleType) -> None:
    """As initialized their scores are below 1e-10: no stabilizer of a denominator and no threshold may be larger."""
    for name in ("efficientnet_b0", "mobilenet_v3_small", "mobilenet_v2"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = getattr(torchvision.models, name)(weights=None).eval()
        model = cs.Model(net, input=cs.ImageInput(size=48, **SPEC))
        attribution = single(cs.lrp(model, images(48)))
        assert attribution.score is not None
        assert 0 < abs(attribution.score) < 1e-7
        assert attribution.notes["relative conservation gap"] < 1e-3
        assert abs(cs.deep_lift(model, images(48)).notes["relative completeness gap"]) < 1e-3


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_vision_transformers_keep_all_relevance(library: str, torchvision: ModuleType) -> None:
    """The class token and the position embeddings are constants that absorb much of the relevance."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if library == "timm":
            import timm

            net, side = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=10), 64
        else:
            side = 64
            net = torchvision.models.VisionTransformer(64, 16, 3, 4, 48, 96, num_classes=10)
    model = alive(net, side)
    attribution = cs.lrp(model, images(side))
    assert attribution.notes["relative conservation gap"] < 1e-3
    assert abs(attribution.notes["absorbed by biases"]) > 1e-3
    assert cs.lrp(model, images(side), composite="epsilon-plus-flat").notes["relative conservation gap"] < 1e-3
    assert abs(cs.deep_lift(model, images(side)).notes["relative completeness gap"]) < 1e-3
    assert torch.isfinite(cs.attn_lrp(model, images(side)).values).all()


@pytest.mark.by_hand
def test_vit_b_16_keeps_all_relevance(torchvision: ModuleType) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = alive(torchvision.models.vit_b_16(weights=None), 224)
    attribution = single(cs.lrp(model, images(224)))
    assert attribution.score is not None
    assert abs(attribution.score) > 1e-3
    assert attribution.notes["relative conservation gap"] < 1e-3


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2_tf2", "cifar_resnet20", "tinyvgg"])
def test_trained_networks_keep_all_relevance(name: str, assets: Path) -> None:
    model, x = trained(name, assets)
    for composite in LRP:
        assert cs.lrp(model, x, composite=composite).notes["relative conservation gap"] < 1e-3, composite
    for rule in ("rescale", "reveal-cancel"):
        assert abs(cs.deep_lift(model, x, rule=rule).notes["relative completeness gap"]) < 1e-3, rule


def trained(name: str, assets: Path) -> tuple[cs.Model, Tensor]:
    """A network with real weights, and an image of its kind."""
    weights = assets / f"models/{name}.safetensors"
    if name in ("squeezenet1_1", "mobilenet_v2_tf2"):
        model = cs.load(f"torchvision:{name.removesuffix('_tf2')}", weights=weights)
        return model, model.prepare(assets / "photos/test_data__cat_720p.jpg").tensor[:, :, 64:160, 64:160]
    net, side = (CifarResNet(), 32) if name == "cifar_resnet20" else (TinyVGG(), 64)
    net.load_state_dict(safetensors.torch.load_file(weights))
    model = cs.Model(net.eval(), input=cs.ImageInput(size=side, **SPEC))
    return model, model.prepare(assets / "photos/test_data__cat_720p.jpg").tensor


class CifarResNet(nn.Module):
    """He et al.'s ResNet-20: functional ReLUs, shortcuts that stride and pad with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        widths = (16, 16, 32, 64)
        for number in (1, 2, 3):
            blocks = [CifarBlock(widths[number - 1 if i == 0 else number], widths[number]) for i in range(3)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class CifarBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.stride, self.more = (2 if after != before else 1), (after - before) // 2
        self.conv1 = nn.Conv2d(before, after, 3, stride=self.stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        y += F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return F.relu(y)


class TinyVGG(nn.Module):
    """Four convolutions without padding, two max pools, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_1_1, self.conv_1_2 = nn.Conv2d(3, 10, 3), nn.Conv2d(10, 10, 3)
        self.conv_2_1, self.conv_2_2 = nn.Conv2d(10, 10, 3), nn.Conv2d(10, 10, 3)
        self.output = nn.Linear(1690, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv_1_2(F.relu(self.conv_1_1(x)))), 2)
        x = F.max_pool2d(F.relu(self.conv_2_2(F.relu(self.conv_2_1(x)))), 2)
        return self.output(x.permute(0, 2, 3, 1).flatten(1))
