"""Class activation maps, each formula written a second time: channel by channel, in float64.

Each function here bears the name of its lens (`tests/test_architecture.py` asks for one per lens) and makes the map of
one layer from the activation ``a`` and the gradient ``g`` there, (C, …) each.
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
    """A place at the very threshold, as that of a channel that fires at 1 of 5 places, counts in the paper's form."""
    total = torch.zeros(a.shape[1:], dtype=a.dtype)
    for a_k in a:
        mean, spread = a_k.mean(), a_k.std(correction=0)
        above, rounding = a_k - mean - k * spread, 1e-6 * a_k.abs().max()
        total += mean * (above >= -rounding) if variant == "paper" else (above > rounding).double().mean() * a_k
    return total


def eigen_cam(a: Tensor, _g: Tensor, center: bool = True) -> Tensor:
    rows = a.flatten(1).T.numpy()  # positions × channels
    if center:
        rows = rows - rows.mean(axis=0)
    projected = torch.from_numpy(rows @ np.linalg.svd(rows, full_matrices=False)[2][0]).view(a.shape[1:])
    return projected * (projected * a.sum(0)).sum().sign()  # the sign that agrees with where the layer is active


def eigen_grad_cam(a: Tensor, g: Tensor, center: bool = True) -> Tensor:
    return eigen_cam(a * g, g, center)


def cam(a: Tensor, net: nn.Module, target: int) -> Tensor:
    """The one map made of weights instead of gradients: those of the last linear layer."""
    head = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    return sum(w * a_k for w, a_k in zip(head.weight[target].detach(), a, strict=True))


def smooth_grad_cam_plus_plus(a: Tensor, gradients: list[Tensor]) -> Tensor:
    """Of the clean activation, and the gradients at the noisy copies."""
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
        found = subject.explained(formula.__name__, layer=layer)
        for one, slow in zip(found, subject.slow, strict=True):
            assert relative_error(one.layer_values[layer], formula(*slow.at(layer))) < TOLERANCE


@pytest.mark.parametrize("subject", POOLED, indirect=True)
def test_cam_is_made_of_the_weights_of_the_last_linear_layer(subject: Subject) -> None:
    layer = subject.layers[-1]
    for one, slow in zip(subject.explained("cam", layer=layer), subject.slow, strict=True):
        assert relative_error(one.layer_values[layer], cam(slow.at(layer)[0], slow.net, slow.target)) < TOLERANCE


@pytest.mark.parametrize("subject", ["flatten", "residual"], indirect=True)
def test_cam_refuses_a_network_that_does_more_than_pool_and_weigh(subject: Subject) -> None:
    with pytest.raises(LayerError, match="use grad-cam"):
        subject.explained("cam", layer=subject.layers[0])


@pytest.mark.parametrize("subject", ["plain", "flatten", "volume", "digits", "shapes", "resnet18"], indirect=True)
def test_smooth_grad_cam_plus_plus_is_its_formula_on_the_copies_it_drew(subject: Subject) -> None:
    """Which noise is drawn is the lens's affair; the twin looks at what the network was given."""
    layer = subject.layers[-1]
    with inputs_seen(subject.model.module, with_gradient=False) as seen:
        found = subject.explained("smooth_grad_cam_plus_plus", layer=layer, samples=5)
    clean = [float(x.flatten()[0]) for x in subject.images]
    noisy = [x for x in seen if float(x.flatten()[0]) not in clean]
    for one, slow, copies in zip(found, subject.slow, (noisy[:5], noisy[5:]), strict=True):
        gradients = [slow.seen_at(layer, copy)[1] for copy in copies]
        assert len(gradients) == 5
        assert (
            relative_error(one.layer_values[layer], smooth_grad_cam_plus_plus(slow.at(layer)[0], gradients)) < TOLERANCE
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
    for one, slow in zip(subject.explained(formula.__name__, layer=layer, **parameters), subject.slow, strict=True):
        assert relative_error(one.layer_values[layer], formula(*slow.at(layer), **parameters)) < TOLERANCE


class TwoTerms(nn.Module):
    """A layer that hands its channels through unrectified to the mean of each, of which the score is the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).flatten(2).sum(2) @ torch.tensor([[1.0, 0.0], [1.0, 0.0]])


def test_grad_cam_plus_plus_has_negative_weights_where_activations_sum_below_minus_two() -> None:
    """α = g² / (2g² + ΣA·g³) with g = 1 and ΣA = −17: the channel counts with reversed sign, as the page says."""
    channel = torch.tensor([[-20.0, 1.0], [1.0, 1.0]])
    picture = torch.stack([channel, torch.ones(2, 2)])[None]
    model = cs.Model(TwoTerms().eval(), input=cs.TensorInput((2, 2, 2)))
    (values,) = (one.layer_values["layer"] for one in [cs.grad_cam_plus_plus(model, picture, target=0, layer="layer")])
    weight = plus_plus_weight(channel.double(), *[torch.ones(2, 2).double()] * 3)
    assert weight < 0
    beside = plus_plus_weight(torch.ones(2, 2).double(), *[torch.ones(2, 2).double()] * 3)
    assert relative_error(values, weight * channel.double() + beside) < TOLERANCE


def test_fem_marks_strong_places_with_the_channel_s_mean() -> None:
    """One channel of sixteen places, one of them strong: the paper's map is its mean there and nothing elsewhere."""
    a = torch.zeros(1, 4, 4, dtype=torch.float64)
    a[0, 1, 2] = 16.0
    marked = torch.zeros(4, 4, dtype=torch.float64)
    marked[1, 2] = 1.0
    assert torch.equal(fem(a, a), marked)
    assert torch.equal(fem(a, a, variant="pytorch-grad-cam"), marked)


def test_fem_at_the_very_threshold() -> None:
    """One of five places fires: it lies two standard deviations above the mean, which the paper counts."""
    model = cs.Model(nn.Sequential(nn.Conv1d(1, 1, 1), nn.Flatten()), input=cs.TensorInput((1, 5)))
    nn.init.constant_(model.module[0].weight, 3.0)
    nn.init.zeros_(model.module[0].bias)
    image = torch.tensor([[0.0, 0, 1, 0, 0]])
    paper, theirs = (cs.fem(model, image, layer="0", variant=v).values for v in ("paper", "pytorch-grad-cam"))
    torch.testing.assert_close(paper, torch.tensor([0, 0, 0.6, 0, 0]))
    assert not theirs.any()


@pytest.mark.parametrize("subject", TINY, indirect=True)
@pytest.mark.parametrize("relu", [False, True])
def test_a_map_is_enlarged_linearly_along_every_axis(subject: Subject, relu: bool) -> None:
    layer = subject.layers[-1]
    for one in subject.explained("grad_cam", layer=layer, relu=relu):
        np.testing.assert_allclose(one.values, _enlarged(one.layer_values[layer], one.values.shape), atol=1e-6)


@pytest.mark.parametrize("subject", ["plain", "residual", "volume"], indirect=True)
def test_the_maps_of_several_layers_are_averaged_in_units_of_their_peaks(subject: Subject) -> None:
    for one in subject.explained("hires_cam", layer=subject.layers):
        enlarged = [_enlarged(one.layer_values[layer], one.values.shape) for layer in subject.layers]
        assert relative_error(one.values, sum(e / abs(e).max() for e in enlarged) / len(enlarged)) < TOLERANCE


@pytest.mark.parametrize("name", ["grad_cam", "hires_cam", "layer_cam", "x_grad_cam", "grad_cam_plus_plus"])
@pytest.mark.parametrize("subject", ["plain"], indirect=True)
def test_relu_keeps_what_speaks_for_the_target(name: str, subject: Subject) -> None:
    layer = subject.layers[0]
    signed = subject.explained(name, layer=layer)
    for plain, kept in zip(signed, subject.explained(name, layer=layer, relu=True), strict=True):
        assert torch.equal(kept.layer_values[layer], plain.layer_values[layer].clamp(min=0))
        assert not kept.signed


@pytest.mark.parametrize("address", ["features.0", "features.2"])
def test_a_layer_that_is_overwritten_in_place_is_explained_as_it_was(address: str, model: cs.Model, picture) -> None:
    """What follows these convolutions is an in-place ReLU; the negative half of the activation must still count."""
    x = model.prepare(picture).tensor[0]
    activation, gradient = Slow(model.module, x, 0).at(address)
    assert activation.min() < 0
    found = cs.hires_cam(model, picture, target=0, layer=address)
    assert relative_error(found.layer_values[address], hires_cam(activation, gradient)) < TOLERANCE


def _enlarged(small: Tensor, extent: tuple[int, ...]) -> np.ndarray:
    """Linear interpolation between pixel centres, one axis after the other, the edge values kept outside."""
    large = small.double().numpy()
    for axis, length in enumerate(extent):
        given = np.arange(large.shape[axis])
        wanted = (np.arange(length) + 0.5) * len(given) / length - 0.5
        large = np.apply_along_axis(lambda line, w=wanted, g=given: np.interp(w, g, line), axis, large)
    return large
