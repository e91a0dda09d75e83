"""Pictures drawn over photographs, a second time: plain loops in float64, with Adam and every transform written out."""

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

COLOURS = torch.tensor([[0.0761, 0.0692, 0.0627], [0.0692, 0.0754, 0.0714], [0.0627, 0.0714, 0.0819]]).double()
BLACK = (-torch.tensor(MEAN) / torch.tensor(STD)).double().view(3, 1, 1)
WHITE = ((1 - torch.tensor(MEAN)) / torch.tensor(STD)).double().view(3, 1, 1)
STEPS, SIDE = 5, 16


@pytest.fixture
def model() -> cs.Model:
    """A network in float64, whose ReLUs write in place."""
    net = seeded(PlainNet).double()
    with torch.no_grad():
        net.features[0].bias.add_(0.5)
        net.features[2].bias.add_(0.5)  # no unit is off everywhere
    return picture_model(net)


@pytest.fixture
def photo(model: cs.Model) -> Tensor:
    """A prepared picture between black and white."""
    shares = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(4)).double()
    return BLACK + (0.1 + 0.8 * shares) * (WHITE - BLACK)


def layer(model: cs.Model, x: Tensor, last: int) -> Tensor:
    """What ``features.LAST`` gives, recomputed by hand."""
    for index, module in enumerate(model.module.features[: last + 1]):
        x = F.relu(x) if index % 2 else module(x)
    return x


def drawn(numbers: Tensor, picture: Callable[[Tensor], Tensor], loss: Callable[[Tensor], Tensor], steps: int = STEPS):
    """The numbers after some steps of Adam (rate 0.05) downhill."""
    m, v = torch.zeros_like(numbers), torch.zeros_like(numbers)
    for step in range(1, steps + 1):
        leaf = numbers.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(loss(picture(leaf)), leaf)
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        kept = numbers  # the picture of the last step that was looked at
        numbers = numbers - 0.05 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    return picture(kept)


def pixels(numbers: Tensor) -> Tensor:
    """Numbers without bounds pressed between black and white."""
    return BLACK + torch.sigmoid(numbers) * (WHITE - BLACK)


def logits(picture: Tensor) -> Tensor:
    """The way back."""
    return torch.logit((picture - BLACK) / (WHITE - BLACK), eps=1e-3)


def from_fourier(numbers: Tensor) -> Tensor:
    """Coefficients (1, 3, h, w/2+1, 2), weighed by 1 / frequency, in colours that go together as in nature."""
    rows, columns = torch.fft.fftfreq(SIDE), torch.fft.fftfreq(SIDE)
    lengths = (rows[:, None] ** 2 + columns[None] ** 2).sqrt().clamp_min(1 / SIDE)
    weights = (1 / lengths) / (2 * (1 / lengths).square().mean()).sqrt()
    values = torch.fft.irfft2(
        torch.view_as_complex(numbers) * weights[:, : SIDE // 2 + 1].double(), s=(SIDE, SIDE), norm="ortho"
    )
    strengths, components = torch.linalg.eigh(COLOURS)
    largest = components.abs().argmax(0)
    components = components * torch.stack([components[row, one].sign() for one, row in enumerate(largest.tolist())])
    matrix = components * strengths.sqrt()
    matrix = matrix / matrix.norm(dim=0).max()
    return pixels(torch.einsum("dc,nchw->ndhw", matrix.float().double(), values))


def noise(seed: int) -> Tensor:
    """The coefficients that a drawing from noise begins with."""
    return 0.05 * torch.randn(1, 3, SIDE, SIDE // 2 + 1, 2, generator=torch.Generator().manual_seed(seed)).double()


def variation(x: Tensor) -> Tensor:
    """The mean squared step between neighbours, down and across."""
    return (x[:, :, 1:] - x[:, :, :-1]).square().mean() + (x[..., 1:] - x[..., :-1]).square().mean()


def gram(a: Tensor) -> Tensor:
    """Which channels go together, by a sum over places."""
    channels, places = a.shape[1], math.prod(a.shape[2:])
    flat = a[0].reshape(channels, places)
    return torch.stack([torch.stack([(one * other).sum() / places for other in flat]) for one in flat])


def deep_dream(model: cs.Model, photo: Tensor, score: Callable[[Tensor], Tensor], seed: int = 0) -> Tensor:
    """One size: the photograph moved about by up to a fourteenth of its side and pushed uphill."""
    chance = torch.Generator().manual_seed(seed)

    def loss(x: Tensor) -> Tensor:
        by = [int(torch.randint(-1, 2, (), generator=chance)) for _ in range(2)]
        return -score(torch.roll(x, by, (2, 3)))

    return drawn(logits(photo), pixels, loss)


def invert(model: cs.Model, photo: Tensor, last: int, seed: int = 0) -> Tensor:
    """From noise to what the layer cannot tell from the photograph."""
    there = layer(model, photo, last).detach()
    return drawn(
        noise(seed),
        from_fourier,
        lambda x: (layer(model, x, last) - there).square().sum() / there.square().sum() + 0.02 * variation(x),
    )


def style_transfer(model: cs.Model, photo: Tensor, style: Tensor, content: int, styles: list[int]) -> Tensor:
    """From the photograph to the style, while its content is held."""
    there = layer(model, photo, content).detach()
    grams = {last: gram(layer(model, style, last)).detach() for last in styles}

    def loss(x: Tensor) -> Tensor:
        held = (layer(model, x, content) - there).square().sum() / there.square().sum()
        taken = [(gram(layer(model, x, k)) - g).square().sum() / g.square().sum() for k, g in grams.items()]
        return 2 * held + 3 * sum(taken) / len(taken) + 0.1 * variation(x)

    return drawn(logits(photo), pixels, loss)


def style_features(model: cs.Model, photo: Tensor, styles: list[int], seed: int = 0) -> Tensor:
    """From noise to a texture with the Gram matrices of the photograph."""
    grams = {last: gram(layer(model, photo, last)).detach() for last in styles}
    return drawn(
        noise(seed),
        from_fourier,
        lambda x: sum((gram(layer(model, x, k)) - g).square().sum() / g.square().sum() for k, g in grams.items()),
    )


def caricature(model: cs.Model, photo: Tensor, last: int, x: Tensor, power: float) -> float:
    """What a picture reaches: the product with the photograph's activation, times the cosine to a power."""
    there, here = layer(model, photo, last).detach().flatten(), layer(model, x, last).detach().flatten()
    dot = float(here @ there)
    return dot * max(0.1, dot / float(here.norm() * there.norm())) ** power / math.sqrt(len(here))


def assert_alike(found: cs.Pictures, true: Tensor, place: int = 0) -> None:
    torch.testing.assert_close(found.values[place], true[0].float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("unit", "last", "channel"), [("features.1", 1, None), ("features.3[2]", 3, 2)])
def test_a_dream_is_the_photograph_pushed_uphill(model, photo, unit: str, last: int, channel: int | None) -> None:
    def score(x: Tensor) -> Tensor:
        seen = layer(model, x, last)
        return seen.square().mean() if channel is None else seen[:, channel].mean()

    found = cs.deep_dream(model, photo, unit=unit, octaves=1, steps=STEPS, seed=3)
    true = deep_dream(model, photo, score, seed=3)
    assert_alike(found, true)
    assert found.scores[0] == pytest.approx(score(true).item(), rel=1e-4)
    assert found.scores[0] > score(photo).item()


def test_a_guided_dream_is_drawn_to_what_the_guide_has_most_alike(model, photo) -> None:
    guide = BLACK + torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(8)).double() * (WHITE - BLACK)
    there = layer(model, guide, 3).detach()[0].flatten(1)

    def score(x: Tensor) -> Tensor:
        return (layer(model, x, 3)[0].flatten(1).T @ there).max(1).values.mean()

    found = cs.deep_dream(model, photo, unit="features.3", guide=guide, octaves=1, steps=STEPS)
    assert_alike(found, deep_dream(model, photo, score))


def test_sizes_grow_to_the_photographs_own_and_a_dream_has_them_all_in_its_curve() -> None:
    model = cs.load("bundled:shapes")
    found = cs.deep_dream(model, "sample:shapes/7", unit="layer2", octaves=3, ratio=1.5, steps=10, frames=2)
    assert found.curves.shape == (1, 30)
    assert found.values.shape == (1, 3, 96, 96)
    assert found.frames.shape == (6, 1, 96, 96, 3)
    assert bool((found.curves[0, 9::10] > found.curves[0, ::10]).all()), "each size is climbed"


@pytest.mark.parametrize("last", [0, 3])
def test_inversion_goes_to_what_the_layer_cannot_tell_apart(model, photo, last: int) -> None:
    found = cs.invert(model, photo, layer=f"features.{last}", steps=STEPS, seed=5)
    assert_alike(found, invert(model, photo, last, seed=5))


def test_inverting_a_layer_that_loses_nothing_gives_the_image_back(model, photo) -> None:
    """A convolution with more channels out than in can be undone; the layers after a stride cannot."""
    coarse = F.interpolate(F.interpolate(photo, size=4, mode="area"), size=SIDE, mode="bicubic")
    coarse = coarse.clamp(BLACK + 0.2, WHITE - 0.2)
    found = cs.invert(model, coarse, layer=["features.0", "features.3"], steps=400, total_variation=0)
    errors = (found.values - coarse[0].float()).square().flatten(1).mean(1) / coarse.var()
    assert errors[0] < 0.02
    assert errors[1] > errors[0]
    assert found.scores[0] > -0.01


def test_style_is_the_gram_matrices_of_another_image(model, photo) -> None:
    style = BLACK + torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(8)).double() * (WHITE - BLACK)
    found = cs.style_transfer(
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
    assert_alike(found, style_transfer(model, photo, style, 3, [1, 3]))
    for last in (1, 3):
        aimed = gram(layer(model, style, last)).detach().float()
        torch.testing.assert_close(found.features[f"features.{last}"], aimed, rtol=1e-5, atol=1e-6)


def test_style_features_are_drawn_from_noise(model, photo) -> None:
    found = cs.style_features(model, photo, layer=["features.1", "features.3"], steps=STEPS, seed=2)
    assert_alike(found, style_features(model, photo, [1], seed=2), 0)
    assert_alike(found, style_features(model, photo, [1, 3], seed=2), 1)


@pytest.mark.parametrize("power", [0.0, 2.0])
def test_a_caricature_goes_further_where_the_image_went(model, photo, power: float) -> None:
    mild = 0.4 * photo
    found = cs.caricature(model, mild, layer="features.3", steps=150, power=power)
    assert found.scores[0] == pytest.approx(caricature(model, mild, 3, found.values.double(), power), rel=1e-4)
    assert found.scores[0] > caricature(model, mild, 3, mild, power), "more so than the image itself"


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda m, x: cs.deep_dream(m, x, unit="features.9"), UnknownName, "'features.9' names nothing in PlainNet"),
        (lambda m, x: cs.deep_dream(m, x, unit=["features.0", "features.1"]), ParameterError, "one thing to dream of"),
        (lambda m, x: cs.deep_dream(m, x, unit="features.1[3]", guide=x), ParameterError, "a guide is looked at"),
        (lambda m, x: cs.deep_dream(m, x, unit="features.1[30]", steps=1), UnknownName, "has units 0 to 5"),
        (lambda m, x: cs.invert(m, x, layer="head", steps=1), LayerError, "has no spatial extent"),
        (lambda m, x: cs.style_transfer(m, x, style=x, style_layers="nowhere"), UnknownName, "no layer 'nowhere'"),
        (lambda m, x: cs.style_transfer(m, x), TypeError, "needs style"),
    ],
)
def test_what_cannot_be_drawn_is_refused(model, photo, call, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call(model, photo)
