"""Attribution to the units of a layer, each formula written a second time in float64, and held to Captum's numbers.

Each function here bears the name of its lens and gives one number per unit and position of one image's layer.
"""

from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import LayerError, ParameterError, UnknownName
from tests.nets import PlainNet, seeded
from tests.twins.chains import Chain, Dense, chain_of, values
from tests.twins.slow import TOLERANCE, Slow, relative_error
from tests.twins.subjects import Subject, subject_called
from tests.twins.test_backward import Rule, bounds_of, epsilon_half, lrp, multipliers, one_hot

STEPS = 5
SUBJECTS = ("plain", "residual", "flatten", "signal", "volume")


def layer_gradient_x_activation(slow: Slow, layer: str) -> Tensor:
    activation, gradient = slow.at(layer)
    return activation * gradient


def layer_grad_cam(slow: Slow, layer: str) -> Tensor:
    activation, gradient = slow.at(layer)
    return torch.stack([a * g.mean() for a, g in zip(activation, gradient, strict=True)])


def internal_influence(slow: Slow, layer: str, start: Tensor) -> Tensor:
    return sum(weight * slow.seen_at(layer, start + at * (slow.x - start))[1] for at, weight in _legendre())


def layer_conductance(slow: Slow, layer: str, start: Tensor) -> Tensor:
    seen = [slow.seen_at(layer, start + at / STEPS * (slow.x - start)) for at in range(STEPS + 1)]
    return sum((g + g_next) / 2 * (a_next - a) for (a, g), (a_next, g_next) in pairwise(seen))


def layer_integrated_gradients(slow: Slow, layer: str, start: Tensor) -> Tensor:
    before, after = slow.seen_at(layer, start)[0], slow.at(layer)[0]
    mean = torch.zeros_like(after)
    for at, weight in _legendre():
        point = (before + at * (after - before)).requires_grad_()
        (gradient,) = torch.autograd.grad(slow.answer_given(layer, point)[slow.target], point)
        mean += weight * gradient
    return (after - before) * mean


def neuron_conductance(slow: Slow, layer: str, unit: int, start: Tensor) -> Tensor:
    mean = torch.zeros_like(slow.x)
    for at, weight in _legendre():
        point = (start + at * (slow.x - start)).requires_grad_()
        slope = slow.seen_at(layer, point)[1][unit]
        kept: list[Tensor] = []
        keep = kept.append
        handle = slow.net.get_submodule(layer).register_forward_hook(lambda *seen, keep=keep: keep(seen[2].clone()))
        slow.net(point[None])
        handle.remove()
        mean += weight * torch.autograd.grad((kept[0][0, unit] * slope).sum(), point)[0]
    return (slow.x - start) * mean


def layer_lrp(chain: Chain, behind: int, x: Tensor, target: int, rules: dict[str, Rule], bounds: Any) -> Tensor:
    """The relevance before step number ``behind``, which is what the step before it gave."""
    return lrp(chain, x, target, rules, bounds)[behind]


def layer_deep_lift(chain: Chain, behind: int, x: Tensor, reference: Tensor, target: int) -> Tensor:
    now, then = (values(chain, each.flatten()) for each in (x, reference))
    found = multipliers(chain[behind:], now[behind:], then[behind:], one_hot(now[-1], target), False)
    return (now[behind] - then[behind]) * found


def _legendre() -> list[tuple[float, float]]:
    points, weights = np.polynomial.legendre.leggauss(STEPS)
    return list(zip(((points + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


def started(subject: Subject) -> Tensor:
    drawn = torch.Generator().manual_seed(3)
    return torch.randn(subject.images.shape[1:], generator=drawn)


AT_LAYER = [layer_gradient_x_activation, layer_grad_cam]
ALONG_PATH = [internal_influence, layer_conductance, layer_integrated_gradients]


@pytest.mark.parametrize("subject", [*SUBJECTS, "smooth"], indirect=True)
@pytest.mark.parametrize("formula", [*AT_LAYER, *ALONG_PATH])
def test_units_are_the_formula(formula: Any, subject: Subject) -> None:
    start = started(subject)
    along = formula in ALONG_PATH
    for layer in subject.layers:
        options = {"steps": STEPS, "baseline": start} if along else {}
        found = subject.explained(formula.__name__, layer=layer, **options)
        for value, slow in zip(found, subject.slow, strict=True):
            true = formula(slow, layer, start.double()) if along else formula(slow, layer)
            assert relative_error(value.values, true) < TOLERANCE
            assert relative_error(value.units, true.flatten(1).sum(1)) < TOLERANCE


@pytest.mark.parametrize("subject", SUBJECTS, indirect=True)
def test_pixels_through_a_unit_are_the_formula(subject: Subject) -> None:
    start = started(subject)
    layer = subject.layers[0]
    found = subject.explained("neuron_conductance", unit=f"{layer}[1]", steps=STEPS, baseline=start)
    for value, slow in zip(found, subject.slow, strict=True):
        assert relative_error(value.channels, neuron_conductance(slow, layer, 1, start.double())) < TOLERANCE


def _behind(chain: Chain, address: str) -> int:
    """The number of the step behind a layer."""
    return 1 + next(n for n, step in enumerate(chain) if isinstance(step, Dense) and step.address == address)


@pytest.mark.parametrize("name", ["plain", "flatten", "signal"])
def test_relevance_at_a_layer_is_that_of_the_chain(name: str) -> None:
    subject = subject_called(name)
    chain, layer, x = chain_of(subject), "features.0", subject.images[0]
    behind = _behind(chain, layer)
    value = subject.explained("layer_lrp", layer=layer, composite="epsilon", epsilon=0.5)[0]
    rules = dict.fromkeys(("conv", "linear"), epsilon_half)
    true = layer_lrp(chain, behind, x.double(), subject.targets[0], rules, bounds_of(subject, x.double()))
    assert relative_error(value.values.flatten(), true) < TOLERANCE
    value = subject.explained("layer_deep_lift", layer=layer, baseline=started(subject))[0]
    true = layer_deep_lift(chain, behind, x.double(), started(subject).double(), subject.targets[0])
    assert relative_error(value.values.flatten(), true) < TOLERANCE


@pytest.mark.parametrize("lens", ["layer_conductance", "layer_integrated_gradients", "layer_deep_lift"])
def test_units_of_a_layer_that_all_passes_through_add_up_to_the_rise(lens: str) -> None:
    subject = subject_called("plain")
    options = {} if lens == "layer_deep_lift" else {"steps": 200}
    for value, slow in zip(subject.explained(lens, layer=subject.layers[0], **options), subject.slow, strict=True):
        black = subject.model.input.level(0.0).expand(subject.images[:1].shape)[0]
        rise = slow.score(slow.x) - slow.score(black)
        assert abs(float(value.values.sum()) - rise) < 5e-3 * abs(rise)


CAPTUM: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "layer_gradient_x_activation": ("LayerGradientXActivation", {}, {}),
    "layer_grad_cam": ("LayerGradCam", {"attr_dim_summation": False}, {}),
    "internal_influence": ("InternalInfluence", {"n_steps": 12}, {"steps": 12}),
    "layer_integrated_gradients": ("LayerIntegratedGradients", {"n_steps": 12}, {"steps": 12}),
    "layer_deep_lift": ("LayerDeepLift", {}, {}),
    "layer_conductance": ("LayerConductance", {"n_steps": 400, "method": "riemann_trapezoid"}, {"steps": 400}),
}


class Modular(nn.Module):
    """Every operation a module of its own, used once, as Captum needs it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(6, 8, 3, stride=2), nn.ReLU()
        self.pool, self.flat, self.fc1 = nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 7)
        self.relu3, self.fc2 = nn.ReLU(), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.conv2(self.relu1(self.conv1(x))))
        return self.fc2(self.relu3(self.fc1(self.flat(self.pool(x)))))


def _modular() -> tuple[cs.Model, Tensor]:
    model = cs.Model(seeded(Modular), input=cs.TensorInput((3, 11, 9)))
    return model, torch.randn(2, 3, 11, 9, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("lens", CAPTUM)
@pytest.mark.parametrize("layer", ["conv1", "relu2", "fc1", "conv2:input"])
def test_units_are_those_of_captum(lens: str, layer: str, peers: ModuleType) -> None:
    model, images = _modular()
    name, theirs, ours = CAPTUM[lens]
    address, _, port = layer.partition(":")
    method = getattr(peers.captum.attr, name)(model.module, model.module.get_submodule(address))
    if lens not in ("layer_gradient_x_activation", "layer_grad_cam"):
        theirs, ours = theirs | {"baselines": torch.zeros(1, 3, 11, 9)}, ours | {"baseline": torch.zeros(3, 11, 9)}
    true = method.attribute(images, target=torch.tensor([2, 1]), attribute_to_layer_input=bool(port), **theirs)
    found = getattr(cs, lens)(model, images, target=[2, 1], layer=layer, **ours)
    for value, expected in zip(found, true, strict=True):
        close = 5e-3 if lens == "layer_conductance" else TOLERANCE  # Captum's is a left Riemann sum
        assert relative_error(value.values, expected.detach()) < close


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients", "ignore:Setting forward")
@pytest.mark.parametrize("lens", ["neuron_conductance", "integrated_gradients", "gradient_x_input", "deep_lift"])
def test_neurons_are_those_of_captum(lens: str, peers: ModuleType) -> None:
    model, images = _modular()
    black = {"baselines": torch.zeros(1, 3, 11, 9)}
    conv2, unit = model.module.conv2, (3, 1, 2)
    match lens:
        case "neuron_conductance":
            method = peers.captum.attr.NeuronConductance(model.module, conv2)
            weights = {"method": "gausslegendre", "n_steps": 12}  # those of its trapezoid rule add up to less than one
            true = method.attribute(images, unit, target=torch.tensor([2, 1]), **weights, **black)
        case "integrated_gradients":
            method = peers.captum.attr.NeuronIntegratedGradients(model.module, conv2)
            true = method.attribute(images, unit, n_steps=12, **black)
        case "gradient_x_input":
            true = images * peers.captum.attr.NeuronGradient(model.module, conv2).attribute(images, unit)
        case "deep_lift":
            true = peers.captum.attr.NeuronDeepLift(model.module, conv2).attribute(images, unit, **black)
    where = (
        {"unit": "conv2[3, 1, 2]", "target": [2, 1]} if lens == "neuron_conductance" else {"target": "conv2[3, 1, 2]"}
    )
    options = {} if lens == "gradient_x_input" else {"baseline": torch.zeros(3, 11, 9)}
    options |= {} if lens in ("gradient_x_input", "deep_lift") else {"steps": 12}
    for value, expected in zip(getattr(cs, lens)(model, images, **where, **options), true, strict=True):
        assert relative_error(value.channels, expected.detach()) < TOLERANCE


class Parts(nn.Module):
    """A layer of two inputs, and one that gives its result among other things."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.joined, self.rnn, self.fc = Joined(), nn.GRU(4, 5, batch_first=True), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        steps, last = self.rnn(self.joined(self.left(x).relu(), other=self.right(x).relu()).flatten(2).mT)
        return self.fc(torch.cat([steps.mean(1), last[0]], 1))


class Joined(nn.Module):
    def forward(self, one: Tensor, *, other: Tensor) -> Tensor:
        return one * other + one


def test_inputs_and_further_outputs_of_layers_are_looked_at() -> None:
    model = cs.Model(seeded(Parts), input=cs.TensorInput((3, 6, 5)))
    x = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(2))
    net = seeded(Parts).double()
    left, right = net.left(x.double()).relu(), net.right(x.double()).relu()
    joined = net.joined(left, other=right)
    steps, last = net.rnn(joined.flatten(2).mT)
    score = net.fc(torch.cat([steps.mean(1), last[0]], 1))[:, 1].sum()
    true = {"joined:input": left, "joined:input1": right, "joined": joined, "rnn:output1": last}
    gradients = torch.autograd.grad(score, list(true.values()))
    for (address, activation), gradient in zip(true.items(), gradients, strict=True):
        found = cs.layer_gradient_x_activation(model, x, target=1, layer=address)
        expected = (activation * gradient).detach()
        expected = expected[0] if address == "rnn:output1" else expected
        assert relative_error(torch.stack([value.values for value in found]), expected) < TOLERANCE
    maps = cs.grad_cam(model, x, target=1, layer="joined:input1")
    expected = (gradients[1].mean((2, 3), keepdim=True) * right).sum(1).detach()
    assert relative_error(torch.stack([value.layer_values["joined:input1"] for value in maps]), expected) < TOLERANCE


def test_a_tensor_that_a_layer_does_not_have_is_refused() -> None:
    model = cs.Model(seeded(PlainNet), input=cs.TensorInput((3, 16, 16)))
    x = torch.randn(1, 3, 16, 16)
    with pytest.raises(LayerError, match=r"'features' takes 1 tensor: the last is features:input$"):
        cs.grad_cam(model, x, layer="features:input1")
    with pytest.raises(UnknownName, match="only attribution looks at a layer's inputs"):
        cs.feature_maps(model, x, layer="features:input")
    with pytest.raises(ParameterError, match="layer names one layer here, got 2"):
        cs.layer_grad_cam(model, x, layer=["features", "features.1"])
