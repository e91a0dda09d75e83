"""Backward rules: nothing is lost, nothing is silent, nothing is left behind, however a network is written."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import convscope as cs

LRP = ("epsilon-plus", "epsilon-plus-flat", "epsilon-gamma-box", "alpha2-beta1")
EVERY = ("lrp", "attn_lrp", "deep_lift", "guided_backprop", "deconvnet", "rectified_gradient", "full_grad")
SPEC = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

# Conservation on the networks people have

CONVNETS = {
    "vgg11": 32, "vgg11_bn": 32, "resnet18": 48, "resnet50": 48, "densenet121": 48, "googlenet": 48,
    "inception_v3": 80, "squeezenet1_1": 48, "mobilenet_v2": 48, "mobilenet_v3_small": 48, "efficientnet_b0": 48,
    "convnext_tiny": 48, "regnet_y_400mf": 48,
}  # fmt: skip


def alive(net: nn.Module, side: int) -> cs.Model:
    """A random network whose scores depend on the input: batch norms with statistics of data and biases that matter.

    As they are initialised, deep ones of them answer 1e-14 to everything.
    """
    generator = torch.Generator().manual_seed(0)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain mean of what it sees
        norm.reset_running_stats()
    with torch.no_grad():
        if norms:
            net.train()
            for module in net.modules():
                module.training = module.training and not isinstance(module, nn.Dropout)
            net(torch.randn(4, 3, side, side, generator=generator))
            net.eval()
        for norm in norms:
            norm.weight.uniform_(0.7, 1.3, generator=generator)
            norm.bias.uniform_(-0.2, 0.2, generator=generator)
        for layer in net.modules():
            if isinstance(layer, nn.LayerNorm):
                layer.bias.uniform_(-0.2, 0.2, generator=generator)
        heads = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
        if heads and not heads[-1].weight.any():  # torchvision's ViT begins with a head of zeros
            nn.init.normal_(heads[-1].weight, std=0.05, generator=generator)
    return cs.Model(net.eval(), input=cs.ImageInput(size=side, **SPEC))


def images(side: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(7)) * 4 - 2


@pytest.fixture(scope="module", params=[*CONVNETS, "swin_t"])
def network(request: pytest.FixtureRequest, torchvision: ModuleType) -> tuple[cs.Model, Tensor]:
    """A torchvision network, unmodified, and an input of the smallest size it takes."""
    side = CONVNETS.get(request.param, 48)
    options = {"init_weights": False} if request.param in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = getattr(torchvision.models, request.param)(weights=None, **options)
    return alive(net, side), images(side)


@pytest.mark.parametrize("composite", LRP)
def test_lrp_keeps_all_relevance(composite: str, network: tuple[cs.Model, Tensor]) -> None:
    """What was sent back is what arrived and what biases and other constants absorbed, in total and at each layer."""
    model, x = network
    one = cs.lrp(model, x, composite=composite)
    notes = one.notes
    assert abs(one.score) > 1e-3
    assert notes["relative conservation gap"] < 1e-3
    assert float(one.channels.double().sum()) - one.score == pytest.approx(
        notes["completeness gap"], abs=1e-3 * abs(one.score)
    )
    largest = max(abs(part["received"]) for part in notes["relevance per layer"].values())
    assert max(abs(part["lost"]) for part in notes["relevance per layer"].values()) < 1e-3 * largest
    assert "without a rule" not in notes


def test_lrp_that_shares_biases_gives_all_to_the_pixels_where_layers_are_alive(network: tuple) -> None:
    """Biases of affine layers then absorb only what has no other cause; those of norms still have their share."""
    model, x = network
    notes = cs.lrp(model, x, bias="share").notes
    assert notes["relative conservation gap"] < 1e-3
    if type(model.module).__name__ in ("VGG", "ResNet", "GoogLeNet", "RegNet"):
        assert abs(notes["absorbed by biases"]) < 1e-6


@pytest.mark.parametrize("rule", ["rescale", "reveal-cancel"])
def test_deep_lift_adds_up_to_the_difference(rule: str, network: tuple[cs.Model, Tensor]) -> None:
    model, x = network
    one = cs.deep_lift(model, x, rule=rule)
    rise = one.score - one.notes["baseline score"]
    assert abs(rise) > 1e-3
    assert abs(float(one.channels.double().sum()) - rise) < 1e-3 * abs(rise)
    assert abs(one.notes["relative completeness gap"]) < 1e-3


def test_networks_whose_signal_vanishes_keep_all_relevance_too(torchvision: ModuleType) -> None:
    """As initialised their scores are 1e-10 and less: no guard in a denominator and no threshold may be larger."""
    for name in ("efficientnet_b0", "mobilenet_v3_small", "mobilenet_v2"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = getattr(torchvision.models, name)(weights=None).eval()
        model = cs.Model(net, input=cs.ImageInput(size=48, **SPEC))
        one = cs.lrp(model, images(48))
        assert 0 < abs(one.score) < 1e-7
        assert one.notes["relative conservation gap"] < 1e-3
        assert abs(cs.deep_lift(model, images(48)).notes["relative completeness gap"]) < 1e-3


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_vision_transformers_keep_all_relevance(library: str, torchvision: ModuleType) -> None:
    """The class token and the positions are constants that absorb much of it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if library == "timm":
            import timm

            net, side = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=10), 64
        else:
            side = 64
            net = torchvision.models.VisionTransformer(64, 16, 3, 4, 48, 96, num_classes=10)
    model = alive(net, side)
    one = cs.lrp(model, images(side))
    assert one.notes["relative conservation gap"] < 1e-3
    assert abs(one.notes["absorbed by biases"]) > 1e-3
    assert cs.lrp(model, images(side), composite="epsilon-plus-flat").notes["relative conservation gap"] < 1e-3
    assert abs(cs.deep_lift(model, images(side)).notes["relative completeness gap"]) < 1e-3
    assert torch.isfinite(cs.attn_lrp(model, images(side)).values).all()


def test_vit_b_16_keeps_all_relevance(torchvision: ModuleType) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = alive(torchvision.models.vit_b_16(weights=None), 224)
    one = cs.lrp(model, images(224))
    assert abs(one.score) > 1e-3
    assert one.notes["relative conservation gap"] < 1e-3


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2_tf2", "cifar_resnet20", "tinyvgg"])
def test_trained_networks_keep_all_relevance(name: str, assets: Path) -> None:
    model, x = trained(name, assets)
    for composite in LRP:
        assert cs.lrp(model, x, composite=composite).notes["relative conservation gap"] < 1e-3, composite
    for rule in ("rescale", "reveal-cancel"):
        assert abs(cs.deep_lift(model, x, rule=rule).notes["relative completeness gap"]) < 1e-3, rule
