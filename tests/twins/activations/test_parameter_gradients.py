"""Parameter gradients computed a second time, step by step, and compared with the lens."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import LayerError
from tests.nets import PlainNet, seeded
from tests.twins.activations.statistics_inputs import assert_quantile, images_for, inputs
from tests.twins.binding import twin_of


@twin_of(cs.parameter_gradients)
def parameter_gradients(net: nn.Module, x: Tensor, classes: list[int]) -> dict[str, np.ndarray]:
    """The gradient of the mean cross-entropy by ``backward``, image by image, in float64."""
    net = copy.deepcopy(net).double().eval()
    for image, index in zip(x.double(), classes, strict=True):
        scores = net(image[None])[0]
        (torch.logsumexp(scores, 0) - scores[index]).backward()
    by_layer: dict[str, list[np.ndarray]] = {}
    for name, parameter in net.named_parameters():
        by_layer.setdefault(name.rpartition(".")[0], []).append(parameter.grad.numpy().ravel() / len(x))
    return {layer: np.concatenate(gradients) for layer, gradients in by_layer.items()}


def test_parameter_gradients_are_those_of_the_mean_loss(net: nn.Module) -> None:
    x = images_for(net)
    classes = [row % 4 for row in range(len(x))]
    statistics = cs.parameter_gradients(net, list(zip(x, classes, strict=True)))
    expected = parameter_gradients(net, x, classes)
    assert [layer.layer for layer in statistics.layers] == list(expected)
    for layer in statistics.layers:
        values, weights = (
            expected[layer.layer],
            torch.cat([p.detach().ravel() for p in net.get_submodule(layer.layer).parameters()]),
        )
        assert layer.count == values.size
        assert layer.norm == pytest.approx(np.linalg.norm(values), rel=1e-4)
        assert layer.ratio == pytest.approx(np.linalg.norm(values) / float(weights.norm()), rel=1e-4)
        assert layer.spread == pytest.approx(values.std(), rel=1e-4)
        assert (layer.low, layer.high) == pytest.approx((values.min(), values.max()), rel=1e-3)
        assert int(statistics.histograms[layer.layer].sum()) == values.size
        assert_quantile(layer.quantiles["50 %"], values, 0.5, relative=1 / 32)


def test_the_top_class_replaces_an_unknown_label(model: cs.Model) -> None:
    x = inputs(6)
    statistics = cs.parameter_gradients(model, x)
    expected = parameter_gradients(model.module, x, model.module(x).argmax(1).tolist())
    assert statistics["head"].norm == pytest.approx(np.linalg.norm(expected["head"]), rel=1e-4)
    assert "6 of 6 images" in statistics.notes["loss"]
    assert "loss" not in cs.parameter_gradients(model, [(image, "cat") for image in x]).notes


def test_probabilities_and_single_outputs_have_the_same_loss(model: cs.Model) -> None:
    """No second softmax is applied to probabilities; a single logit is a binary classification."""
    x = [(image, 1) for image in inputs(5)]
    with_softmax = cs.Model(nn.Sequential(model.module, nn.Softmax(1)))
    assert cs.parameter_gradients(with_softmax, x)["0.head"].norm == pytest.approx(
        cs.parameter_gradients(model.module, x)["head"].norm, rel=1e-4
    )
    conv = seeded(nn.Conv2d, 3, 1, 3)
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    single = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    scores = single(inputs(5))
    (bias_gradient,) = torch.autograd.grad(-nn.functional.logsigmoid(scores).mean(), conv.bias)
    statistics = cs.parameter_gradients(single, x)
    weight_gradient = torch.autograd.grad(-nn.functional.logsigmoid(single(inputs(5))).mean(), conv.weight)[0]
    assert statistics["0"].norm == pytest.approx(
        float(torch.cat([weight_gradient.ravel(), bias_gradient]).norm()), rel=1e-4
    )


def test_a_blocked_path_has_zero_gradients_and_no_grad_is_stored() -> None:
    net = seeded(PlainNet)
    with torch.no_grad():
        net.features[2].bias.fill_(-1e4)
    net.head.weight.requires_grad_(False)
    statistics = cs.parameter_gradients(net, inputs(3))
    assert (statistics["features.0"].zeros, statistics["features.0"].norm) == (1.0, 0.0)
    assert statistics["head"].norm > 0
    assert all(parameter.grad is None for parameter in net.parameters())
    assert [p.requires_grad for p in net.head.parameters()] == [False, True]


def test_a_network_without_parameters_is_refused() -> None:
    with pytest.raises(LayerError, match="has no parameters"):
        cs.parameter_gradients(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), inputs(2))
