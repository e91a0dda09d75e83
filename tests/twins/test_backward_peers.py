"""Comparison of the backward rules with those of zennit and Captum, and the reasons where they differ.

The comparison is in float64 and with the peers' stabilizers reduced, so that only differences of definition remain. The
peers replace modules, so the networks have a separate module for every activation, pooling and sum.
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
    """Convolutions, pooling and linear layers with biases in one sequence of modules."""
    wide = [nn.BatchNorm2d(6)] if norm else []
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), *wide, activation(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1),
        activation(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10), activation(), nn.Linear(10, 4),
    )  # fmt: skip
    return with_statistics(net)


def with_statistics(net: nn.Module) -> nn.Module:
    """Gives batch norms random statistics, scales and shifts, and layers random biases.

    zennit leaves out ε when it merges a batch norm, which changes its scores by 1e-4; so ε is small here.
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
    """A network in float64, two inputs, and the canonizers that zennit needs for it."""
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
    """Canonizers that merge batch norms and, for residual networks, turn sums into modules; ConvScope needs none."""
    if name.startswith("resnet"):
        return [zennit.torchvision.ResNetCanonizer()]
    return [zennit.canonizers.SequentialMergeBatchNorm()]


def by_zennit(net: nn.Module, x: Tensor, composite: Any, *, start: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """zennit's attribution for class 1; by default the score itself is propagated back."""
    seed = torch.eye(net(x).shape[1], dtype=x.dtype)[1]
    start = start or (lambda output: output * seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's warning about full backward hooks
        with zennit.attribution.Gradient(copy.deepcopy(net), composite) as attributor:
            return attributor(x.clone().requires_grad_(), start)[1]


def by_convscope(lens: str, net: nn.Module, x: Tensor, **parameters: Any) -> Tensor:
    return torch.stack([attribution.channels for attribution in getattr(cs, lens)(net, x, target=1, **parameters)])


COMPOSITES = {
    "epsilon-plus": lambda **options: zennit.composites.EpsilonPlus(**SMALL, **options),
    "epsilon-plus-flat": lambda **options: zennit.composites.EpsilonPlusFlat(**SMALL, **options),
    "epsilon-gamma-box": lambda **options: zennit.composites.EpsilonGammaBox(low=-9.0, high=9.0, **SMALL, **options),
    "alpha2-beta1": lambda **options: zennit.composites.EpsilonAlpha2Beta1(**SMALL, **options),
    "alpha2-beta1-flat": lambda **options: zennit.composites.EpsilonAlpha2Beta1Flat(**SMALL, **options),
}


@pytest.mark.parametrize("composite", COMPOSITES)
def test_lrp_is_that_of_zennit(composite: str, network: tuple) -> None:
    net, x, canonizers = network
    low_high = cs.ImageInput(size=x.shape[-1], mean=(0.5,) * 3, std=(1 / 18,) * 3)  # black is -9 and white 9
    actual = by_convscope("lrp", cs.Model(net, input=low_high), x, composite=composite)
    assert relative_error(actual, by_zennit(net, x, COMPOSITES[composite](canonizers=canonizers))) < TOLERANCE


@pytest.mark.parametrize(("lens", "composite"), [("guided_backprop", "GuidedBackprop"), ("deconvnet", "DeconvNet")])
def test_modified_gradients_are_those_of_zennit(lens: str, composite: str, network: tuple) -> None:
    net, x, _ = network
    expected = by_zennit(
        net, x, getattr(zennit.composites, composite)(), start=lambda y: torch.eye(y.shape[1])[1].to(y) + 0 * y
    )
    assert relative_error(by_convscope(lens, net, x), expected) < TOLERANCE


def test_excitation_backprop_is_that_of_zennit_where_inputs_are_positive(network: tuple) -> None:
    """At the first activation, which is not negative; zennit includes biases unless they are excluded, as in the
    paper.
    """
    net, x, canonizers = network
    layer = next(name for name, module in net.named_modules() if isinstance(module, nn.ReLU))
    gradients: list[Tensor] = []
    watched_net = copy.deepcopy(net)
    composite = zennit.composites.ExcitationBackprop(stabilizer=1e-12, zero_params="bias", canonizers=canonizers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zennit.attribution.Gradient(watched_net, composite) as attributor:
            first = [True]

            def record(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
                if first:
                    first.clear()
                    output.register_hook(lambda g: gradients.append(g.detach()))

            handle = watched_net.get_submodule(layer).register_forward_hook(record)
            attributor(x.clone().requires_grad_(), lambda y: torch.eye(y.shape[1])[1].to(y) + 0 * y)
            handle.remove()
    actual = torch.stack(
        [attribution.layer_values[layer] for attribution in cs.excitation_backprop(net, x, target=1, layer=layer)]
    )
    assert relative_error(actual, gradients[0].sum(1)) < TOLERANCE


# Captum


def by_captum(peers: ModuleType, method: str, net: nn.Module, x: Tensor, **options: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the hooks it registers
        method_on_net = getattr(peers.captum.attr, method)(copy.deepcopy(net))
        attribution: Tensor = method_on_net.attribute(x.clone().requires_grad_(), target=1, **options).detach()
    return attribution


@pytest.mark.parametrize(("lens", "method"), [("guided_backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution")])
def test_modified_gradients_are_those_of_captum(lens: str, method: str, peers: ModuleType) -> None:
    net, x = small_net()
    assert relative_error(by_convscope(lens, net, x), by_captum(peers, method, net, x)) < TOLERANCE


def small_net(**options: Any) -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return vgg_like(**options).eval().double(), torch.randn(2, 3, 16, 16, dtype=torch.double)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ELU, nn.Softplus, nn.Sigmoid, nn.Tanh])
def test_deep_lift_is_that_of_captum_without_max_pooling(activation: type[nn.Module], peers: ModuleType) -> None:
    net, x = small_net(activation=activation)
    net[2] = nn.AvgPool2d(2)
    baseline = torch.full_like(x, 0.3)
    actual = by_convscope("deep_lift", net, x, baseline=baseline)
    assert relative_error(actual, by_captum(peers, "DeepLift", net, x, baselines=baseline)) < TOLERANCE


def test_captums_deep_lift_is_incomplete_with_max_pooling(peers: ModuleType) -> None:
    """Captum searches the maxima of image and baseline jointly and misses part of the difference; ours is complete."""
    net, x = small_net()
    baseline = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    rise = (net(x) - net(baseline))[:, 1].detach()
    own_sum, captum_sum = (
        contributions.flatten(1).sum(1)
        for contributions in (
            by_convscope("deep_lift", net, x, baseline=baseline),
            by_captum(peers, "DeepLift", net, x, baselines=baseline),
        )
    )
    assert relative_error(own_sum, rise) < 1e-5
    assert relative_error(captum_sum, rise) > 0.01


def test_deep_shap_is_that_of_captum(peers: ModuleType) -> None:
    net, x = small_net()
    net[2] = nn.AvgPool2d(2)
    references = torch.randn(5, 3, 16, 16, dtype=torch.double, generator=torch.Generator().manual_seed(3))
    actual = by_convscope("deep_shap", net, x, references=references, samples=5)
    assert relative_error(actual, by_captum(peers, "DeepLiftShap", net, x, baselines=references)) < TOLERANCE


def test_lrp_epsilon_is_that_of_captum(peers: ModuleType) -> None:
    """Captum adds 1e-9 to every denominator; it raises at ``nn.Flatten`` and other modules it has no rule for."""
    sequence, x = small_net()
    net = Flattening(sequence[:6], sequence[7:])
    actual = by_convscope("lrp", net, x, composite="epsilon", epsilon=1e-9)
    assert relative_error(actual, by_captum(peers, "LRP", net, x)) < TOLERANCE


class Flattening(nn.Module):
    """Features and classifier with a flattening that is not a module."""

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features, self.classifier = features, classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


# Where they differ


class Functional(nn.Module):
    """A sequence of modules in which every ReLU is called as a function, or one ReLU module is used for all."""

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
    net, x = small_net()
    functional = Functional(net, spelling)
    for lens, parameters in RULES:
        assert (
            relative_error(by_convscope(lens, functional, x, **parameters), by_convscope(lens, net, x, **parameters))
            < 1e-6
        ), lens


@pytest.mark.parametrize(
    ("lens", "method"),
    [("guided_backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution"), ("deep_lift", "DeepLift")],
)
def test_captum_does_not_see_a_relu_that_is_no_module(lens: str, method: str, peers: ModuleType) -> None:
    """ConvScope gives the same result for both; Captum's differs for the functional network, without a warning."""
    net, x = small_net()
    net[2] = nn.AvgPool2d(2)
    captum_options = {"baselines": torch.zeros_like(x)} if lens == "deep_lift" else {}
    parameters = {"baseline": torch.zeros_like(x)} if lens == "deep_lift" else {}
    actual = by_convscope(lens, Functional(net, "F.relu"), x, **parameters)
    assert relative_error(actual, by_captum(peers, method, net, x, **captum_options)) < TOLERANCE
    assert relative_error(actual, by_captum(peers, method, Functional(net, "F.relu"), x, **captum_options)) > 0.1


def test_zennit_gives_plain_gradients_where_a_relu_is_no_module() -> None:
    net, x = small_net()
    ones = lambda y: torch.eye(4)[1].to(y) + 0 * y  # noqa: E731
    for lens, composite in (("guided_backprop", "GuidedBackprop"), ("deconvnet", "DeconvNet")):
        make_composite = getattr(zennit.composites, composite)
        actual = by_convscope(lens, Functional(net, "F.relu"), x)
        assert relative_error(actual, by_zennit(net, x, make_composite(), start=ones)) < TOLERANCE
        assert relative_error(actual, by_zennit(Functional(net, "F.relu"), x, make_composite(), start=ones)) > 0.1


def test_zennit_doubles_relevance_at_residual_sums_it_does_not_know(torchvision: ModuleType) -> None:
    """Without its canonizer a sum passes all of its relevance to both of its terms, in every block."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = with_statistics(torchvision.models.resnet18(num_classes=10)).eval().double()
    x = torch.randn(1, 3, 40, 40, dtype=torch.double)
    attribution = cs.lrp(net, x, target=1, composite="epsilon-plus-flat")
    by_peer = by_zennit(net, x, zennit.composites.EpsilonPlusFlat(**SMALL))
    assert attribution.notes["relative conservation gap"] < 1e-5
    assert abs(float(by_peer.sum())) > 20 * abs(attribution.score)


def test_what_nothing_raised_loses_its_relevance_in_zennit() -> None:
    """For an output with negative terms only, z⁺ has no positive term; ConvScope gives its relevance to the negative
    ones.
    """
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        net[0].bias.zero_()
    x = torch.rand(1, 1, 2, 2, dtype=torch.double) + 0.5
    attribution = cs.lrp(net, x, target=1)
    lost = x.flatten() @ net[2].weight[1, 4:].detach()
    by_peer = by_zennit(net, x, zennit.composites.EpsilonPlus(**SMALL))
    assert attribution.notes["relative conservation gap"] < 1e-6
    assert float(attribution.values.sum() - by_peer.sum()) == pytest.approx(float(-lost), rel=1e-5)
