"""Attribution to the units of a layer, reimplemented in float64, and compared with Captum.

Each reference function has the name of its lens and returns one number per unit and position of the layer.
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
    points = [slow.seen_at(layer, start + at / STEPS * (slow.x - start)) for at in range(STEPS + 1)]
    return sum((g + g_next) / 2 * (a_next - a) for (a, g), (a_next, g_next) in pairwise(points))


def layer_integrated_gradients(slow: Slow, layer: str, start: Tensor) -> Tensor:
    start_activation, activation = slow.seen_at(layer, start)[0], slow.at(layer)[0]
    mean = torch.zeros_like(activation)
    for at, weight in _legendre():
        point = (start_activation + at * (activation - start_activation)).requires_grad_()
        (gradient,) = torch.autograd.grad(slow.answer_given(layer, point)[slow.target], point)
        mean += weight * gradient
    return (activation - start_activation) * mean


def neuron_conductance(slow: Slow, layer: str, unit: int, start: Tensor) -> Tensor:
    mean = torch.zeros_like(slow.x)
    for at, weight in _legendre():
        point = (start + at * (slow.x - start)).requires_grad_()
        gradient = slow.seen_at(layer, point)[1][unit]
        activations: list[Tensor] = []
        store = activations.append
        handle = slow.net.get_submodule(layer).register_forward_hook(
            lambda *arguments, store=store: store(arguments[2].clone())
        )
        slow.net(point[None])
        handle.remove()
        mean += weight * torch.autograd.grad((activations[0][0, unit] * gradient).sum(), point)[0]
    return (slow.x - start) * mean


def layer_lrp(chain: Chain, step: int, x: Tensor, target: int, rules: dict[str, Rule], bounds: Any) -> Tensor:
    """The relevance of the input of step number ``step``."""
    return lrp(chain, x, target, rules, bounds)[step]


def layer_deep_lift(chain: Chain, step: int, x: Tensor, reference: Tensor, target: int) -> Tensor:
    current, at_reference = (values(chain, tensor.flatten()) for tensor in (x, reference))
    factors = multipliers(chain[step:], current[step:], at_reference[step:], one_hot(current[-1], target), False)
    return (current[step] - at_reference[step]) * factors


def _legendre() -> list[tuple[float, float]]:
    points, weights = np.polynomial.legendre.leggauss(STEPS)
    return list(zip(((points + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


def baseline_of(subject: Subject) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(subject.images.shape[1:], generator=generator)


AT_LAYER = [layer_gradient_x_activation, layer_grad_cam]
ALONG_PATH = [internal_influence, layer_conductance, layer_integrated_gradients]


@pytest.mark.parametrize("subject", [*SUBJECTS, "smooth"], indirect=True)
@pytest.mark.parametrize("formula", [*AT_LAYER, *ALONG_PATH])
def test_attributions_to_units_follow_their_formula(formula: Any, subject: Subject) -> None:
    start = baseline_of(subject)
    needs_path = formula in ALONG_PATH
    for layer in subject.layers:
        options = {"steps": STEPS, "baseline": start} if needs_path else {}
        attributions = subject.explained(formula.__name__, layer=layer, **options)
        for attribution, slow in zip(attributions, subject.slow, strict=True):
            expected = formula(slow, layer, start.double()) if needs_path else formula(slow, layer)
            assert relative_error(attribution.values, expected) < TOLERANCE
            assert relative_error(attribution.units, expected.flatten(1).sum(1)) < TOLERANCE


@pytest.mark.parametrize("subject", SUBJECTS, indirect=True)
def test_neuron_conductance_follows_its_formula(subject: Subject) -> None:
    start = baseline_of(subject)
    layer = subject.layers[0]
    attributions = subject.explained("neuron_conductance", unit=f"{layer}[1]", steps=STEPS, baseline=start)
    for attribution, slow in zip(attributions, subject.slow, strict=True):
        assert relative_error(attribution.channels, neuron_conductance(slow, layer, 1, start.double())) < TOLERANCE


def _step_after(chain: Chain, address: str) -> int:
    """The number of the step after a layer."""
    return 1 + next(n for n, step in enumerate(chain) if isinstance(step, Dense) and step.address == address)


@pytest.mark.parametrize("name", ["plain", "flatten", "signal"])
def test_relevance_at_a_layer_equals_that_of_the_chain(name: str) -> None:
    subject = subject_called(name)
    chain, layer, x = chain_of(subject), "features.0", subject.images[0]
    step = _step_after(chain, layer)
    attribution = subject.explained("layer_lrp", layer=layer, composite="epsilon", epsilon=0.5)[0]
    rules = dict.fromkeys(("conv", "linear"), epsilon_half)
    expected = layer_lrp(chain, step, x.double(), subject.targets[0], rules, bounds_of(subject, x.double()))
    assert relative_error(attribution.values.flatten(), expected) < TOLERANCE
    attribution = subject.explained("layer_deep_lift", layer=layer, baseline=baseline_of(subject))[0]
    expected = layer_deep_lift(chain, step, x.double(), baseline_of(subject).double(), subject.targets[0])
    assert relative_error(attribution.values.flatten(), expected) < TOLERANCE


@pytest.mark.parametrize("lens", ["layer_conductance", "layer_integrated_gradients", "layer_deep_lift"])
def test_units_of_a_layer_on_all_paths_sum_to_the_score_difference(lens: str) -> None:
    subject = subject_called("plain")
    options = {} if lens == "layer_deep_lift" else {"steps": 200}
    for attribution, slow in zip(
        subject.explained(lens, layer=subject.layers[0], **options), subject.slow, strict=True
    ):
        black = subject.model.input.level(0.0).expand(subject.images[:1].shape)[0]
        difference = slow.score(slow.x) - slow.score(black)
        assert abs(float(attribution.values.sum()) - difference) < 5e-3 * abs(difference)


CAPTUM: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "layer_gradient_x_activation": ("LayerGradientXActivation", {}, {}),
    "layer_grad_cam": ("LayerGradCam", {"attr_dim_summation": False}, {}),
    "internal_influence": ("InternalInfluence", {"n_steps": 12}, {"steps": 12}),
    "layer_integrated_gradients": ("LayerIntegratedGradients", {"n_steps": 12}, {"steps": 12}),
    "layer_deep_lift": ("LayerDeepLift", {}, {}),
    "layer_conductance": ("LayerConductance", {"n_steps": 400, "method": "riemann_trapezoid"}, {"steps": 400}),
}


class Modular(nn.Module):
    """Every operation is a separate module that is used once, as Captum requires."""

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
def test_units_equal_captum(lens: str, layer: str, peers: ModuleType) -> None:
    model, images = _modular()
    name, captum_options, options = CAPTUM[lens]
    address, _, port = layer.partition(":")
    method = getattr(peers.captum.attr, name)(model.module, model.module.get_submodule(address))
    if lens not in ("layer_gradient_x_activation", "layer_grad_cam"):
        captum_options, options = (
            captum_options | {"baselines": torch.zeros(1, 3, 11, 9)},
            options | {"baseline": torch.zeros(3, 11, 9)},
        )
    expected_values = method.attribute(
        images, target=torch.tensor([2, 1]), attribute_to_layer_input=bool(port), **captum_options
    )
    attributions = getattr(cs, lens)(model, images, target=[2, 1], layer=layer, **options)
    for attribution, expected in zip(attributions, expected_values, strict=True):
        tolerance = 5e-3 if lens == "layer_conductance" else TOLERANCE  # Captum's is a left Riemann sum
        assert relative_error(attribution.values, expected.detach()) < tolerance


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients", "ignore:Setting forward")
@pytest.mark.parametrize("lens", ["neuron_conductance", "integrated_gradients", "gradient_x_input", "deep_lift"])
def test_neurons_equal_captum(lens: str, peers: ModuleType) -> None:
    model, images = _modular()
    black = {"baselines": torch.zeros(1, 3, 11, 9)}
    conv2, unit = model.module.conv2, (3, 1, 2)
    match lens:
        case "neuron_conductance":
            method = peers.captum.attr.NeuronConductance(model.module, conv2)
            # Not its trapezoid rule, whose weights sum to less than one.
            weights = {"method": "gausslegendre", "n_steps": 12}
            expected_values = method.attribute(images, unit, target=torch.tensor([2, 1]), **weights, **black)
        case "integrated_gradients":
            method = peers.captum.attr.NeuronIntegratedGradients(model.module, conv2)
            expected_values = method.attribute(images, unit, n_steps=12, **black)
        case "gradient_x_input":
            expected_values = images * peers.captum.attr.NeuronGradient(model.module, conv2).attribute(images, unit)
        case "deep_lift":
            expected_values = peers.captum.attr.NeuronDeepLift(model.module, conv2).attribute(images, unit, **black)
    arguments = (
        {"unit": "conv2[3, 1, 2]", "target": [2, 1]} if lens == "neuron_conductance" else {"target": "conv2[3, 1, 2]"}
    )
    options = {} if lens == "gradient_x_input" else {"baseline": torch.zeros(3, 11, 9)}
    options |= {} if lens in ("gradient_x_input", "deep_lift") else {"steps": 12}
    for attribution, expected in zip(
        getattr(cs, lens)(model, images, **arguments, **options), expected_values, strict=True
    ):
        assert relative_error(attribution.channels, expected.detach()) < TOLERANCE


class Parts(nn.Module):
    """A layer with two inputs, and one with several outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.joined, self.rnn, self.fc = Joined(), nn.GRU(4, 5, batch_first=True), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        steps, last = self.rnn(self.joined(self.left(x).relu(), other=self.right(x).relu()).flatten(2).mT)
        return self.fc(torch.cat([steps.mean(1), last[0]], 1))


class Joined(nn.Module):
    def forward(self, first: Tensor, *, other: Tensor) -> Tensor:
        return first * other + first


def test_inputs_and_further_outputs_of_layers_can_be_attributed_to() -> None:
    model = cs.Model(seeded(Parts), input=cs.TensorInput((3, 6, 5)))
    x = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(2))
    net = seeded(Parts).double()
    left, right = net.left(x.double()).relu(), net.right(x.double()).relu()
    joined = net.joined(left, other=right)
    steps, last = net.rnn(joined.flatten(2).mT)
    score = net.fc(torch.cat([steps.mean(1), last[0]], 1))[:, 1].sum()
    tensors = {"joined:input": left, "joined:input1": right, "joined": joined, "rnn:output1": last}
    gradients = torch.autograd.grad(score, list(tensors.values()))
    for (address, activation), gradient in zip(tensors.items(), gradients, strict=True):
        attributions = cs.layer_gradient_x_activation(model, x, target=1, layer=address)
        expected = (activation * gradient).detach()
        expected = expected[0] if address == "rnn:output1" else expected
        assert relative_error(torch.stack([attribution.values for attribution in attributions]), expected) < TOLERANCE
    maps = cs.grad_cam(model, x, target=1, layer="joined:input1")
    expected = (gradients[1].mean((2, 3), keepdim=True) * right).sum(1).detach()
    assert (
        relative_error(torch.stack([attribution.layer_values["joined:input1"] for attribution in maps]), expected)
        < TOLERANCE
    )


def test_a_missing_input_of_a_layer_is_refused() -> None:
    model = cs.Model(seeded(PlainNet), input=cs.TensorInput((3, 16, 16)))
    x = torch.randn(1, 3, 16, 16)
    with pytest.raises(LayerError, match=r"'features' takes 1 tensor: the last is features:input$"):
        cs.grad_cam(model, x, layer="features:input1")
    with pytest.raises(UnknownName, match="only attribution looks at a layer's inputs"):
        cs.feature_maps(model, x, layer="features:input")
    with pytest.raises(ParameterError, match="layer names one layer here, got 2"):
        cs.layer_grad_cam(model, x, layer=["features", "features.1"])
