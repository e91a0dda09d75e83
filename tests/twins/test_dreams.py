"""Optimization of photographs, reimplemented as plain loops in float64, with Adam and every transform written out."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import convscope as cs
from convscope.errors import LayerError, ParameterError, UnknownName
from tests.conftest import picture_model
from tests.nets import MEAN, STD, PlainNet, seeded

COLOR_COVARIANCE = torch.tensor([[0.0761, 0.0692, 0.0627], [0.0692, 0.0754, 0.0714], [0.0627, 0.0714, 0.0819]]).double()
BLACK = (-torch.tensor(MEAN) / torch.tensor(STD)).double().view(3, 1, 1)
WHITE = ((1 - torch.tensor(MEAN)) / torch.tensor(STD)).double().view(3, 1, 1)
STEPS, SIDE = 5, 16


@pytest.fixture
def model() -> cs.Model:
    """A network in float64, whose ReLUs write in place."""
    net = seeded(PlainNet).double()
    with torch.no_grad():
        net.features[0].bias.add_(0.5)
        net.features[2].bias.add_(0.5)  # no unit is inactive everywhere
    return picture_model(net)


@pytest.fixture
def photo(model: cs.Model) -> Tensor:
    """A prepared picture between black and white."""
    shares = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(4)).double()
    return BLACK + (0.1 + 0.8 * shares) * (WHITE - BLACK)


def layer(model: cs.Model, x: Tensor, last: int) -> Tensor:
    """The activation of ``features.LAST``, recomputed by hand."""
    for index, module in enumerate(model.module.features[: last + 1]):
        x = F.relu(x) if index % 2 else module(x)
    return x


def minimize(
    parameters: Tensor, picture: Callable[[Tensor], Tensor], loss: Callable[[Tensor], Tensor], steps: int = STEPS
):
    """The picture after ``steps`` steps of Adam with learning rate 0.05."""
    m, v = torch.zeros_like(parameters), torch.zeros_like(parameters)
    for step in range(1, steps + 1):
        leaf = parameters.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(picture(leaf)), leaf)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        last_parameters = parameters  # the loss was last evaluated for these
        parameters = parameters - 0.05 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    return picture(last_parameters)


def pixels(parameters: Tensor) -> Tensor:
    """Unbounded parameters mapped to the range between black and white."""
    return BLACK + torch.sigmoid(parameters) * (WHITE - BLACK)


def logits(picture: Tensor) -> Tensor:
    """The inverse of `pixels`."""
    return torch.logit((picture - BLACK) / (WHITE - BLACK), eps=1e-3)


def from_fourier(parameters: Tensor) -> Tensor:
    """Coefficients (1, 3, h, w/2+1, 2), scaled by 1 / frequency, with the color correlation of natural images."""
    rows, columns = torch.fft.fftfreq(SIDE), torch.fft.fftfreq(SIDE)
    radius = (rows[:, None] ** 2 + columns[None] ** 2).sqrt().clamp_min(1 / SIDE)
    scale = (1 / radius) / (2 * (1 / radius).square().mean()).sqrt()
    values = torch.fft.irfft2(
        torch.view_as_complex(parameters) * scale[:, : SIDE // 2 + 1].double(), s=(SIDE, SIDE), norm="ortho"
    )
    eigenvalues, components = torch.linalg.eigh(COLOR_COVARIANCE)
    largest = components.abs().argmax(0)
    components = components * torch.stack(
        [components[row, column].sign() for column, row in enumerate(largest.tolist())]
    )
    matrix = components * eigenvalues.sqrt()
    matrix = matrix / matrix.norm(dim=0).max()
    return pixels(torch.einsum("dc,nchw->ndhw", matrix.float().double(), values))


def noise(seed: int) -> Tensor:
    """The initial Fourier coefficients."""
    return 0.05 * torch.randn(1, 3, SIDE, SIDE // 2 + 1, 2, generator=torch.Generator().manual_seed(seed)).double()


def variation(x: Tensor) -> Tensor:
    """The mean squared difference of neighbors, along both axes."""
    return (x[:, :, 1:] - x[:, :, :-1]).square().mean() + (x[..., 1:] - x[..., :-1]).square().mean()


def gram(a: Tensor) -> Tensor:
    """The Gram matrix of channels, averaged over positions."""
    channels, positions = a.shape[1], math.prod(a.shape[2:])
    flat = a[0].reshape(channels, positions)
    return torch.stack([torch.stack([(first * second).sum() / positions for second in flat]) for first in flat])


def deep_dream(model: cs.Model, photo: Tensor, score: Callable[[Tensor], Tensor], seed: int = 0) -> Tensor:
    """Gradient ascent from the photograph at one size, with random shifts by up to a fourteenth of the side."""
    generator = torch.Generator().manual_seed(seed)

    def loss(x: Tensor) -> Tensor:
        shifts = [int(torch.randint(-1, 2, (), generator=generator)) for _ in range(2)]
        return -score(torch.roll(x, shifts, (2, 3)))

    return minimize(logits(photo), pixels, loss)


def invert(model: cs.Model, photo: Tensor, last: int, seed: int = 0) -> Tensor:
    """From noise to a picture with the photograph's activation."""
    target = layer(model, photo, last).detach()
    return minimize(
        noise(seed),
        from_fourier,
        lambda x: (layer(model, x, last) - target).square().sum() / target.square().sum() + 0.02 * variation(x),
    )


def style_transfer(model: cs.Model, photo: Tensor, style: Tensor, content: int, styles: list[int]) -> Tensor:
    """From the photograph to the style of another, with a content loss."""
    target = layer(model, photo, content).detach()
    grams = {last: gram(layer(model, style, last)).detach() for last in styles}

    def loss(x: Tensor) -> Tensor:
        content_loss = (layer(model, x, content) - target).square().sum() / target.square().sum()
        style_losses = [(gram(layer(model, x, k)) - g).square().sum() / g.square().sum() for k, g in grams.items()]
        return 2 * content_loss + 3 * sum(style_losses) / len(style_losses) + 0.1 * variation(x)

    return minimize(logits(photo), pixels, loss)


def style_features(model: cs.Model, photo: Tensor, styles: list[int], seed: int = 0) -> Tensor:
    """From noise to a texture with the Gram matrices of the photograph."""
    grams = {last: gram(layer(model, photo, last)).detach() for last in styles}
    return minimize(
        noise(seed),
        from_fourier,
        lambda x: sum((gram(layer(model, x, k)) - g).square().sum() / g.square().sum() for k, g in grams.items()),
    )


def caricature(model: cs.Model, photo: Tensor, last: int, x: Tensor, power: float) -> float:
    """The objective of a picture: the product with the photograph's activation, times the cosine to a power."""
    target, activation = layer(model, photo, last).detach().flatten(), layer(model, x, last).detach().flatten()
    dot = float(activation @ target)
    return dot * max(0.1, dot / float(activation.norm() * target.norm())) ** power / math.sqrt(len(activation))


def assert_equal_pictures(pictures: cs.Pictures, expected: Tensor, index: int = 0) -> None:
    torch.testing.assert_close(pictures.values[index], expected[0].float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("unit", "last", "channel"), [("features.1", 1, None), ("features.3[2]", 3, 2)])
def test_a_dream_is_gradient_ascent_from_the_photograph(
    model, photo, unit: str, last: int, channel: int | None
) -> None:
    def score(x: Tensor) -> Tensor:
        activation = layer(model, x, last)
        return activation.square().mean() if channel is None else activation[:, channel].mean()

    dream = cs.deep_dream(model, photo, unit=unit, octaves=1, steps=STEPS, seed=3)
    expected = deep_dream(model, photo, score, seed=3)
    assert_equal_pictures(dream, expected)
    assert dream.scores[0] == pytest.approx(score(expected).item(), rel=1e-4)
    assert dream.scores[0] > score(photo).item()


def test_a_guided_dream_maximizes_the_products_with_the_guide(model, photo) -> None:
    guide = BLACK + torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(8)).double() * (WHITE - BLACK)
    guide_activation = layer(model, guide, 3).detach()[0].flatten(1)

    def score(x: Tensor) -> Tensor:
        return (layer(model, x, 3)[0].flatten(1).T @ guide_activation).max(1).values.mean()

    dream = cs.deep_dream(model, photo, unit="features.3", guide=guide, octaves=1, steps=STEPS)
    assert_equal_pictures(dream, deep_dream(model, photo, score))


def test_a_dream_runs_over_all_sizes_and_its_curve_covers_them() -> None:
    model = cs.load("bundled:shapes")
    dream = cs.deep_dream(model, "sample:shapes/7", unit="layer2", octaves=3, ratio=1.5, steps=10, frames=2)
    assert dream.curves.shape == (1, 30)
    assert dream.values.shape == (1, 3, 96, 96)
    assert dream.frames.shape == (6, 1, 96, 96, 3)
    assert bool((dream.curves[0, 9::10] > dream.curves[0, ::10]).all()), "the score increases at each size"


@pytest.mark.parametrize("last", [0, 3])
def test_inversion_minimizes_the_distance_of_activations(model, photo, last: int) -> None:
    inversion = cs.invert(model, photo, layer=f"features.{last}", steps=STEPS, seed=5)
    assert_equal_pictures(inversion, invert(model, photo, last, seed=5))


def test_inverting_an_invertible_layer_reproduces_the_image(model, photo) -> None:
    """A convolution with more output than input channels is invertible; layers after a stride are not."""
    smooth = F.interpolate(F.interpolate(photo, size=4, mode="area"), size=SIDE, mode="bicubic")
    smooth = smooth.clamp(BLACK + 0.2, WHITE - 0.2)
    inversion = cs.invert(model, smooth, layer=["features.0", "features.3"], steps=400, total_variation=0)
    errors = (inversion.values - smooth[0].float()).square().flatten(1).mean(1) / smooth.var()
    assert errors[0] < 0.02
    assert errors[1] > errors[0]
    assert inversion.scores[0] > -0.01


def test_style_transfer_matches_gram_matrices_of_another_image(model, photo) -> None:
    style = BLACK + torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(8)).double() * (WHITE - BLACK)
    transfer = cs.style_transfer(
        model,
        photo,
        style=style,
        content_layers="features.3",
        style_layers="features.1, features.3",
        content_weight=2,
        style_weight=3,
        total_variation=0.1,
        steps=STEPS,
    )
    assert_equal_pictures(transfer, style_transfer(model, photo, style, 3, [1, 3]))
    for last in (1, 3):
        target = gram(layer(model, style, last)).detach().float()
        torch.testing.assert_close(transfer.features[f"features.{last}"], target, rtol=1e-5, atol=1e-6)


def test_style_features_are_optimized_from_noise(model, photo) -> None:
    textures = cs.style_features(model, photo, layer=["features.1", "features.3"], steps=STEPS, seed=2)
    assert_equal_pictures(textures, style_features(model, photo, [1], seed=2), 0)
    assert_equal_pictures(textures, style_features(model, photo, [1, 3], seed=2), 1)


@pytest.mark.parametrize("power", [0.0, 2.0])
def test_a_caricature_amplifies_the_activation_of_the_image(model, photo, power: float) -> None:
    faint = 0.4 * photo
    result = cs.caricature(model, faint, layer="features.3", steps=150, power=power)
    assert result.scores[0] == pytest.approx(caricature(model, faint, 3, result.values.double(), power), rel=1e-4)
    assert result.scores[0] > caricature(model, faint, 3, faint, power), "more than the image itself"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, x: cs.deep_dream(m, x, unit="features.9"), UnknownName, "'features.9' names nothing in PlainNet"),
        (lambda m, x: cs.deep_dream(m, x, unit=["features.0", "features.1"]), ParameterError, "a single objective"),
        (
            lambda m, x: cs.deep_dream(m, x, unit="features.1[3]", guide=x),
            ParameterError,
            "a guide needs a whole layer",
        ),
        (lambda m, x: cs.deep_dream(m, x, unit="features.1[30]", steps=1), UnknownName, "has units 0 to 5"),
        (lambda m, x: cs.invert(m, x, layer="head", steps=1), LayerError, "has no spatial extent"),
        (lambda m, x: cs.style_transfer(m, x, style=x, style_layers="nowhere"), UnknownName, "no layer 'nowhere'"),
        (lambda m, x: cs.style_transfer(m, x), TypeError, "needs style"),
    ],
)
def test_invalid_arguments_are_refused(model, photo, call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(model, photo)
