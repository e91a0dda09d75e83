"""Second implementations of class activation maps: channel by channel, in float64.

Each function here has the name of its lens (`tests/test_architecture.py` requires one per lens) and computes the map of
one layer from its activation ``a`` and gradient ``g``, (C, …) each.
"""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import LayerError
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import BUNDLED, LARGE, POOLED, TINY, Subject


def grad_cam(a: Tensor, g: Tensor) -> Tensor:
    return sum(g_k.mean() * a_k for a_k, g_k in zip(a, g, strict=True))


def grad_cam_plus_plus(a: Tensor, g: Tensor) -> Tensor:
    return sum(plus_plus_weight(a_k, g_k, g_k**2, g_k**3) * a_k for a_k, g_k in zip(a, g, strict=True))


def hires_cam(a: Tensor, g: Tensor) -> Tensor:
    return sum(g_k * a_k for a_k, g_k in zip(a, g, strict=True))


def element_wise_grad_cam(a: Tensor, g: Tensor) -> Tensor:
    return sum((g_k * a_k).clamp(min=0) for a_k, g_k in zip(a, g, strict=True))


def layer_cam(a: Tensor, g: Tensor) -> Tensor:
    return sum(g_k.clamp(min=0) * a_k for a_k, g_k in zip(a, g, strict=True))


def x_grad_cam(a: Tensor, g: Tensor) -> Tensor:
    weights = [float((g_k * a_k).sum() / a_k.sum()) if a_k.sum() else 0.0 for a_k, g_k in zip(a, g, strict=True)]
    return sum(w * a_k for w, a_k in zip(weights, a, strict=True))


def fem(a: Tensor, _g: Tensor, k: float = 2.0, variant: str = "paper") -> Tensor:
    """A position exactly at the threshold, as with 1 of 5 positions active, counts in the paper's variant."""
    total = torch.zeros(a.shape[1:], dtype=a.dtype)
    for a_k in a:
        mean, spread = a_k.mean(), a_k.std(correction=0)
        excess, rounding = a_k - mean - k * spread, 1e-6 * a_k.abs().max()
        total += mean * (excess >= -rounding) if variant == "paper" else (excess > rounding).double().mean() * a_k
    return total


def eigen_cam(a: Tensor, _g: Tensor, center: bool = True) -> Tensor:
    rows = a.flatten(1).T.numpy()  # positions × channels
    if center:
        rows = rows - rows.mean(axis=0)
    projected = torch.from_numpy(rows @ np.linalg.svd(rows, full_matrices=False)[2][0]).view(a.shape[1:])
    return projected * (projected * a.sum(0)).sum().sign()  # the sign that correlates with the layer's activity


def eigen_grad_cam(a: Tensor, g: Tensor, center: bool = True) -> Tensor:
    return eigen_cam(a * g, g, center)


def cam(a: Tensor, net: nn.Module, target: int) -> Tensor:
    """The map from the weights of the last linear layer instead of gradients."""
    head = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    return sum(w * a_k for w, a_k in zip(head.weight[target].detach(), a, strict=True))


def smooth_grad_cam_plus_plus(a: Tensor, gradients: list[Tensor]) -> Tensor:
    """The map from the clean activation and the gradients at the noisy copies."""
    first, second, third = (sum(g**power for g in gradients) / len(gradients) for power in (1, 2, 3))
    return sum(plus_plus_weight(*moments) * moments[0] for moments in zip(a, first, second, third, strict=True))


def plus_plus_weight(a_k: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """A channel's weight in Grad-CAM++, from the first three derivatives."""
    alpha = second / (2 * second + a_k.sum() * third)
    return (alpha * first.clamp(min=0)).nan_to_num(0).sum()  # 0 / 0 where the score does not depend on the position


FORMULAS = [grad_cam, grad_cam_plus_plus, hires_cam, element_wise_grad_cam, layer_cam, x_grad_cam, fem]
FORMULAS += [eigen_cam, eigen_grad_cam]


@pytest.mark.parametrize("subject", [*TINY, *BUNDLED, *LARGE], indirect=True)
@pytest.mark.parametrize("formula", FORMULAS)
def test_the_map_at_a_layer_is_its_formula(formula, subject: Subject) -> None:
    for layer in subject.layers:
        attributions = subject.explained(formula.__name__, layer=layer)
        for attribution, slow in zip(attributions, subject.slow, strict=True):
            assert relative_error(attribution.layer_values[layer], formula(*slow.at(layer))) < TOLERANCE


@pytest.mark.parametrize("subject", POOLED, indirect=True)
def test_cam_is_made_of_the_weights_of_the_last_linear_layer(subject: Subject) -> None:
    layer = subject.layers[-1]
    for attribution, slow in zip(subject.explained("cam", layer=layer), subject.slow, strict=True):
        assert (
            relative_error(attribution.layer_values[layer], cam(slow.at(layer)[0], slow.net, slow.target)) < TOLERANCE
        )


@pytest.mark.parametrize("subject", ["flatten", "residual"], indirect=True)
def test_cam_refuses_a_network_that_does_more_than_pool_and_weigh(subject: Subject) -> None:
    with pytest.raises(LayerError, match="use grad-cam"):
        subject.explained("cam", layer=subject.layers[0])


@pytest.mark.parametrize("subject", ["plain", "flatten", "volume", "digits", "shapes", "resnet18"], indirect=True)
def test_smooth_grad_cam_plus_plus_is_its_formula_on_the_copies_it_drew(subject: Subject) -> None:
    """The lens draws the noise; the twin records the inputs of the network."""
    layer = subject.layers[-1]
    with inputs_seen(subject.model.module, with_gradient=False) as inputs:
        attributions = subject.explained("smooth_grad_cam_plus_plus", layer=layer, samples=5)
    clean = [float(x.flatten()[0]) for x in subject.images]
    noisy = [x for x in inputs if float(x.flatten()[0]) not in clean]
    for attribution, slow, copies in zip(attributions, subject.slow, (noisy[:5], noisy[5:]), strict=True):
        gradients = [slow.seen_at(layer, copy)[1] for copy in copies]
        assert len(gradients) == 5
        assert (
            relative_error(attribution.layer_values[layer], smooth_grad_cam_plus_plus(slow.at(layer)[0], gradients))
            < TOLERANCE
        )


@pytest.mark.parametrize("subject", ["plain", "shapes", "resnet18"], indirect=True)
@pytest.mark.parametrize(
    ("formula", "parameters"),
    [
        (fem, {"k": 1.0}),
        (fem, {"variant": "pytorch-grad-cam"}),
        (eigen_cam, {"center": False}),
        (eigen_grad_cam, {"center": False}),
    ],
)
def test_a_parameter_means_the_same_in_lens_and_twin(formula, parameters: dict, subject: Subject) -> None:
    layer = subject.layers[-1]
    for attribution, slow in zip(
        subject.explained(formula.__name__, layer=layer, **parameters), subject.slow, strict=True
    ):
        assert relative_error(attribution.layer_values[layer], formula(*slow.at(layer), **parameters)) < TOLERANCE


class TwoTerms(nn.Module):
    """A layer without rectifier; the score is the sum of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).flatten(2).sum(2) @ torch.tensor([[1.0, 0.0], [1.0, 0.0]])


def test_grad_cam_plus_plus_has_negative_weights_where_activations_sum_below_minus_two() -> None:
    """α = g² / (2g² + ΣA·g³) with g = 1 and ΣA = −17: the channel counts with reversed sign, as documented."""
    channel = torch.tensor([[-20.0, 1.0], [1.0, 1.0]])
    picture = torch.stack([channel, torch.ones(2, 2)])[None]
    model = cs.Model(TwoTerms().eval(), input=cs.TensorInput((2, 2, 2)))
    (values,) = (
        attribution.layer_values["layer"]
        for attribution in [cs.grad_cam_plus_plus(model, picture, target=0, layer="layer")]
    )
    weight = plus_plus_weight(channel.double(), *[torch.ones(2, 2).double()] * 3)
    assert weight < 0
    other_weight = plus_plus_weight(torch.ones(2, 2).double(), *[torch.ones(2, 2).double()] * 3)
    assert relative_error(values, weight * channel.double() + other_weight) < TOLERANCE


def test_fem_marks_strong_places_with_the_channel_s_mean() -> None:
    """One channel with one strong position of sixteen: the paper's map is the mean there and zero elsewhere."""
    a = torch.zeros(1, 4, 4, dtype=torch.float64)
    a[0, 1, 2] = 16.0
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[1, 2] = 1.0
    assert torch.equal(fem(a, a), expected)
    assert torch.equal(fem(a, a, variant="pytorch-grad-cam"), expected)


def test_fem_at_the_very_threshold() -> None:
    """One of five positions is active: it is two standard deviations above the mean, which the paper counts."""
    model = cs.Model(nn.Sequential(nn.Conv1d(1, 1, 1), nn.Flatten()), input=cs.TensorInput((1, 5)))
    nn.init.constant_(model.module[0].weight, 3.0)
    nn.init.zeros_(model.module[0].bias)
    image = torch.tensor([[0.0, 0, 1, 0, 0]])
    paper, package = (cs.fem(model, image, layer="0", variant=v).values for v in ("paper", "pytorch-grad-cam"))
    torch.testing.assert_close(paper, torch.tensor([0, 0, 0.6, 0, 0]))
    assert not package.any()


@pytest.mark.parametrize("subject", TINY, indirect=True)
@pytest.mark.parametrize("relu", [False, True])
def test_a_map_is_enlarged_linearly_along_every_axis(subject: Subject, relu: bool) -> None:
    layer = subject.layers[-1]
    for attribution in subject.explained("grad_cam", layer=layer, relu=relu):
        np.testing.assert_allclose(
            attribution.values, _enlarged(attribution.layer_values[layer], attribution.values.shape), atol=1e-6
        )


@pytest.mark.parametrize("subject", ["plain", "residual", "volume"], indirect=True)
def test_the_maps_of_several_layers_are_averaged_in_units_of_their_peaks(subject: Subject) -> None:
    for attribution in subject.explained("hires_cam", layer=subject.layers):
        enlarged = [_enlarged(attribution.layer_values[layer], attribution.values.shape) for layer in subject.layers]
        assert relative_error(attribution.values, sum(e / abs(e).max() for e in enlarged) / len(enlarged)) < TOLERANCE


@pytest.mark.parametrize("name", ["grad_cam", "hires_cam", "layer_cam", "x_grad_cam", "grad_cam_plus_plus"])
@pytest.mark.parametrize("subject", ["plain"], indirect=True)
def test_relu_keeps_what_speaks_for_the_target(name: str, subject: Subject) -> None:
    layer = subject.layers[0]
    signed = subject.explained(name, layer=layer)
    for signed_map, positive_map in zip(signed, subject.explained(name, layer=layer, relu=True), strict=True):
        assert torch.equal(positive_map.layer_values[layer], signed_map.layer_values[layer].clamp(min=0))
        assert not positive_map.signed


@pytest.mark.parametrize("address", ["features.0", "features.2"])
def test_a_layer_that_is_overwritten_in_place_is_explained_as_it_was(address: str, model: cs.Model, picture) -> None:
    """An in-place ReLU follows these convolutions; negative activations must still count."""
    x = model.prepare(picture).tensor[0]
    activation, gradient = Slow(model.module, x, 0).at(address)
    assert activation.min() < 0
    attribution = cs.hires_cam(model, picture, target=0, layer=address)
    assert relative_error(attribution.layer_values[address], hires_cam(activation, gradient)) < TOLERANCE


def _enlarged(small: Tensor, extent: tuple[int, ...]) -> np.ndarray:
    """Linear interpolation between pixel centres, one axis after another, with edge values extended."""
    large = small.double().numpy()
    for axis, length in enumerate(extent):
        old_positions = np.arange(large.shape[axis])
        new_positions = (np.arange(length) + 0.5) * len(old_positions) / length - 0.5
        large = np.apply_along_axis(lambda line, w=new_positions, g=old_positions: np.interp(w, g, line), axis, large)
    return large
