"""Backward rules as zennit and Captum compute them; where they differ from ours, why.

In float64 and with the peers' stabilizers turned down, so that what is left of a difference is one of meaning. The
peers replace modules: they are asked about networks whose every activation, pooling and sum is a module of its own.
"""

import copy
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.loaders.torchvision import library
from tests.nets import FlattenNet, seeded
from tests.twins.slow import TOLERANCE, relative_error

library()  # zennit imports torchvision, which needs care
import zennit.attribution  # noqa: E402
import zennit.canonizers  # noqa: E402
import zennit.composites  # noqa: E402
import zennit.torchvision  # noqa: E402

SMALL = {"epsilon": 1e-12, "stabilizer": 1e-12}


def vgg_like(*, norm: bool = False, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    """Convolutions, pooling and linear layers in one sequence, all of them modules, with biases."""
    wide = [nn.BatchNorm2d(6)] if norm else []
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), *wide, activation(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1),
        activation(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10), activation(), nn.Linear(10, 4),
    )  # fmt: skip
    return with_statistics(net)


def with_statistics(net: nn.Module) -> nn.Module:
    """Batch norms with statistics, scales and shifts of their own, and biases that matter.

    Where zennit merges a batch norm it leaves out ε, which moves its scores by 1e-4; so ε is small here.
    """
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-12
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.4)
        elif isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.uniform_(module.bias, -0.1, 0.2)
        if hasattr(module, "inplace"):
            module.inplace = False
    return net


@pytest.fixture(params=["sequence", "sequence, batch norm", "flatten", "vgg11_bn", "resnet18", "resnet50"])
def network(request: pytest.FixtureRequest, torchvision: ModuleType) -> tuple[nn.Module, Tensor, list]:
    """A network in float64, two inputs, and the canonizers it takes for zennit to be right."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        match request.param:
            case "sequence":
                net, side = vgg_like(), 16
            case "sequence, batch norm":
                net, side = vgg_like(norm=True), 16
            case "flatten":
                net, side = seeded(FlattenNet), 16
            case name:
                net, side = with_statistics(getattr(torchvision.models, name)(num_classes=10)), 32
        x = torch.randn(2, 3, side, side, dtype=torch.double)
    return net.eval().double(), x, canonizers(request.param)


def canonizers(name: str) -> list:
    """Merging batch norms and, for residual networks, sums as modules: what our rules need no help for."""
    if name.startswith("resnet"):
        return [zennit.torchvision.ResNetCanonizer()]
    return [zennit.canonizers.SequentialMergeBatchNorm()]


def by_zennit(net: nn.Module, x: Tensor, composite: Any, *, start: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """zennit's numbers for class 1; by default what is sent back is the score itself."""
    seed = torch.eye(net(x).shape[1], dtype=x.dtype)[1]
    start = start or (lambda output: output * seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's, about full backward hooks
        with zennit.attribution.Gradient(copy.deepcopy(net), composite) as attributor:
            return attributor(x.clone().requires_grad_(), start)[1]


def ours(lens: str, net: nn.Module, x: Tensor, **parameters: Any) -> Tensor:
    return torch.stack([one.channels for one in getattr(cs, lens)(net, x, target=1, **parameters)])


COMPOSITES = {
    "epsilon-plus": lambda **named: zennit.composites.EpsilonPlus(**SMALL, **named),
    "epsilon-plus-flat": lambda **named: zennit.composites.EpsilonPlusFlat(**SMALL, **named),
    "epsilon-gamma-box": lambda **named: zennit.composites.EpsilonGammaBox(low=-9.0, high=9.0, **SMALL, **named),
    "alpha2-beta1": lambda **named: zennit.composites.EpsilonAlpha2Beta1(**SMALL, **named),
    "alpha2-beta1-flat": lambda **named: zennit.composites.EpsilonAlpha2Beta1Flat(**SMALL, **named),
}


@pytest.mark.parametrize("composite", COMPOSITES)
def test_lrp_is_that_of_zennit(composite: str, network: tuple) -> None:
    net, x, made_for = network
    low_high = cs.ImageInput(size=x.shape[-1], mean=(0.5,) * 3, std=(1 / 18,) * 3)  # black is -9 and white 9
    found = ours("lrp", cs.Model(net, input=low_high), x, composite=composite)
    assert relative_error(found, by_zennit(net, x, COMPOSITES[composite](canonizers=made_for))) < TOLERANCE


@pytest.mark.parametrize(("lens", "composite"), [("guided_backprop", "GuidedBackprop"), ("deconvnet", "DeconvNet")])
def test_modified_gradients_are_those_of_zennit(lens: str, composite: str, network: tuple) -> None:
    net, x, _ = network
    theirs = by_zennit(
        net, x, getattr(zennit.composites, composite)(), start=lambda y: torch.eye(y.shape[1])[1].to(y) + 0 * y
    )
    assert relative_error(ours(lens, net, x), theirs) < TOLERANCE


def test_excitation_backprop_is_that_of_zennit_where_inputs_are_positive(network: tuple) -> None:
    """At the first activation, which is nowhere negative; zennit lets biases take part unless told to leave them out,
    as the paper does."""
    net, x, made_for = network
    layer = next(name for name, module in net.named_modules() if isinstance(module, nn.ReLU))
    kept: list[Tensor] = []
    other = copy.deepcopy(net)
    composite = zennit.composites.ExcitationBackprop(stabilizer=1e-12, zero_params="bias", canonizers=made_for)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zennit.attribution.Gradient(other, composite) as attributor:
            first = [True]

            def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
                if first:
                    first.clear()
                    output.register_hook(lambda g: kept.append(g.detach()))

            handle = other.get_submodule(layer).register_forward_hook(keep)
            attributor(x.clone().requires_grad_(), lambda y: torch.eye(y.shape[1])[1].to(y) + 0 * y)
            handle.remove()
    found = torch.stack([one.layer_values[layer] for one in cs.excitation_backprop(net, x, target=1, layer=layer)])
    assert relative_error(found, kept[0].sum(1)) < TOLERANCE


# Captum


def captum_says(peers: ModuleType, method: str, net: nn.Module, x: Tensor, **named: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of the hooks it sets
        method_on_net = getattr(peers.captum.attr, method)(copy.deepcopy(net))
        found: Tensor = method_on_net.attribute(x.clone().requires_grad_(), target=1, **named).detach()
    return found


@pytest.mark.parametrize(("lens", "method"), [("guided_backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution")])
def test_modified_gradients_are_those_of_captum(lens: str, method: str, peers: ModuleType) -> None:
    net, x = one_net()
    assert relative_error(ours(lens, net, x), captum_says(peers, method, net, x)) < TOLERANCE


def one_net(**options: Any) -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return vgg_like(**options).eval().double(), torch.randn(2, 3, 16, 16, dtype=torch.double)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ELU, nn.Softplus, nn.Sigmoid, nn.Tanh])
def test_deep_lift_is_that_of_captum_without_max_pooling(activation: type[nn.Module], peers: ModuleType) -> None:
    net, x = one_net(activation=activation)
    net[2] = nn.AvgPool2d(2)
    baseline = torch.full_like(x, 0.3)
    found = ours("deep_lift", net, x, baseline=baseline)
    assert relative_error(found, captum_says(peers, "DeepLift", net, x, baselines=baseline)) < TOLERANCE


def test_captums_deep_lift_is_incomplete_with_max_pooling(peers: ModuleType) -> None:
    """It looks for the maxima of image and baseline at once and misses part of the difference; ours adds up."""
    net, x = one_net()
    baseline = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    rise = (net(x) - net(baseline))[:, 1].detach()
    found, theirs = (
        made.flatten(1).sum(1)
        for made in (
            ours("deep_lift", net, x, baseline=baseline),
            captum_says(peers, "DeepLift", net, x, baselines=baseline),
        )
    )
    assert relative_error(found, rise) < 1e-5
    assert relative_error(theirs, rise) > 0.01


def test_deep_shap_is_that_of_captum(peers: ModuleType) -> None:
    net, x = one_net()
    net[2] = nn.AvgPool2d(2)
    references = torch.randn(5, 3, 16, 16, dtype=torch.double, generator=torch.Generator().manual_seed(3))
    found = ours("deep_shap", net, x, references=references, samples=5)
    assert relative_error(found, captum_says(peers, "DeepLiftShap", net, x, baselines=references)) < TOLERANCE


def test_lrp_epsilon_is_that_of_captum(peers: ModuleType) -> None:
    """Captum puts 1e-9 into every denominator; it raises at ``nn.Flatten`` and at whatever else it has no rule for."""
    sequence, x = one_net()
    net = Flattening(sequence[:6], sequence[7:])
    found = ours("lrp", net, x, composite="epsilon", epsilon=1e-9)
    assert relative_error(found, captum_says(peers, "LRP", net, x)) < TOLERANCE


class Flattening(nn.Module):
    """Features and classifier with a flattening that is no module."""

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features, self.classifier = features, classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


# Where they differ


class Functional(nn.Module):
    """The same network as a sequence of modules, with every ReLU called as a function, or one ReLU used for all."""

    def __init__(self, modules: nn.Sequential, spelling: str) -> None:
        super().__init__()
        self.steps = nn.ModuleList(m for m in modules if not isinstance(m, nn.ReLU))
        self.relu = nn.ReLU(inplace="in place" in spelling)
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.steps) - 1
        for number, step in enumerate(self.steps):
            x = step(x)
            followed = isinstance(step, (nn.Conv2d, nn.Linear)) and number < last
            x = SPELLINGS[self.spelling](self, x) if followed else x
        return x


SPELLINGS: dict[str, Callable[[Functional, Tensor], Tensor]] = {
    "F.relu": lambda _net, x: F.relu(x),
    "F.relu in place": lambda _net, x: F.relu(x, inplace=True),
    "torch.relu": lambda _net, x: torch.relu(x),
    "x.relu()": lambda _net, x: x.relu(),
    "x.relu_()": lambda _net, x: x.relu_(),
    "one ReLU for all": lambda net, x: net.relu(x),
    "one ReLU for all, in place": lambda net, x: net.relu(x),
    "clamp": lambda _net, x: x.clamp(min=0),
    "clamp_min_": lambda _net, x: x.clamp_min_(0),
}
RULES: list[tuple[str, dict[str, Any]]] = [
    ("guided_backprop", {}), ("deconvnet", {}), ("rectified_gradient", {"quantile": 0.5}), ("deep_lift", {}),
    ("deep_lift", {"rule": "reveal-cancel"}), ("lrp", {}), ("lrp", {"composite": "alpha2-beta1-flat"}),
    ("lrp", {"composite": "epsilon-gamma-box"}), ("attn_lrp", {}),
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_relu_is_a_relu_however_it_is_written(spelling: str) -> None:
    net, x = one_net()
    other = Functional(net, spelling)
    for lens, parameters in RULES:
        assert relative_error(ours(lens, other, x, **parameters), ours(lens, net, x, **parameters)) < 1e-6, lens


@pytest.mark.parametrize(
    ("lens", "method"),
    [("guided_backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution"), ("deep_lift", "DeepLift")],
)
def test_captum_does_not_see_a_relu_that_is_no_module(lens: str, method: str, peers: ModuleType) -> None:
    """Ours says of both the same; Captum's numbers for the functional network are others, without a word."""
    net, x = one_net()
    net[2] = nn.AvgPool2d(2)
    named = {"baselines": torch.zeros_like(x)} if lens == "deep_lift" else {}
    parameters = {"baseline": torch.zeros_like(x)} if lens == "deep_lift" else {}
    found = ours(lens, Functional(net, "F.relu"), x, **parameters)
    assert relative_error(found, captum_says(peers, method, net, x, **named)) < TOLERANCE
    assert relative_error(found, captum_says(peers, method, Functional(net, "F.relu"), x, **named)) > 0.1


def test_zennit_gives_plain_gradients_where_a_relu_is_no_module() -> None:
    net, x = one_net()
    ones = lambda y: torch.eye(4)[1].to(y) + 0 * y  # noqa: E731
    for lens, composite in (("guided_backprop", "GuidedBackprop"), ("deconvnet", "DeconvNet")):
        made = getattr(zennit.composites, composite)
        found = ours(lens, Functional(net, "F.relu"), x)
        assert relative_error(found, by_zennit(net, x, made(), start=ones)) < TOLERANCE
        assert relative_error(found, by_zennit(Functional(net, "F.relu"), x, made(), start=ones)) > 0.1


def test_zennit_doubles_relevance_at_residual_sums_it_does_not_know(torchvision: ModuleType) -> None:
    """Without its canonizer a sum hands all of its relevance to both of its terms, block after block."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = with_statistics(torchvision.models.resnet18(num_classes=10)).eval().double()
    x = torch.randn(1, 3, 40, 40, dtype=torch.double)
    one = cs.lrp(net, x, target=1, composite="epsilon-plus-flat")
    theirs = by_zennit(net, x, zennit.composites.EpsilonPlusFlat(**SMALL))
    assert one.notes["relative conservation gap"] < 1e-5
    assert abs(float(theirs.sum())) > 20 * abs(one.score)


def test_what_nothing_raised_loses_its_relevance_in_zennit() -> None:
    """An output made of negative terms alone: z⁺ has nobody to give to. Ours hands it to what lowered it."""
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        net[0].bias.zero_()
    x = torch.rand(1, 1, 2, 2, dtype=torch.double) + 0.5
    one = cs.lrp(net, x, target=1)
    lost = x.flatten() @ net[2].weight[1, 4:].detach()
    theirs = by_zennit(net, x, zennit.composites.EpsilonPlus(**SMALL))
    assert one.notes["relative conservation gap"] < 1e-6
    assert float(one.values.sum() - theirs.sum()) == pytest.approx(float(-lost), rel=1e-5)
