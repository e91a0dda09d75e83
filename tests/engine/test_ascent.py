"""Climbing: every part by itself, and the loop where it is easily got wrong."""

import math

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.context.metering import metered, reporting, watching
from convscope.engine.inputs.specs import Images
from convscope.engine.optimize import objectives as goals
from convscope.engine.optimize import parametrizations, regularizers, transforms
from convscope.engine.optimize.canvas import Canvas, canvas_of, colours_of, mixing
from convscope.engine.optimize.loop import Ascent, climb, climb_all
from convscope.engine.optimize.parse import objectives_of, parse
from convscope.engine.optimize.prefix import Cut
from convscope.errors import Cancelled, LayerError, NoGradient, NotFinite, ParameterError, UnknownName
from tests.conftest import picture_model
from tests.nets import FlattenNet, LinearNet, PlainNet, ResidualNet, seeded

FEATURES = "features.2"


@pytest.fixture
def residual() -> cs.Model:
    return picture_model(seeded(ResidualNet))


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(model: cs.Model, objective: goals.Objective | list[goals.Objective], name: str = "pixels", **how) -> Ascent:
    several = objective if isinstance(objective, list) else [objective]
    with model.untouched():
        return climb_all(model, several, parametrizations.BY_NAME[name](canvas_of(model)), **{"steps": 12, **how})


# Objectives


def test_objectives_add_scale_and_carry_their_words() -> None:
    seen = {"a": torch.rand(2, 3, 4, 4, generator=chance()), "b": torch.rand(2, 5, 2, 2, generator=chance(1))}
    one, other = goals.channel("a", 1), goals.channel("b", 4)
    combined = one - 0.5 * other
    assert combined.words == "a[1] - 0.5 * b[4]"
    assert set(combined.layers) == {"a", "b"}
    expected = seen["a"][:, 1].mean((1, 2)) - 0.5 * seen["b"][:, 4].mean((1, 2))
    torch.testing.assert_close(combined.score(seen), expected)
    doubled = 2 * (one + other)
    assert doubled.words == "2 * (a[1] + b[4])"
    torch.testing.assert_close(doubled.score(seen), 2 * (one.score(seen) + other.score(seen)))
    assert (one - (one - other)).words == "a[1] - (a[1] - b[4])"
    torch.testing.assert_close((1 - one).score(seen), 1 - one.score(seen))


def test_each_kind_of_objective_is_its_formula() -> None:
    a, b = torch.randn(3, 4, 5, 6, generator=chance()), torch.randn(4, 5, 6, generator=chance(1))
    seen, vector = {"x": a}, torch.randn(4, generator=chance(2))
    assert torch.equal(goals.neuron("x", 2, (4, 5)).score(seen), a[:, 2, 4, 5])
    assert torch.equal(goals.neuron("x", 2).score(seen), a[:, 2, 2, 3])
    torch.testing.assert_close(goals.layer_energy("x").score(seen), (a**2).mean((1, 2, 3)))
    torch.testing.assert_close(goals.direction("x", vector).score(seen), (a * vector.view(4, 1, 1)).sum(1).mean((1, 2)))
    cosine = (a * vector.view(4, 1, 1)).sum(1) / (a.norm(dim=1) * vector.norm())
    turned = (a * vector.view(4, 1, 1)).sum(1) * cosine.clamp_min(0.1) ** 2
    torch.testing.assert_close(goals.direction("x", vector, cosine_power=2).score(seen), turned.mean((1, 2)))
    torch.testing.assert_close(
        goals.matching("x", b).score(seen), -((a - b) ** 2).sum((1, 2, 3)) / (b**2).sum().expand(3)
    )
    assert float(goals.matching("x", a).score(seen).abs().max()) == 0
    flat, goal = a.flatten(1), b.flatten()
    dot, angle = flat @ goal, flat @ goal / (flat.norm(dim=1) * goal.norm())
    expected = dot * angle.clamp_min(0.1) ** 2 / math.sqrt(120)
    torch.testing.assert_close(goals.caricature("x", b).score(seen), expected)
    style = torch.einsum("nchw,ndhw->ncd", a, a) / 30
    torch.testing.assert_close(goals.gram_of(a), style)
    other = style[0] + 1
    torch.testing.assert_close(goals.gram("x", other).score(seen)[0], -16 / (other**2).sum())
    twins = goals.diversity("x").score({"x": a[:1].expand(2, -1, -1, -1)})
    torch.testing.assert_close(twins, torch.tensor([-1.0, -1.0]))
    assert bool((goals.diversity("x").score(seen) > -1).all())


def test_several_objectives_stand_side_by_side_in_one_batch() -> None:
    seen = {"x": torch.randn(4, 3, 2, 2, generator=chance())}
    together = goals.alongside([goals.channel("x", 0), goals.channel("x", 2)], each=2)
    expected = [float(seen["x"][row, unit].mean()) for row, unit in ((0, 0), (1, 0), (2, 2), (3, 2))]
    torch.testing.assert_close(together.score(seen), torch.tensor(expected))


# What people write


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
def test_what_people_write_is_read(text: str, words: str, model: cs.Model) -> None:
    assert parse(text, model).words == words


def test_a_range_of_units_is_as_many_pictures_and_lists_are_taken_apart(model: cs.Model) -> None:
    found = objectives_of(["features.2[2:5]", 1, cs.Unit("features.0", 4), goals.channel("features.0", 0)], model)
    expected = ["features.2[2]", "features.2[3]", "features.2[4]", "bee", "features.0[4]", "features.0[0]"]
    assert [one.words for one in found] == expected


def test_a_label_with_signs_in_it_is_a_label_first() -> None:
    model = cs.Model(seeded(PlainNet), labels=["a - b", "b", "0.5 * b", "c"])
    assert parse("a - b", model).words == "a - b"
    seen = {"": torch.tensor([[1.0, 2.0, 3.0, 4.0]])}
    assert float(parse("a - b", model).score(seen)) == 1
    assert float(parse("c - 0.5 * b", model).score(seen)) == 1, "the third class, not half of the second"


@pytest.mark.parametrize(
    ("text", "error", "said"),
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
def test_what_cannot_be_read_is_refused_with_what_could_be_meant(text: str, error: type, said: str, model) -> None:
    with pytest.raises(error, match=said.replace("[", r"\[")):
        objectives_of(text, model)


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("features.2[8]", r"no unit features.2\[8\]: 'features.2' has units 0 to 7"),
        ("features.2[3, 99, 0]", r"no position features.2\[3, 99, 0\]: the map of 'features.2' is \(8, 8\)"),
    ],
)
def test_a_unit_that_is_not_there_is_refused_with_how_many_there_are(unit: str, said: str, model: cs.Model) -> None:
    with pytest.raises(UnknownName, match=said):
        drawn(model, objectives_of(unit, model))


# Canvas and parametrisations


@pytest.mark.parametrize("name", parametrizations.BY_NAME)
@pytest.mark.parametrize("shape", [(3, 12, 17), (1, 9, 8), (5, 8, 8)])
def test_a_picture_lies_between_black_and_white(name: str, shape: tuple[int, ...]) -> None:
    spec = cs.ImageInput(size=shape[1:], mean=(0.4,) * shape[0], std=(0.25,) * shape[0], channels=shape[0])
    canvas = canvas_of(cs.Model(nn.Conv2d(shape[0], 2, 3), input=spec))
    way = parametrizations.BY_NAME[name](canvas)
    numbers = way.start(2, chance())
    picture = way.picture([50 * n for n in numbers])
    assert tuple(picture.shape) == (2, *shape)
    pixels = picture * 0.25 + 0.4
    assert float(pixels.min()) >= -1e-5
    assert float(pixels.max()) <= 1 + 1e-5
    assert float(way.picture(numbers).flatten(1).std(1).min()) > 1e-3


@pytest.mark.parametrize("name", parametrizations.BY_NAME)
@pytest.mark.parametrize("shape", [(2, 24), (1, 6, 9, 10)])
def test_signals_and_volumes_are_drawn_too_with_a_mean_square_of_one(name: str, shape: tuple[int, ...]) -> None:
    canvas = canvas_of(cs.Model(seeded(PlainNet, len(shape) - 1, shape[0]), input=cs.TensorInput(shape)))
    picture = parametrizations.BY_NAME[name](canvas)
    numbers = picture.start(3, chance())
    found = picture.picture(numbers)
    assert tuple(found.shape) == (3, *shape)
    torch.testing.assert_close(found.flatten(1).square().mean(1), torch.ones(3))


@pytest.mark.parametrize("make", [parametrizations.pixels, parametrizations.fourier])
def test_a_climb_can_begin_with_a_photograph(make, model: cs.Model, picture) -> None:
    canvas, photo = canvas_of(model), model.prepare(picture).tensor
    way = make(canvas, start=photo)
    torch.testing.assert_close(way.picture(way.start(2, chance())), photo.expand(2, -1, -1, -1), atol=0.03, rtol=0)


def test_fourier_noise_has_the_spectrum_of_natural_images() -> None:
    canvas = Canvas((1, 64, 64))
    way = parametrizations.fourier(canvas)
    noise = way.picture(way.start(32, chance()))
    power = torch.fft.rfft2(noise).abs().square().mean((0, 1))
    assert float(power[0, 4] / power[0, 16]) == pytest.approx(16, rel=0.5)


def test_only_phases_move_in_maco() -> None:
    canvas = Canvas((2, 16, 16))
    way = parametrizations.maco(canvas)
    (phases,) = way.start(1, chance())
    first, second = (torch.fft.rfft2(way.picture([p])).abs() for p in (phases, phases + torch.rand(phases.shape)))
    inner = (slice(None), slice(None), slice(1, None), slice(1, 8))  # the mean and the real coefficients are apart
    ratio = first[inner] / second[inner]
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)


def test_magnitudes_can_be_measured_from_images() -> None:
    canvas, images = Canvas((1, 8, 8)), torch.randn(3, 1, 8, 8, generator=chance())
    found = parametrizations.magnitude_of(canvas, images)
    torch.testing.assert_close(found, torch.fft.rfft2(images).abs().mean(0))
    with pytest.raises(ParameterError, match="must be"):
        parametrizations.magnitude_of(canvas, images[..., :4])


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_colours_are_measured_from_images_with_any_number_of_channels(channels: int) -> None:
    base = torch.randn(4, channels, 20, 20, generator=chance())
    mixed = base + base.mean(1, keepdim=True) * 2
    matrix = colours_of(mixed)
    covariance = torch.cov(mixed.transpose(0, 1).flatten(1)).reshape(channels, channels)
    found = matrix @ matrix.T
    torch.testing.assert_close(found / found[0, 0], (covariance / covariance[0, 0]).float(), rtol=1e-3, atol=1e-3)
    canvas = Canvas((channels, 20, 20)).like(Images(mixed, ("a",) * 4, single=False))
    torch.testing.assert_close(canvas.uncoloured(canvas.coloured(base)), base, rtol=1e-3, atol=1e-3)
    assert float(mixing(torch.eye(channels)).norm(dim=0).max()) == pytest.approx(1)


def test_a_network_that_says_nothing_of_its_input_is_asked_for_its_first_convolution() -> None:
    assert canvas_of(cs.Model(nn.Conv1d(5, 2, 3))).shape == (5, 128)
    assert canvas_of(cs.Model(nn.Conv2d(4, 4, 3, groups=2)), 16).shape == (4, 16, 16)
    with pytest.raises(cs.ConvScopeError, match="nothing says what Linear takes"):
        canvas_of(cs.Model(nn.Linear(3, 2)))


# Transforms


@pytest.mark.parametrize("name", transforms.BY_NAME)
@pytest.mark.parametrize("extent", [(12, 15), (20,), (6, 7, 8)])
def test_a_transform_keeps_the_extent_and_follows_its_seed(name: str, extent: tuple[int, ...]) -> None:
    batch = torch.randn(2, 3, *extent, generator=chance())
    shake = transforms.BY_NAME[name](extent)
    first, again, other = shake(batch, chance(1)), shake(batch, chance(1)), shake(batch, chance(5))
    assert first.shape == batch.shape
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name == "none")
    alone = shake(batch[1:], chance(1))
    torch.testing.assert_close(first[1:], alone)


def test_each_transform_does_what_it_says() -> None:
    batch = torch.arange(64.0).reshape(1, 1, 8, 8)
    moved = transforms.jitter(2)(batch, chance())
    assert sorted(moved.flatten().tolist()) == list(range(64))
    padded = transforms.pad(3)(torch.ones(1, 1, 8, 8), chance(2))
    assert float(padded.sum()) < 64
    ramp = torch.linspace(-1, 1, 33).expand(1, 1, 33, 33)
    bigger = transforms.scale(2.0, 2.0)(ramp, chance())
    torch.testing.assert_close(bigger[0, 0, 16, 8:24], ramp[0, 0, 16, 12:20].repeat_interleave(2), atol=0.05, rtol=0)
    generator = chance(4)
    turned = transforms.rotate(90)(ramp, generator)
    angle = math.radians(-90 + 180 * float(torch.rand(2, generator=chance(4))[1]))
    inner = turned[0, 0, 12:21, 12:21]
    slope = float((inner[:, 1:] - inner[:, :-1]).mean() * 16)
    assert slope == pytest.approx(math.cos(angle), abs=0.02)
    part = transforms.crop(0.5, 0.5)(ramp, chance())
    assert float(part.max() - part.min()) == pytest.approx(1, abs=0.1)
    noise = transforms.noise(0.5)(torch.zeros(2, 1, 64, 64), chance())
    assert float(noise.std()) == pytest.approx(0.5, rel=0.05)


def test_turning_by_a_quarter_is_exact(monkeypatch) -> None:
    batch = torch.randn(2, 3, 9, 9, generator=chance())
    monkeypatch.setattr(transforms, "_between", lambda low, high, generator: high)
    torch.testing.assert_close(transforms.rotate(90)(batch, chance()), batch.rot90(1, (2, 3)), atol=1e-5, rtol=0)


# Regularisers


def test_each_penalty_is_its_formula_and_each_step_between_pulls_back_to_grey() -> None:
    x = torch.randn(2, 3, 6, 7, generator=chance())
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
    grey = (clipped == 0).all(1)
    assert float(grey.float().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(x.norm(dim=1)[grey].max()) <= float(x.norm(dim=1)[~grey].max())


@pytest.mark.parametrize("price", ["total_variation", "l1", "l2"])
def test_what_a_picture_pays_for_it_has_less_of(price: str, model: cs.Model) -> None:
    penalty = getattr(regularizers, price)
    free, paid = (
        drawn(model, goals.channel(FEATURES, 1), penalties=[penalty(w)] if w else [], steps=40) for w in (0, 100)
    )
    assert float(penalty(1.0)(paid.pictures)) < 0.5 * float(penalty(1.0)(free.pictures))


def test_blurring_is_refused_where_the_numbers_are_no_pixels(model: cs.Model) -> None:
    with pytest.raises(ParameterError, match="work on pixels, not on fourier"):
        drawn(model, goals.channel(FEATURES, 1), "fourier", between=[regularizers.blur(1.0)])


# The cut


def test_nothing_above_the_layer_is_computed_and_no_hook_is_left(residual: cs.Model) -> None:
    ran = []
    residual.module.relu.register_forward_hook(lambda *_: ran.append("relu"))
    handles = len(residual.module.relu._forward_hooks)
    with metered() as meter:
        drawn(residual, goals.channel("conv", 1), steps=5)
    assert len(ran) == 1, "once, to see the order of layers"
    assert (meter.forwards, meter.backwards) == (2 + 5 + 2, 5)
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in residual.module.modules()) == handles


def test_several_layers_are_read_in_one_forward_that_ends_at_the_last(residual: cs.Model) -> None:
    x = torch.randn(2, 3, 16, 16, generator=chance())
    with residual.untouched():
        seen = Cut(residual, ["bn2", "stem"], x[:1]).read(residual.laid_out(x))
    net = residual.module
    torch.testing.assert_close(seen["stem"], net.stem(x))
    torch.testing.assert_close(seen["bn2"], net.bn2(net.conv(torch.relu(net.bn1(net.stem(x))))))


def test_a_head_of_one_size_does_not_keep_layers_below_from_other_sizes() -> None:
    model = picture_model(seeded(FlattenNet))
    with model.untouched():
        way = parametrizations.pixels(canvas_of(model, 24))
        assert tuple(climb(model, goals.channel("features.0", 2), way, steps=3).pictures.shape) == (1, 3, 24, 24)
        with pytest.raises(cs.ConvScopeError, match="FlattenNet raised"):
            climb(model, goals.class_score(0), way, steps=3)


def test_a_layer_that_never_runs_is_refused(model: cs.Model) -> None:
    model.module.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(LayerError, match="'spare' was never reached"):
        drawn(model, goals.channel("spare", 0))


# The loop


@pytest.mark.parametrize("name", parametrizations.BY_NAME)
def test_every_parametrisation_climbs(name: str, residual: cs.Model) -> None:
    found = drawn(residual, goals.channel("bn2", 3), name, steps=40)
    assert tuple(found.scores.shape) == (1, 40)
    assert float(found.best) > float(found.scores[0, 0]) + 0.1
    assert float(found.best) >= float(found.scores.max()) - 0.1


def test_of_a_linear_network_the_best_picture_points_along_its_weights() -> None:
    """Under a bound on its mean square, there is no better one."""
    model = cs.Model(seeded(LinearNet), input=cs.TensorInput((3, 16, 16)))
    found = drawn(model, goals.class_score(2), steps=300, rate=0.05)
    cosine = torch.nn.functional.cosine_similarity(found.pictures.flatten(), model.module.fc.weight[2].detach(), dim=0)
    assert float(cosine) > 0.995


def test_what_was_best_is_kept_when_the_climb_goes_astray(residual: cs.Model) -> None:
    def astray(numbers: Tensor, step: int) -> Tensor:
        return numbers if step < 20 else 0 * numbers

    found = drawn(residual, goals.channel("bn2", 3), steps=30, between=[astray])
    assert float(found.best) > float(found.scores[0, -1]) + 0.1
    assert float(found.best) >= float(found.scores[0, 18])


def test_a_picture_is_the_same_alone_and_among_others(residual: cs.Model) -> None:
    units = [goals.channel("bn2", 1), goals.channel("stem", 4), goals.class_score(2)]
    shake = transforms.standard((16, 16))
    together = drawn(residual, units, "fourier", transform=shake, variants=2)
    for place, unit in enumerate(units):
        alone = drawn(residual, unit, "fourier", transform=shake, variants=2)
        torch.testing.assert_close(together.pictures[2 * place : 2 * place + 2], alone.pictures, rtol=0, atol=1e-3)
    assert not torch.allclose(together.pictures[0], together.pictures[1], atol=0.01), "variants begin apart"


def test_several_chunks_give_what_one_gives_and_tell_how_far_they_are(residual, monkeypatch) -> None:
    units = [goals.channel("bn2", unit) for unit in range(5)]
    whole, told = drawn(residual, units, frames=3), []
    monkeypatch.setattr("convscope.engine.context.chunking._MAX_CHUNK", 2)
    with reporting(lambda done, total: told.append((done, total))):
        parts = drawn(residual, units, frames=3)
    for name in ("pictures", "scores", "best", "importance", "frames"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-3, atol=1e-3)
    assert told == sorted(told)
    assert told[-1] == (60, 60)


class Dead(nn.Module):
    """Two rectified layers, both off for any picture near grey: no plain gradient reaches it."""

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
def test_a_unit_that_is_off_at_the_start_is_switched_on(kind: str) -> None:
    model = cs.Model(seeded(Dead, kind), input=cs.ImageInput(size=12, mean=(0.5,) * 3, std=(0.2,) * 3))
    canvas = canvas_of(model)
    start = parametrizations.pixels(canvas)
    grey = start.picture(start.start(1, chance())).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model.module(grey)[:, 1].sum(), grey)
    assert not bool(gradient.any()), "the start is dead"
    found = drawn(model, goals.class_score(1), steps=60)
    assert float(found.scores[0, 0]) == 0
    assert float(found.best) > 0.01


def test_an_objective_that_does_not_depend_on_the_input_is_said_to_be_so(model: cs.Model) -> None:
    constant = goals.Objective(("",), lambda seen: seen[""].detach().sum(1), "a constant")
    with pytest.raises(NoGradient, match="a constant does not depend on the input of PlainNet"):
        drawn(model, constant)
    with torch.no_grad():
        model.module.head.weight.zero_()
    with pytest.raises(NoGradient, match="gradient is zero at every pixel"):
        drawn(model, goals.class_score(1))


def test_one_that_never_moves_among_others_is_noted(model: cs.Model) -> None:
    with torch.no_grad():
        model.module.head.weight[1].zero_()
    found = drawn(model, [goals.class_score(0), goals.class_score(1)])
    assert found.notes[0] == {}
    assert "gave no gradient at any step" in found.notes[1]["never moved"]


def test_what_diverges_keeps_its_best_picture_and_says_so(model: cs.Model) -> None:
    """The objective is infinite above a level; the other picture goes on."""
    first = float(drawn(model, goals.channel(FEATURES, 1), steps=30).best)

    def score(seen: dict[str, Tensor]) -> Tensor:
        plain = seen[FEATURES][:, 1].mean((1, 2))
        return torch.where(plain > 0.5 * first, torch.nan, 1.0) * plain

    wild = goals.Objective((FEATURES,), score, "wild")
    found = drawn(model, [wild, goals.channel(FEATURES, 1)], steps=30)
    assert found.notes[0]["diverged"].startswith("the objective became NaN or infinite at step ")
    assert math.isfinite(float(found.best[0]))
    assert found.notes[1] == {}
    assert float(found.best[1]) == pytest.approx(first, rel=1e-3)
    alone = drawn(model, wild, steps=30)
    assert alone.scores.shape[1] < 30, "nothing is left to climb"
    assert not alone.stopped


def test_one_that_is_no_number_from_the_start_is_refused(model: cs.Model) -> None:
    with pytest.raises(NotFinite, match="from the start"):
        drawn(model, goals.channel(FEATURES, 1) * math.inf)


def test_cancelling_keeps_the_best_so_far_and_begins_nothing_new(residual: cs.Model, monkeypatch) -> None:
    monkeypatch.setattr("convscope.engine.context.chunking._MAX_CHUNK", 2)

    def stop(done: int, _total: int) -> None:
        if done >= 2 * 7:
            raise Cancelled("enough")

    with reporting(stop):
        found = drawn(residual, [goals.channel("bn2", unit) for unit in range(4)], steps=20)
    assert found.stopped == "stopped after 7 of 20 steps"
    assert tuple(found.pictures.shape) == (4, 3, 16, 16)
    assert "the best so far is shown" in found.notes[0]["stopped"].replace("picture ", "")
    assert found.notes[3]["stopped"] == "stopped before it was begun"
    assert torch.isfinite(found.scores[0, :7]).all()
    assert torch.isnan(found.scores[2, 1:]).all()


def test_the_current_picture_can_be_watched_and_watching_can_stop_it(residual: cs.Model) -> None:
    seen = []

    def watch(done: int, total: int, scores: Tensor, picture) -> None:
        seen.append((done, total, tuple(scores.shape), tuple(picture().shape)))
        if done == 4:
            raise Cancelled("enough")

    with watching(watch):
        found = drawn(residual, goals.channel("bn2", 1), steps=10)
    assert seen == [(step, 10, (1,), (1, 3, 16, 16)) for step in (1, 2, 3, 4)]
    assert found.stopped == "stopped after 4 of 10 steps"


def test_frames_are_spread_over_the_climb_and_importance_adds_up_slopes(model: cs.Model) -> None:
    found = drawn(model, goals.neuron(FEATURES, 1, (4, 4)), steps=9, frames=3)
    assert tuple(found.frames.shape) == (3, 1, 3, 16, 16)
    assert not torch.equal(found.frames[0], found.frames[2])
    reach = torch.zeros(16, 16, dtype=torch.bool)
    reach[6:11, 6:11] = True  # two 3×3 convolutions, the second of stride 2, at place 4
    assert float(found.importance[0][~reach].max()) == 0
    assert float(found.importance[0][reach].max()) > 0
