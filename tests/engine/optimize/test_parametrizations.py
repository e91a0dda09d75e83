"""The space and the parametrizations of an optimized input: ranges of pixels, spectra and initial images."""

import pytest
import torch
from torch import nn

import convscope as cs
from convscope.engine.inputs.specs import Images
from convscope.engine.optimize import parametrizations
from convscope.engine.optimize.picture_space import PictureSpace, color_matrix_of, mixing_matrix, picture_space_of
from convscope.errors import ParameterError
from tests.engine.optimize.models import generator
from tests.nets import PlainNet, seeded


@pytest.mark.parametrize("name", parametrizations.BY_NAME)
@pytest.mark.parametrize("shape", [(3, 12, 17), (1, 9, 8), (5, 8, 8)])
def test_a_picture_lies_between_black_and_white(name: str, shape: tuple[int, int, int]) -> None:
    spec = cs.ImageInput(size=shape[1:], mean=(0.4,) * shape[0], std=(0.25,) * shape[0], channels=shape[0])
    space = picture_space_of(cs.Model(nn.Conv2d(shape[0], 2, 3), input=spec))
    parametrization = parametrizations.BY_NAME[name](space)
    parameters = parametrization.initial(2, generator())
    picture = parametrization.picture([50 * p for p in parameters])
    assert tuple(picture.shape) == (2, *shape)
    pixels = picture * 0.25 + 0.4
    assert float(pixels.min()) >= -1e-5
    assert float(pixels.max()) <= 1 + 1e-5
    assert float(parametrization.picture(parameters).flatten(1).std(1).min()) > 1e-3


@pytest.mark.parametrize("name", parametrizations.BY_NAME)
@pytest.mark.parametrize("shape", [(2, 24), (1, 6, 9, 10)])
def test_signals_and_volumes_have_a_mean_square_of_one(name: str, shape: tuple[int, ...]) -> None:
    space = picture_space_of(cs.Model(seeded(PlainNet, len(shape) - 1, shape[0]), input=cs.TensorInput(shape)))
    parametrization = parametrizations.BY_NAME[name](space)
    pictures = parametrization.picture(parametrization.initial(3, generator()))
    assert tuple(pictures.shape) == (3, *shape)
    torch.testing.assert_close(pictures.flatten(1).square().mean(1), torch.ones(3))


@pytest.mark.parametrize("make", [parametrizations.pixels, parametrizations.fourier])
def test_the_initial_picture_can_be_a_photograph(make, model: cs.Model, picture) -> None:
    space, photo = picture_space_of(model), model.prepare(picture).tensor
    parametrization = make(space, start=photo)
    initial = parametrization.picture(parametrization.initial(2, generator()))
    torch.testing.assert_close(initial, photo.expand(2, -1, -1, -1), atol=0.03, rtol=0)


def test_fourier_noise_has_the_spectrum_of_natural_images() -> None:
    space = PictureSpace((1, 64, 64))
    parametrization = parametrizations.fourier(space)
    noise = parametrization.picture(parametrization.initial(32, generator()))
    power = torch.fft.rfft2(noise).abs().square().mean((0, 1))
    assert float(power[0, 4] / power[0, 16]) == pytest.approx(16, rel=0.5)


def test_maco_changes_phases_only() -> None:
    space = PictureSpace((2, 16, 16))
    parametrization = parametrizations.maco(space)
    (phases,) = parametrization.initial(1, generator())
    first, second = (
        torch.fft.rfft2(parametrization.picture([p])).abs() for p in (phases, phases + torch.rand(phases.shape))
    )
    inner = (slice(None), slice(None), slice(1, None), slice(1, 8))  # without the mean and the real coefficients
    ratio = first[inner] / second[inner]
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)


def test_magnitudes_can_be_measured_from_images() -> None:
    space, images = PictureSpace((1, 8, 8)), torch.randn(3, 1, 8, 8, generator=generator())
    magnitude = parametrizations.mean_magnitude(space, images)
    torch.testing.assert_close(magnitude, torch.fft.rfft2(images).abs().mean(0))
    with pytest.raises(ParameterError, match="must be"):
        parametrizations.mean_magnitude(space, images[..., :4])


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_colours_are_measured_from_images_with_any_number_of_channels(channels: int) -> None:
    base = torch.randn(4, channels, 20, 20, generator=generator())
    mixed = base + base.mean(1, keepdim=True) * 2
    matrix = color_matrix_of(mixed)
    covariance = torch.cov(mixed.transpose(0, 1).flatten(1)).reshape(channels, channels)
    product = matrix @ matrix.T
    torch.testing.assert_close(product / product[0, 0], (covariance / covariance[0, 0]).float(), rtol=1e-3, atol=1e-3)
    space = PictureSpace((channels, 20, 20)).with_colors_of(Images(mixed, ("a",) * 4, single=False))
    torch.testing.assert_close(space.decorrelate(space.correlate(base)), base, rtol=1e-3, atol=1e-3)
    assert float(mixing_matrix(torch.eye(channels)).norm(dim=0).max()) == pytest.approx(1)


def test_an_undeclared_input_shape_is_inferred_from_the_first_convolution() -> None:
    assert picture_space_of(cs.Model(nn.Conv1d(5, 2, 3))).shape == (5, 128)
    assert picture_space_of(cs.Model(nn.Conv2d(4, 4, 3, groups=2)), 16).shape == (4, 16, 16)
    with pytest.raises(cs.ConvScopeError, match="the input shape of Linear is unknown"):
        picture_space_of(cs.Model(nn.Linear(3, 2)))
