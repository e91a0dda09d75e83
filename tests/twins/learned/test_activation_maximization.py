"""Activation maximisation computed a second time, step by step, and compared with the lens."""

import io
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from torch import Tensor, nn

import convscope as cs
from convscope.errors import CannotWrite, NoGradient, ParameterError, UnknownName
from tests.conftest import picture_model
from tests.nets import MEAN, SIDE, STD, FlattenNet, PlainNet, ResidualNet, seeded
from tests.twins.binding import twin_of

COLOR_COVARIANCE = np.array([[0.0761, 0.0692, 0.0627], [0.0692, 0.0754, 0.0714], [0.0627, 0.0714, 0.0819]])


RATES = {"pixels": 0.05, "fourier": 0.1, "maco": 0.1, "laplacian": 0.03}


STEPS = 25


def correlate(values: Tensor) -> Tensor:
    """Uncorrelated channels mapped to the color correlation of natural images."""
    eigenvalues, components = np.linalg.eigh(COLOR_COVARIANCE)
    components = components * np.sign(components[np.abs(components).argmax(0), range(3)])
    matrix = components * np.sqrt(eigenvalues)
    matrix = matrix / np.sqrt(eigenvalues.max())
    return torch.einsum("ij,njhw->nihw", torch.from_numpy(matrix.astype(np.float32)).double(), values)


def spectrum_scale() -> Tensor:
    """One over the frequency, for the coefficients of a real transform."""
    down, across = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE), indexing="ij")
    scale = 1 / np.maximum(np.hypot(down, across), 1 / SIDE)
    return torch.from_numpy(scale / np.sqrt(2 * (scale**2).mean()))[:, : SIDE // 2 + 1]


def noise(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(1, *shape, generator=generator).double()


def initial_parameters(name: str, generator: torch.Generator) -> list[Tensor]:
    """The initial parameters of each parametrization."""
    half_spectrum = (3, SIDE, SIDE // 2 + 1)
    if name == "pixels":
        return [correlate(0.1 * noise(3, SIDE, SIDE, generator=generator))]
    if name == "fourier":
        return [0.05 * noise(*half_spectrum, 2, generator=generator)]
    if name == "maco":
        return [torch.pi * noise(*half_spectrum, generator=generator)]
    return [0.05 * noise(3, side, side, generator=generator) for side in (16, 8, 4)]


def to_picture(name: str, parameters: list[Tensor]) -> Tensor:
    """The prepared picture of the parameters."""
    if name == "pixels":
        values = parameters[0]
    elif name == "fourier":
        values = correlate(torch.fft.irfft2(torch.view_as_complex(parameters[0]) * spectrum_scale(), norm="ortho"))
    elif name == "maco":
        unnormalized = torch.fft.irfft2(spectrum_scale() * torch.exp(1j * parameters[0]))
        values = correlate((unnormalized - unnormalized.mean()) / unnormalized.std())
    else:
        upsampled = [nn.functional.interpolate(n, size=(SIDE, SIDE), mode="bilinear") for n in parameters[:2]]
        coarse = nn.functional.interpolate(parameters[2], size=(8, 8), mode="bilinear")
        coarse = nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")
        values = correlate(upsampled[0] + upsampled[1] + coarse)
    mean, std = (torch.tensor(level).double().view(3, 1, 1) for level in (MEAN, STD))
    return (torch.sigmoid(values) - mean) / std


@twin_of(cs.activation_maximization)
def activation_maximization(net: nn.Module, layer: str, unit: int, name: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The picture with the best running mean score, and the score curve; with Adam written out."""
    parameters = [n.requires_grad_(True) for n in initial_parameters(name, torch.Generator().manual_seed(seed))]
    moments = [(torch.zeros_like(n), torch.zeros_like(n)) for n in parameters]
    curve, running_mean, best_mean, best_picture = [], 0.0, -np.inf, None
    for step in range(1, STEPS + 1):
        picture = to_picture(name, parameters)
        activations: dict[str, Tensor] = {}
        handle = net.get_submodule(layer).register_forward_hook(
            lambda _m, _i, output, activations=activations: activations.update(output=output)
        )
        net(picture)
        handle.remove()
        score = activations["output"][0, unit].mean()
        curve.append(float(score.detach()))
        running_mean = 0.8 * running_mean + 0.2 * curve[-1]
        if running_mean / (1 - 0.8**step) > best_mean:
            best_mean, best_picture = running_mean / (1 - 0.8**step), picture.detach()
        gradients = torch.autograd.grad(score, parameters)
        with torch.no_grad():
            for parameter, gradient, (first, second) in zip(parameters, gradients, moments, strict=True):
                first.mul_(0.9).add_(0.1 * gradient)
                second.mul_(0.999).add_(0.001 * gradient**2)
                unbiased = (second / (1 - 0.999**step)).sqrt() + 1e-8
                parameter += RATES[name] * first / (1 - 0.9**step) / unbiased
    return best_picture[0], torch.tensor(curve)


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize(("build", "layer", "unit"), [(PlainNet, "features.2", 5), (ResidualNet, "bn2", 3)])
def test_the_result_equals_that_of_a_plain_loop(
    name: Literal["fourier", "maco", "laplacian", "pixels"], build: type[nn.Module], layer: str, unit: int
) -> None:
    net = seeded(build).double()
    if build is PlainNet:
        net.features[1].inplace = net.features[3].inplace = False  # the loop's hook keeps what would be overwritten
    expected, curve = activation_maximization(net, layer, unit, name)
    model = cs.Model(net, input=cs.ImageInput(size=SIDE, mean=MEAN, std=STD))
    result = cs.activation_maximization(
        model, unit=f"{layer}[{unit}]", parametrisation=name, transform="none", steps=STEPS
    )
    torch.testing.assert_close(result.curves[0], curve.float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(result.values[0], expected.float(), rtol=1e-3, atol=2e-3)


@pytest.fixture(scope="module")
def shapes() -> cs.Model:
    return cs.load("bundled:shapes")


@pytest.fixture(scope="module")
def four(shapes: cs.Model) -> cs.Pictures:
    """Pictures of four channels of a trained network."""
    return cs.activation_maximization(shapes, unit=[f"layer2[{unit}]" for unit in (13, 15, 24, 28)], steps=64)


def means(model: cs.Model, layer: str, batch: Tensor) -> Tensor:
    """The mean of each channel (N, C)."""
    activations: dict[str, Tensor] = {}
    handle = model.module.get_submodule(layer).register_forward_hook(
        lambda _m, _i, output: activations.update(output=output)
    )
    with torch.no_grad():
        model.module(batch)
    handle.remove()
    return activations["output"].mean((2, 3))


@pytest.mark.slow
def test_each_channel_is_most_active_for_its_own_picture(shapes: cs.Model, four: cs.Pictures) -> None:
    scores = means(shapes, "layer2", four.values)[:, [13, 15, 24, 28]]
    assert scores.argmax(0).tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(scores.diagonal(), torch.tensor(four.scores), rtol=1e-4, atol=1e-4)


def test_a_picture_exceeds_all_scenes_and_is_robust_to_shifts_and_compression(shapes, four) -> None:
    scenes = shapes.prepare([f"sample:shapes/{seed}" for seed in range(60)]).tensor
    best = means(shapes, "layer2", scenes)[:, [13, 15, 24, 28]].amax(0)
    reached = torch.tensor(four.scores)
    assert bool((reached > 1.5 * best).all())
    for variant in (four.values.roll((4, -4), (2, 3)), torch.stack([_compressed(shapes, p) for p in four.photos])):
        remaining = means(shapes, "layer2", variant)[:, [13, 15, 24, 28]].diagonal()
        assert bool((remaining > 0.6 * reached).all())


def _compressed(model: cs.Model, photo: Tensor) -> Tensor:
    file = io.BytesIO()
    Image.fromarray(photo.numpy()).save(file, "JPEG", quality=75)
    return model.prepare(Image.open(file)).tensor[0]


@pytest.mark.slow
def test_the_first_classes_are_visualized_by_default(shapes: cs.Model) -> None:
    pictures = cs.activation_maximization(shapes, steps=80)
    assert pictures.words == ("circle", "square", "triangle", "star")
    with torch.no_grad():
        outputs = shapes.module(pictures.values)
    torch.testing.assert_close(outputs[:, :4].diagonal(), torch.tensor(pictures.scores), rtol=1e-4, atol=1e-4)
    assert outputs.argmax(1).tolist() == [0, 1, 2, 3], "the network classifies each as its target"


def test_a_difference_decreases_the_subtracted_unit(shapes: cs.Model) -> None:
    pictures = cs.activation_maximization(shapes, unit=["layer2[13]", "layer2[13] - 2 * layer2[28]"], steps=24)
    plain_means, difference_means = means(shapes, "layer2", pictures.values)[:, [13, 28]]
    assert float(difference_means[1]) < float(plain_means[1])
    assert pictures.words == ("layer2[13]", "layer2[13] - 2 * layer2[28]")


def test_diversity_makes_variants_dissimilar(shapes: cs.Model) -> None:
    from convscope.engine.optimize.objectives import gram_matrix

    def similarity(weight: float) -> float:
        pictures = cs.activation_maximization(shapes, unit="layer2[13]", variants=2, steps=24, diverse=weight)
        activations: dict[str, Tensor] = {}
        handle = shapes.module.layer2.register_forward_hook(lambda _m, _i, output: activations.update(output=output))
        with torch.no_grad():
            shapes.module(pictures.values)
        handle.remove()
        first, second = gram_matrix(activations["output"]).flatten(1)
        return float(torch.nn.functional.cosine_similarity(first, second, dim=0))

    assert similarity(10.0) < similarity(0.0) - 0.05


@pytest.mark.parametrize("unit", ["features.0", "features.2[3]", "features.2[3, centre]", "class 1"])
@pytest.mark.parametrize(("axes", "shape"), [(1, (2, 24)), (3, (1, 6, 8, 10))])
def test_signals_and_volumes_can_be_optimized(unit: str, axes: int, shape: tuple[int, ...]) -> None:
    model = cs.Model(seeded(PlainNet, axes, shape[0]), input=cs.TensorInput(shape))
    pictures = cs.activation_maximization(model, unit=unit, steps=12, transform="none")
    assert tuple(pictures.values.shape) == (1, *shape)
    assert pictures.photos is None
    assert pictures.scores[0] > float(pictures.curves[0, 0])
    assert pictures.picture().png()


def test_frames_are_saved_as_a_gif(model: cs.Model, tmp_path) -> None:
    pictures = cs.activation_maximization(model, unit="features.2[1]", steps=12, frames=4)
    with Image.open(pictures.save(tmp_path / "on the way.gif")) as gif:
        assert isinstance(gif, GifImageFile)
        assert gif.n_frames == 4
    with pytest.raises(CannotWrite, match="request them with frames="):
        cs.activation_maximization(model, unit="features.2[1]", steps=2).save(tmp_path / "none.gif")


@pytest.mark.parametrize("options", [{"blur": 0.8}, {"clip": 0.4}, {"total_variation": 5.0}, {"l1": 1.0}, {"l2": 1.0}])
def test_every_regularizer_reduces_the_deviation(options: dict[str, Any], model: cs.Model) -> None:
    common: dict[str, Any] = {"unit": "features.2[1]", "parametrisation": "pixels", "steps": 12}
    plain, regularized = (cs.activation_maximization(model, **common, **extra) for extra in ({}, options))
    assert float(regularized.values.std()) < float(plain.values.std())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"unit": "features.9[1]"}, UnknownName, "no layer 'features.9'"),
        ({"unit": "features.2[8]"}, UnknownName, "has units 0 to 7"),
        ({"unit": []}, ParameterError, "the list is empty"),
        ({"unit": "features.2[1]", "blur": 1.0}, ParameterError, "choose 'pixels'"),
        ({"unit": "features.2[1]", "diverse": 1.0}, ParameterError, "variants=2"),
        ({"unit": ["cat", "dog"], "diverse": 1.0, "variants": 2}, ParameterError, "units of one layer"),
    ],
)
def test_invalid_arguments_are_refused(options, error: type, message: str, model: cs.Model) -> None:
    with pytest.raises(error, match=message):
        cs.activation_maximization(model, steps=2, **options)


def test_an_objective_without_gradient_is_refused() -> None:
    net = seeded(FlattenNet)
    with torch.no_grad():
        net.classifier[1].weight.zero_()
    with pytest.raises(NoGradient, match="does not depend on the input"):
        cs.activation_maximization(picture_model(net), unit="cat", steps=3)


def test_a_network_without_declared_input_is_visualized_at_the_given_size() -> None:
    pictures = cs.activation_maximization(seeded(ResidualNet), unit="conv[2]", size=20, steps=3)
    assert tuple(pictures.values.shape) == (1, 3, 20, 20)
