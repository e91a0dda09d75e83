"""Pictures drawn by a plain loop in float64, and what must be true of any picture that was drawn for a unit."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convscope as cs
from convscope.errors import CannotWrite, NoGradient, ParameterError, UnknownName
from tests.conftest import picture_model
from tests.nets import MEAN, SIDE, STD, FlattenNet, PlainNet, ResidualNet, seeded

COLOURS = np.array([[0.0761, 0.0692, 0.0627], [0.0692, 0.0754, 0.0714], [0.0627, 0.0714, 0.0819]])
RATES = {"pixels": 0.05, "fourier": 0.1, "maco": 0.1, "laplacian": 0.03}
STEPS = 25


def mixed(values: Tensor) -> Tensor:
    """Independent channels with the colours of natural images."""
    strengths, components = np.linalg.eigh(COLOURS)
    components = components * np.sign(components[np.abs(components).argmax(0), range(3)])
    matrix = components * np.sqrt(strengths)
    matrix = matrix / np.sqrt(strengths.max())
    return torch.einsum("ij,njhw->nihw", torch.from_numpy(matrix.astype(np.float32)).double(), values)


def natural() -> Tensor:
    """One over the frequency, for the coefficients of a real transform."""
    down, across = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE), indexing="ij")
    strength = 1 / np.maximum(np.hypot(down, across), 1 / SIDE)
    return torch.from_numpy(strength / np.sqrt(2 * (strength**2).mean()))[:, : SIDE // 2 + 1]


def noise(*shape: int, chance: torch.Generator) -> Tensor:
    return torch.randn(1, *shape, generator=chance).double()


def begun(name: str, chance: torch.Generator) -> list[Tensor]:
    """The numbers that a climb begins with."""
    half = (3, SIDE, SIDE // 2 + 1)
    if name == "pixels":
        return [mixed(0.1 * noise(3, SIDE, SIDE, chance=chance))]
    if name == "fourier":
        return [0.05 * noise(*half, 2, chance=chance)]
    if name == "maco":
        return [torch.pi * noise(*half, chance=chance)]
    return [0.05 * noise(3, side, side, chance=chance) for side in (16, 8, 4)]


def made(name: str, numbers: list[Tensor]) -> Tensor:
    """The prepared picture that they are."""
    if name == "pixels":
        values = numbers[0]
    elif name == "fourier":
        values = mixed(torch.fft.irfft2(torch.view_as_complex(numbers[0]) * natural(), norm="ortho"))
    elif name == "maco":
        plain = torch.fft.irfft2(natural() * torch.exp(1j * numbers[0]))
        values = mixed((plain - plain.mean()) / plain.std())
    else:
        large = [nn.functional.interpolate(n, size=(SIDE, SIDE), mode="bilinear") for n in numbers[:2]]
        coarse = nn.functional.interpolate(numbers[2], size=(8, 8), mode="bilinear")
        coarse = nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")
        values = mixed(large[0] + large[1] + coarse)
    mean, std = (torch.tensor(level).double().view(3, 1, 1) for level in (MEAN, STD))
    return (torch.sigmoid(values) - mean) / std


def activation_maximization(net: nn.Module, layer: str, unit: int, name: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The picture whose score, smoothed over the steps, was best, and the curve; Adam by hand."""
    numbers = [n.requires_grad_(True) for n in begun(name, torch.Generator().manual_seed(seed))]
    moments = [(torch.zeros_like(n), torch.zeros_like(n)) for n in numbers]
    curve, smooth, highest, best = [], 0.0, -np.inf, None
    for step in range(1, STEPS + 1):
        picture = made(name, numbers)
        seen = {}
        handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, out, seen=seen: seen.update(out=out))
        net(picture)
        handle.remove()
        score = seen["out"][0, unit].mean()
        curve.append(float(score.detach()))
        smooth = 0.8 * smooth + 0.2 * curve[-1]
        if smooth / (1 - 0.8**step) > highest:
            highest, best = smooth / (1 - 0.8**step), picture.detach()
        gradients = torch.autograd.grad(score, numbers)
        with torch.no_grad():
            for number, gradient, (first, second) in zip(numbers, gradients, moments, strict=True):
                first.mul_(0.9).add_(0.1 * gradient)
                second.mul_(0.999).add_(0.001 * gradient**2)
                unbiased = (second / (1 - 0.999**step)).sqrt() + 1e-8
                number += RATES[name] * first / (1 - 0.9**step) / unbiased
    return best[0], torch.tensor(curve)


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize(("build", "layer", "unit"), [(PlainNet, "features.2", 5), (ResidualNet, "bn2", 3)])
def test_it_is_a_plain_loop(name: str, build: type[nn.Module], layer: str, unit: int) -> None:
    net = seeded(build).double()
    if build is PlainNet:
        net.features[1].inplace = net.features[3].inplace = False  # the loop's hook keeps what would be overwritten
    true, curve = activation_maximization(net, layer, unit, name)
    model = cs.Model(net, input=cs.ImageInput(size=SIDE, mean=MEAN, std=STD))
    found = cs.activation_maximization(
        model, unit=f"{layer}[{unit}]", parametrisation=name, transform="none", steps=STEPS
    )
    torch.testing.assert_close(found.curves[0], curve.float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.values[0], true.float(), rtol=1e-3, atol=2e-3)


# What is true of any drawn picture


@pytest.fixture(scope="module")
def shapes() -> cs.Model:
    return cs.load("bundled:shapes")


@pytest.fixture(scope="module")
def four(shapes: cs.Model) -> cs.Pictures:
    """Pictures of four channels of a trained network."""
    return cs.activation_maximization(shapes, unit=[f"layer2[{unit}]" for unit in (13, 15, 24, 28)], steps=64)


def means(model: cs.Model, layer: str, batch: Tensor) -> Tensor:
    """The mean of each channel (N, C)."""
    seen = {}
    handle = model.module.get_submodule(layer).register_forward_hook(lambda _m, _i, out: seen.update(out=out))
    with torch.no_grad():
        model.module(batch)
    handle.remove()
    return seen["out"].mean((2, 3))


def test_a_channel_is_raised_by_its_own_picture_more_than_by_another_s(shapes: cs.Model, four: cs.Pictures) -> None:
    found = means(shapes, "layer2", four.values)[:, [13, 15, 24, 28]]
    assert found.argmax(0).tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(found.diagonal(), torch.tensor(four.scores), rtol=1e-4, atol=1e-4)


def test_it_raises_its_channel_more_than_any_scene_and_still_does_when_moved_or_compressed(shapes, four) -> None:
    scenes = shapes.prepare([f"sample:shapes/{seed}" for seed in range(60)]).tensor
    best = means(shapes, "layer2", scenes)[:, [13, 15, 24, 28]].amax(0)
    reached = torch.tensor(four.scores)
    assert bool((reached > 1.5 * best).all())
    for other in (four.values.roll((4, -4), (2, 3)), torch.stack([_compressed(shapes, p) for p in four.photos])):
        kept = means(shapes, "layer2", other)[:, [13, 15, 24, 28]].diagonal()
        assert bool((kept > 0.6 * reached).all())


def _compressed(model: cs.Model, photo: Tensor) -> Tensor:
    file = io.BytesIO()
    Image.fromarray(photo.numpy()).save(file, "JPEG", quality=75)
    return model.prepare(Image.open(file)).tensor[0]


def test_the_first_classes_are_drawn_where_no_unit_is_named(shapes: cs.Model) -> None:
    drawn = cs.activation_maximization(shapes, steps=80)
    assert drawn.words == ("circle", "square", "triangle", "star")
    with torch.no_grad():
        answers = shapes.module(drawn.values)
    torch.testing.assert_close(answers[:, :4].diagonal(), torch.tensor(drawn.scores), rtol=1e-4, atol=1e-4)
    assert answers.argmax(1).tolist() == [0, 1, 2, 3], "the network takes each for what it was drawn for"


def test_sums_and_differences_trade_one_unit_for_another(shapes: cs.Model) -> None:
    both = cs.activation_maximization(shapes, unit=["layer2[13]", "layer2[13] - 2 * layer2[28]"], steps=24)
    plain, without = means(shapes, "layer2", both.values)[:, [13, 28]]
    assert float(without[1]) < float(plain[1])
    assert both.words == ("layer2[13]", "layer2[13] - 2 * layer2[28]")


def test_variants_of_a_unit_can_be_kept_unlike_each_other(shapes: cs.Model) -> None:
    from convscope.engine.optimize.objectives import gram_of

    def likeness(price: float) -> float:
        drawn = cs.activation_maximization(shapes, unit="layer2[13]", variants=2, steps=24, diverse=price)
        seen = {}
        handle = shapes.module.layer2.register_forward_hook(lambda _m, _i, out: seen.update(out=out))
        with torch.no_grad():
            shapes.module(drawn.values)
        handle.remove()
        one, other = gram_of(seen["out"]).flatten(1)
        return float(torch.nn.functional.cosine_similarity(one, other, dim=0))

    assert likeness(10.0) < likeness(0.0) - 0.05


@pytest.mark.parametrize("layer", ["features.0", "features.2[3]", "features.2[3, centre]", "class 1"])
@pytest.mark.parametrize(("axes", "shape"), [(1, (2, 24)), (3, (1, 6, 8, 10))])
def test_signals_and_volumes_are_drawn_as_numbers(layer: str, axes: int, shape: tuple[int, ...]) -> None:
    model = cs.Model(seeded(PlainNet, axes, shape[0]), input=cs.TensorInput(shape))
    drawn = cs.activation_maximization(model, unit=layer, steps=12, transform="none")
    assert tuple(drawn.values.shape) == (1, *shape)
    assert drawn.photos is None
    assert drawn.scores[0] > float(drawn.curves[0, 0])
    assert drawn.picture().png()


def test_frames_become_a_moving_picture(model: cs.Model, tmp_path) -> None:
    drawn = cs.activation_maximization(model, unit="features.2[1]", steps=12, frames=4)
    with Image.open(drawn.save(tmp_path / "on the way.gif")) as moving:
        assert moving.n_frames == 4
    with pytest.raises(CannotWrite, match="ask for some with frames="):
        cs.activation_maximization(model, unit="features.2[1]", steps=2).save(tmp_path / "none.gif")


@pytest.mark.parametrize("options", [{"blur": 0.8}, {"clip": 0.4}, {"total_variation": 5.0}, {"l1": 1.0}, {"l2": 1.0}])
def test_every_regulariser_changes_the_picture(options: dict[str, float], model: cs.Model) -> None:
    how = {"unit": "features.2[1]", "parametrisation": "pixels", "steps": 12}
    plain, held = (cs.activation_maximization(model, **how, **given) for given in ({}, options))
    assert float(held.values.std()) < float(plain.values.std())


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"unit": "features.9[1]"}, UnknownName, "no layer 'features.9'"),
        ({"unit": "features.2[8]"}, UnknownName, "has units 0 to 7"),
        ({"unit": []}, ParameterError, "the list is empty"),
        ({"unit": "features.2[1]", "blur": 1.0}, ParameterError, "choose 'pixels'"),
        ({"unit": "features.2[1]", "diverse": 1.0}, ParameterError, "variants=2"),
        ({"unit": ["cat", "dog"], "diverse": 1.0, "variants": 2}, ParameterError, "units of one layer"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, error: type, said: str, model: cs.Model) -> None:
    with pytest.raises(error, match=said):
        cs.activation_maximization(model, steps=2, **options)


def test_a_network_that_does_not_look_at_its_input_is_said_to_be_so() -> None:
    net = seeded(FlattenNet)
    with torch.no_grad():
        net.classifier[1].weight.zero_()
    with pytest.raises(NoGradient, match="does not depend on the input"):
        cs.activation_maximization(picture_model(net), unit="cat", steps=3)


def test_a_bare_network_is_drawn_for_at_the_size_that_is_asked_for() -> None:
    drawn = cs.activation_maximization(seeded(ResidualNet), unit="conv[2]", size=20, steps=3)
    assert tuple(drawn.values.shape) == (1, 3, 20, 20)
