"""Gradient ascent on pictures: each part by itself, and the cases of the loop that are easy to get wrong."""

import math

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.context.metering import metered, reporting, watching
from convscope.engine.inputs.specs import Images
from convscope.engine.optimize import objectives as goals
from convscope.engine.optimize import parametrizations, regularizers, transforms
from convscope.engine.optimize.loop import AscentResult, maximize, maximize_all
from convscope.engine.optimize.objective_parser import parse_objective, parse_objectives
from convscope.engine.optimize.picture_space import PictureSpace, color_matrix_of, mixing_matrix, picture_space_of
from convscope.engine.optimize.truncated_network import TruncatedNetwork
from convscope.errors import Cancelled, LayerError, NoGradient, NotFinite, ParameterError, UnknownName
from tests.conftest import picture_model
from tests.nets import FlattenNet, LinearNet, PlainNet, ResidualNet, seeded

FEATURES = "features.2"


@pytest.fixture
def residual() -> cs.Model:
    return picture_model(seeded(ResidualNet))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def optimize(
    model: cs.Model, objective: goals.Objective | list[goals.Objective], name: str = "pixels", **options
) -> AscentResult:
    objectives = objective if isinstance(objective, list) else [objective]
    parametrization = parametrizations.BY_NAME[name](picture_space_of(model))
    with model.preserve_state():
        return maximize_all(model, objectives, parametrization, **{"steps": 12, **options})


# Objectives


def test_objectives_add_and_scale_and_combine_their_descriptions() -> None:
    activations = {
        "a": torch.rand(2, 3, 4, 4, generator=generator()),
        "b": torch.rand(2, 5, 2, 2, generator=generator(1)),
    }
    first, second = goals.channel("a", 1), goals.channel("b", 4)
    combined = first - 0.5 * second
    assert combined.words == "a[1] - 0.5 * b[4]"
    assert set(combined.layers) == {"a", "b"}
    expected = activations["a"][:, 1].mean((1, 2)) - 0.5 * activations["b"][:, 4].mean((1, 2))
    torch.testing.assert_close(combined.score(activations), expected)
    doubled = 2 * (first + second)
    assert doubled.words == "2 * (a[1] + b[4])"
    torch.testing.assert_close(doubled.score(activations), 2 * (first.score(activations) + second.score(activations)))
    assert (first - (first - second)).words == "a[1] - (a[1] - b[4])"
    torch.testing.assert_close((1 - first).score(activations), 1 - first.score(activations))


def test_each_kind_of_objective_is_its_formula() -> None:
    a, b = torch.randn(3, 4, 5, 6, generator=generator()), torch.randn(4, 5, 6, generator=generator(1))
    activations, vector = {"x": a}, torch.randn(4, generator=generator(2))
    assert torch.equal(goals.neuron("x", 2, (4, 5)).score(activations), a[:, 2, 4, 5])
    assert torch.equal(goals.neuron("x", 2).score(activations), a[:, 2, 2, 3])
    torch.testing.assert_close(goals.layer_energy("x").score(activations), (a**2).mean((1, 2, 3)))
    torch.testing.assert_close(
        goals.direction("x", vector).score(activations), (a * vector.view(4, 1, 1)).sum(1).mean((1, 2))
    )
    cosine = (a * vector.view(4, 1, 1)).sum(1) / (a.norm(dim=1) * vector.norm())
    weighted = (a * vector.view(4, 1, 1)).sum(1) * cosine.clamp_min(0.1) ** 2
    torch.testing.assert_close(goals.direction("x", vector, cosine_power=2).score(activations), weighted.mean((1, 2)))
    torch.testing.assert_close(
        goals.match_activation("x", b).score(activations), -((a - b) ** 2).sum((1, 2, 3)) / (b**2).sum().expand(3)
    )
    assert float(goals.match_activation("x", a).score(activations).abs().max()) == 0
    flat, target = a.flatten(1), b.flatten()
    dot, cosines = flat @ target, flat @ target / (flat.norm(dim=1) * target.norm())
    expected = dot * cosines.clamp_min(0.1) ** 2 / math.sqrt(120)
    torch.testing.assert_close(goals.caricature("x", b).score(activations), expected)
    style = torch.einsum("nchw,ndhw->ncd", a, a) / 30
    torch.testing.assert_close(goals.gram_matrix(a), style)
    other = style[0] + 1
    torch.testing.assert_close(goals.match_gram("x", other).score(activations)[0], -16 / (other**2).sum())
    twins = goals.diversity("x").score({"x": a[:1].expand(2, -1, -1, -1)})
    torch.testing.assert_close(twins, torch.tensor([-1.0, -1.0]))
    assert bool((goals.diversity("x").score(activations) > -1).all())


def test_each_picture_of_a_batch_can_have_its_own_objective() -> None:
    activations = {"x": torch.randn(4, 3, 2, 2, generator=generator())}
    combined = goals.per_picture([goals.channel("x", 0), goals.channel("x", 2)], each=2)
    expected = [float(activations["x"][row, unit].mean()) for row, unit in ((0, 0), (1, 0), (2, 2), (3, 2))]
    torch.testing.assert_close(combined.score(activations), torch.tensor(expected))


# Parsing


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("features.2[3]", "features.2[3]"),
        (" features.2[3, 1, 2] ", "features.2[3, 1, 2]"),
        ("features.2[3, centre]", "features.2[3, centre]"),
        ("features.2", "features.2"),
        ("cat", "cat"),
        ("class 2", "cat"),
        ("2", "cat"),
        ("features.2[3] - 0.5 * features.0[1]", "features.2[3] - 0.5 * features.0[1]"),
        ("-features.2[3] + cat * 2", "-features.2[3] + 2 * cat"),
        ("1e-1 * dog - bee + ant", "0.1 * dog - bee + ant"),
    ],
)
def test_a_text_is_parsed(text: str, words: str, model: cs.Model) -> None:
    assert parse_objective(text, model).words == words


def test_a_range_of_units_and_a_list_give_several_objectives(model: cs.Model) -> None:
    objectives = parse_objectives(
        ["features.2[2:5]", 1, cs.Unit("features.0", 4), goals.channel("features.0", 0)], model
    )
    expected = ["features.2[2]", "features.2[3]", "features.2[4]", "bee", "features.0[4]", "features.0[0]"]
    assert [objective.words for objective in objectives] == expected


def test_a_label_takes_precedence_over_a_sum() -> None:
    model = cs.Model(seeded(PlainNet), labels=["a - b", "b", "0.5 * b", "c"])
    assert parse_objective("a - b", model).words == "a - b"
    activations = {"": torch.tensor([[1.0, 2.0, 3.0, 4.0]])}
    assert float(parse_objective("a - b", model).score(activations)) == 1
    assert float(parse_objective("c - 0.5 * b", model).score(activations)) == 1, (
        "the third class, not half of the second"
    )


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("featurs.2[3]", UnknownName, "no layer 'featurs.2' in PlainNet; did you mean 'features.2'"),
        ("catt", UnknownName, "'catt' names nothing in PlainNet; did you mean 'cat'"),
        ("features.2[x]", ParameterError, "names no unit: write features.2"),
        ("features.2[1, 2, z]", ParameterError, "names no position"),
        ("features.2[5:5]", ParameterError, "names 0 units"),
        ("features.2[0:9999]", ParameterError, "names 9999 units"),
        ("class 7", UnknownName, "class index 7 is out of range"),
        ("features.2[3] - ", UnknownName, "names nothing"),
    ],
)
def test_a_text_that_cannot_be_parsed_is_refused_with_a_suggestion(text: str, error: type, message: str, model) -> None:
    with pytest.raises(error, match=message.replace("[", r"\[")):
        parse_objectives(text, model)


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("features.2[8]", r"no unit features.2\[8\]: 'features.2' has units 0 to 7"),
        ("features.2[3, 99, 0]", r"no position features.2\[3, 99, 0\]: the map of 'features.2' is \(8, 8\)"),
    ],
)
def test_a_missing_unit_is_refused_with_the_number_of_units(unit: str, message: str, model: cs.Model) -> None:
    with pytest.raises(UnknownName, match=message):
        optimize(model, parse_objectives(unit, model))


# PictureSpace and parametrizations


@pytest.mark.parametrize("name", parametrizations.BY_NAME)
@pytest.mark.parametrize("shape", [(3, 12, 17), (1, 9, 8), (5, 8, 8)])
def test_a_picture_lies_between_black_and_white(name: str, shape: tuple[int, ...]) -> None:
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


# Transforms


@pytest.mark.parametrize("name", transforms.BY_NAME)
@pytest.mark.parametrize("extent", [(12, 15), (20,), (6, 7, 8)])
def test_a_transform_keeps_the_extent_and_follows_its_seed(name: str, extent: tuple[int, ...]) -> None:
    batch = torch.randn(2, 3, *extent, generator=generator())
    transform = transforms.BY_NAME[name](extent)
    first, again, other = transform(batch, generator(1)), transform(batch, generator(1)), transform(batch, generator(5))
    assert first.shape == batch.shape
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name == "none")
    alone = transform(batch[1:], generator(1))
    torch.testing.assert_close(first[1:], alone)


def test_each_transform_does_what_it_says() -> None:
    batch = torch.arange(64.0).reshape(1, 1, 8, 8)
    shifted = transforms.jitter(2)(batch, generator())
    assert sorted(shifted.flatten().tolist()) == list(range(64))
    padded = transforms.pad(3)(torch.ones(1, 1, 8, 8), generator(2))
    assert float(padded.sum()) < 64
    ramp = torch.linspace(-1, 1, 33).expand(1, 1, 33, 33)
    bigger = transforms.scale(2.0, 2.0)(ramp, generator())
    torch.testing.assert_close(bigger[0, 0, 16, 8:24], ramp[0, 0, 16, 12:20].repeat_interleave(2), atol=0.05, rtol=0)
    rotated = transforms.rotate(90)(ramp, generator(4))
    angle = math.radians(-90 + 180 * float(torch.rand(2, generator=generator(4))[1]))
    inner = rotated[0, 0, 12:21, 12:21]
    slope = float((inner[:, 1:] - inner[:, :-1]).mean() * 16)
    assert slope == pytest.approx(math.cos(angle), abs=0.02)
    cropped = transforms.crop(0.5, 0.5)(ramp, generator())
    assert float(cropped.max() - cropped.min()) == pytest.approx(1, abs=0.1)
    noise = transforms.noise(0.5)(torch.zeros(2, 1, 64, 64), generator())
    assert float(noise.std()) == pytest.approx(0.5, rel=0.05)


def test_rotation_by_90_degrees_is_exact(monkeypatch) -> None:
    batch = torch.randn(2, 3, 9, 9, generator=generator())
    monkeypatch.setattr(transforms, "_uniform", lambda low, high, generator: high)
    torch.testing.assert_close(transforms.rotate(90)(batch, generator()), batch.rot90(1, (2, 3)), atol=1e-5, rtol=0)


# Regularizers


def test_each_penalty_is_its_formula_and_each_post_step_operator_moves_pixels_toward_gray() -> None:
    x = torch.randn(2, 3, 6, 7, generator=generator())
    variation = ((x[..., 1:, :] - x[..., :-1, :]) ** 2).mean((1, 2, 3)) + ((x[..., 1:] - x[..., :-1]) ** 2).mean(
        (1, 2, 3)
    )
    torch.testing.assert_close(regularizers.total_variation(2.0)(x), 2 * variation)
    torch.testing.assert_close(regularizers.l1(3.0)(x), 3 * x.abs().mean((1, 2, 3)))
    torch.testing.assert_close(regularizers.l2(3.0)(x), 3 * (x**2).mean((1, 2, 3)))
    blur, clip = regularizers.blur(1.0, every=2), regularizers.clip_small(0.5, every=1)
    assert torch.equal(blur(x, 0), x)
    assert float(blur(x, 1).std()) < 0.6 * float(x.std())
    clipped = clip(x, 0)
    gray = (clipped == 0).all(1)
    assert float(gray.float().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(x.norm(dim=1)[gray].max()) <= float(x.norm(dim=1)[~gray].max())


@pytest.mark.parametrize("name", ["total_variation", "l1", "l2"])
def test_a_penalty_decreases_its_quantity(name: str, model: cs.Model) -> None:
    penalty = getattr(regularizers, name)
    plain, penalized = (
        optimize(model, goals.channel(FEATURES, 1), penalties=[penalty(w)] if w else [], steps=40) for w in (0, 100)
    )
    assert float(penalty(1.0)(penalized.pictures)) < 0.5 * float(penalty(1.0)(plain.pictures))


def test_blurring_is_refused_for_other_parametrizations_than_pixels(model: cs.Model) -> None:
    with pytest.raises(ParameterError, match="work on pixels, not on fourier"):
        optimize(model, goals.channel(FEATURES, 1), "fourier", post_steps=[regularizers.blur(1.0)])


# The network prefix


def test_later_layers_are_not_computed_and_no_hook_is_left(residual: cs.Model) -> None:
    calls = []
    residual.module.relu.register_forward_hook(lambda *_: calls.append("relu"))
    handles = len(residual.module.relu._forward_hooks)
    with metered() as meter:
        optimize(residual, goals.channel("conv", 1), steps=5)
    assert len(calls) == 1, "once, to find the order of layers"
    assert (meter.forwards, meter.backwards) == (2 + 5 + 2, 5)
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in residual.module.modules()) == handles


def test_several_layers_are_read_in_one_forward_that_ends_at_the_last(residual: cs.Model) -> None:
    x = torch.randn(2, 3, 16, 16, generator=generator())
    with residual.preserve_state():
        activations = TruncatedNetwork(residual, ["bn2", "stem"], x[:1]).activations(residual.input_copy(x))
    net = residual.module
    torch.testing.assert_close(activations["stem"], net.stem(x))
    torch.testing.assert_close(activations["bn2"], net.bn2(net.conv(torch.relu(net.bn1(net.stem(x))))))


def test_layers_before_a_fixed_size_head_can_be_visualized_at_other_sizes() -> None:
    model = picture_model(seeded(FlattenNet))
    with model.preserve_state():
        parametrization = parametrizations.pixels(picture_space_of(model, 24))
        result = maximize(model, goals.channel("features.0", 2), parametrization, steps=3)
        assert tuple(result.pictures.shape) == (1, 3, 24, 24)
        with pytest.raises(cs.ConvScopeError, match="FlattenNet raised"):
            maximize(model, goals.class_score(0), parametrization, steps=3)


def test_a_layer_that_never_runs_is_refused(model: cs.Model) -> None:
    model.module.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(LayerError, match="'spare' was never reached"):
        optimize(model, goals.channel("spare", 0))


# The loop


@pytest.mark.parametrize("name", parametrizations.BY_NAME)
def test_every_parametrization_increases_the_objective(name: str, residual: cs.Model) -> None:
    result = optimize(residual, goals.channel("bn2", 3), name, steps=40)
    assert tuple(result.scores.shape) == (1, 40)
    assert float(result.best) > float(result.scores[0, 0]) + 0.1
    assert float(result.best) >= float(result.scores.max()) - 0.1


def test_the_optimum_of_a_linear_network_is_proportional_to_its_weights() -> None:
    """With a fixed mean square, this is the optimum."""
    model = cs.Model(seeded(LinearNet), input=cs.TensorInput((3, 16, 16)))
    result = optimize(model, goals.class_score(2), steps=300, rate=0.05)
    cosine = torch.nn.functional.cosine_similarity(result.pictures.flatten(), model.module.fc.weight[2].detach(), dim=0)
    assert float(cosine) > 0.995


def test_the_best_picture_is_kept_when_the_score_drops(residual: cs.Model) -> None:
    def erase(pixels: Tensor, step: int) -> Tensor:
        return pixels if step < 20 else 0 * pixels

    result = optimize(residual, goals.channel("bn2", 3), steps=30, post_steps=[erase])
    assert float(result.best) > float(result.scores[0, -1]) + 0.1
    assert float(result.best) >= float(result.scores[0, 18])


def test_a_picture_does_not_depend_on_the_others_in_the_batch(residual: cs.Model) -> None:
    units = [goals.channel("bn2", 1), goals.channel("stem", 4), goals.class_score(2)]
    transform = transforms.standard((16, 16))
    batch = optimize(residual, units, "fourier", transform=transform, variants=2)
    for index, unit in enumerate(units):
        alone = optimize(residual, unit, "fourier", transform=transform, variants=2)
        torch.testing.assert_close(batch.pictures[2 * index : 2 * index + 2], alone.pictures, rtol=0, atol=1e-3)
    assert not torch.allclose(batch.pictures[0], batch.pictures[1], atol=0.01), "variants start from different noise"


def test_several_chunks_give_the_result_of_one_and_report_progress(residual, monkeypatch) -> None:
    units = [goals.channel("bn2", unit) for unit in range(5)]
    single, progress = optimize(residual, units, frames=3), []
    monkeypatch.setattr("convscope.engine.context.chunking.MAX_CHUNK", 2)
    with reporting(lambda done, total: progress.append((done, total))):
        chunked = optimize(residual, units, frames=3)
    for name in ("pictures", "scores", "best", "importance", "frames"):
        torch.testing.assert_close(getattr(chunked, name), getattr(single, name), rtol=1e-3, atol=1e-3)
    assert progress == sorted(progress)
    assert progress[-1] == (60, 60)


class DeadNet(nn.Module):
    """Two layers with ReLU whose output is zero for any picture near gray, so that its gradient is zero."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
        self.act = {"relu": nn.ReLU(inplace=True), "relu6": nn.ReLU6(), "clamp": nn.Identity()}[kind]
        self.clamp = kind == "clamp"
        with torch.no_grad():
            self.one.bias.fill_(-0.7)
            self.two.bias.fill_(-0.2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.one(x)).clamp_min(0) if self.clamp else self.act(self.one(x))
        x = self.two(x).clamp_min(0) if self.clamp else self.act(self.two(x))
        return x.mean((2, 3))


@pytest.mark.parametrize("kind", ["relu", "relu6", "clamp"])
def test_a_unit_that_is_inactive_at_the_start_is_activated(kind: str) -> None:
    model = cs.Model(seeded(DeadNet, kind), input=cs.ImageInput(size=12, mean=(0.5,) * 3, std=(0.2,) * 3))
    space = picture_space_of(model)
    parametrization = parametrizations.pixels(space)
    gray = parametrization.picture(parametrization.initial(1, generator())).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model.module(gray)[:, 1].sum(), gray)
    assert not bool(gradient.any()), "zero gradient at the start"
    result = optimize(model, goals.class_score(1), steps=60)
    assert float(result.scores[0, 0]) == 0
    assert float(result.best) > 0.01


def test_an_objective_that_does_not_depend_on_the_input_is_refused(model: cs.Model) -> None:
    constant = goals.Objective(("",), lambda activations: activations[""].detach().sum(1), "a constant")
    with pytest.raises(NoGradient, match="a constant does not depend on the input of PlainNet"):
        optimize(model, constant)
    with torch.no_grad():
        model.module.head.weight.zero_()
    with pytest.raises(NoGradient, match="gradient is zero at every pixel"):
        optimize(model, goals.class_score(1))


def test_a_picture_without_gradient_among_others_is_noted(model: cs.Model) -> None:
    with torch.no_grad():
        model.module.head.weight[1].zero_()
    result = optimize(model, [goals.class_score(0), goals.class_score(1)])
    assert result.notes[0] == {}
    assert "gave no gradient at any step" in result.notes[1]["never moved"]


def test_a_diverged_picture_keeps_its_best_and_is_noted(model: cs.Model) -> None:
    """The objective is NaN above a threshold; the other picture continues."""
    best = float(optimize(model, goals.channel(FEATURES, 1), steps=30).best)

    def score(activations: dict[str, Tensor]) -> Tensor:
        mean = activations[FEATURES][:, 1].mean((1, 2))
        return torch.where(mean > 0.5 * best, torch.nan, 1.0) * mean

    unbounded = goals.Objective((FEATURES,), score, "unbounded")
    result = optimize(model, [unbounded, goals.channel(FEATURES, 1)], steps=30)
    assert result.notes[0]["diverged"].startswith("the objective became NaN or infinite at step ")
    assert math.isfinite(float(result.best[0]))
    assert result.notes[1] == {}
    assert float(result.best[1]) == pytest.approx(best, rel=1e-3)
    alone = optimize(model, unbounded, steps=30)
    assert alone.scores.shape[1] < 30, "no picture is left"
    assert not alone.stopped


def test_an_objective_that_is_not_finite_at_the_first_step_is_refused(model: cs.Model) -> None:
    with pytest.raises(NotFinite, match="at the first step"):
        optimize(model, goals.channel(FEATURES, 1) * math.inf)


def test_cancelling_keeps_the_best_so_far_and_starts_no_further_pictures(residual: cs.Model, monkeypatch) -> None:
    monkeypatch.setattr("convscope.engine.context.chunking.MAX_CHUNK", 2)

    def stop(done: int, _total: int) -> None:
        if done >= 2 * 7:
            raise Cancelled("enough")

    with reporting(stop):
        result = optimize(residual, [goals.channel("bn2", unit) for unit in range(4)], steps=20)
    assert result.stopped == "stopped after 7 of 20 steps"
    assert tuple(result.pictures.shape) == (4, 3, 16, 16)
    assert "the best so far is shown" in result.notes[0]["stopped"].replace("picture ", "")
    assert result.notes[3]["stopped"] == "stopped before it started"
    assert torch.isfinite(result.scores[0, :7]).all()
    assert torch.isnan(result.scores[2, 1:]).all()


def test_a_watcher_gets_the_current_picture_and_can_cancel(residual: cs.Model) -> None:
    calls = []

    def watch(done: int, total: int, scores: Tensor, picture) -> None:
        calls.append((done, total, tuple(scores.shape), tuple(picture().shape)))
        if done == 4:
            raise Cancelled("enough")

    with watching(watch):
        result = optimize(residual, goals.channel("bn2", 1), steps=10)
    assert calls == [(step, 10, (1,), (1, 3, 16, 16)) for step in (1, 2, 3, 4)]
    assert result.stopped == "stopped after 4 of 10 steps"


def test_frames_are_spread_over_the_steps_and_importance_sums_gradients(model: cs.Model) -> None:
    result = optimize(model, goals.neuron(FEATURES, 1, (4, 4)), steps=9, frames=3)
    assert tuple(result.frames.shape) == (3, 1, 3, 16, 16)
    assert not torch.equal(result.frames[0], result.frames[2])
    field = torch.zeros(16, 16, dtype=torch.bool)
    field[6:11, 6:11] = True  # two 3×3 convolutions, the second of stride 2, at position 4
    assert float(result.importance[0][~field].max()) == 0
    assert float(result.importance[0][field].max()) > 0
