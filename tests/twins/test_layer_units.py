"""Attribution to the units of a layer by several lenses, compared with Captum."""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import LayerError, ParameterError, UnknownName
from tests.nets import PlainNet, seeded
from tests.twins.modular_network import modular_model
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import subject_called


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


@pytest.mark.parametrize("lens", CAPTUM)
@pytest.mark.parametrize("layer", ["conv1", "relu2", "fc1", "conv2:input"])
def test_units_equal_captum(lens: str, layer: str, peers: ModuleType) -> None:
    model, images = modular_model()
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
    model, images = modular_model()
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
    options: dict[str, Any] = {} if lens == "gradient_x_input" else {"baseline": torch.zeros(3, 11, 9)}
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
