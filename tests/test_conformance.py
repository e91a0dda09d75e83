"""What every lens promises by its declaration alone: each test runs over the whole catalogue.

A new lens joins by being declared. Nothing here knows a method; where a lens takes a target, a layer or a seed, its
declaration says so. The network is a `ResidualNet`: batch norm, dropout, a residual sum, ReLUs in place and not.
"""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope.engine.context.metering import reporting
from convscope.errors import (
    Cancelled,
    ConvScopeError,
    LayerError,
    ModelFailed,
    OutputError,
    ParameterError,
    UnknownName,
)
from convscope.spec import LensSpec
from tests.conftest import picture_model
from tests.lens_calls import REPETITIONS, assert_same, call_lens, call_lens_as_list, collect_tensors
from tests.nets import (
    LABELS,
    FailingNet,
    FlattenNet,
    OutOfMemoryNet,
    PlainNet,
    ResidualNet,
    SmoothNet,
    StatefulNet,
    seeded,
)

LENSES = [spec for spec in cs.lenses() if "model" in spec.inputs]
MAPS = [spec for spec in LENSES if spec.gives_map]
EACH = [spec for spec in LENSES if spec.each_image]
RUNNING = [spec for spec in LENSES if spec.name != "kernels"]
"""Those that run the network: kernels are read off it."""
WRAPPED = [spec for spec in RUNNING if spec.name != "structure"]
"""Those that say the same of a network within another: the structure is another then, and needs one input only."""
CLAIMS = {"class-sensitive", "deterministic", "non-negative", "complete", "differentiable", "contrasting"}
FAILURES = {"class-sensitive": "class-sensitive", "completeness": "complete", "class contrast": "contrasting"}
"""The claim that each declared failure denies."""

_command = lambda spec: spec.command  # noqa: E731
every_lens = pytest.mark.parametrize("spec", LENSES, ids=_command)
every_image_lens = pytest.mark.parametrize("spec", EACH, ids=_command)
every_running_lens = pytest.mark.parametrize("spec", RUNNING, ids=_command)
every_map = pytest.mark.parametrize("spec", MAPS, ids=_command)


@pytest.fixture
def model() -> cs.Model:
    """A tiny network with all that is easily got wrong."""
    return picture_model(seeded(ResidualNet))


# What comes back


@every_lens
def test_a_lens_gives_the_kind_of_value_it_declares_with_the_record_of_its_making(spec, model, picture) -> None:
    value = call_lens(spec, model, picture)
    assert type(value) is spec.returns
    assert (value.record.lens, value.record.title) == (spec.command, spec.title)
    assert (value.record.asks, value.record.reads) == (spec.asks, spec.reads)
    assert set(spec.parameters) <= set(value.record.parameters)
    assert value.record.model["name"] == "ResidualNet"
    assert {"torch", "python", "convscope"} <= set(value.record.versions)
    assert value.record.cost.forwards > 0 or spec not in RUNNING
    assert value.record.cost.seconds > 0


@every_map
@pytest.mark.parametrize(("axes", "shape"), [(1, (2, 24)), (2, (3, 12, 20)), (3, (1, 6, 8, 10))])
def test_a_map_has_the_extent_of_the_input_along_one_two_or_three_axes(spec, axes: int, shape: tuple[int, ...]) -> None:
    net = seeded(PlainNet, axes, shape[0])
    value = call_lens(spec, net, torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)))
    assert value.values.dtype == torch.float32
    assert value.values.device.type == "cpu"
    assert value.values.shape == shape[1:]
    assert torch.isfinite(value.values).all()
    assert not value.blank
    assert all(layer.dtype == torch.float32 and layer.ndim == axes for layer in value.layer_values.values())
    assert value.layers == tuple(value.layer_values)
    assert spec.takes_layer == bool(value.layers)
    if value.channels is not None:
        assert value.channels.dtype == torch.float32
        assert value.channels.shape == shape
    if not value.signed:
        assert value.values.min() >= 0


@every_map
def test_a_map_says_what_it_explains(spec: LensSpec, model: cs.Model, picture: np.ndarray) -> None:
    """The class by its label, its number and its score; a lens without a target says none of them."""
    value = call_lens(spec, model, picture, target="cat")
    score = float(model.module(model.prepare(picture).tensor)[0, 2].detach())
    if spec.takes_target:
        assert (value.target, value.target_index) == ("cat", 2)
        assert value.score == pytest.approx(score, abs=1e-5)
        top = call_lens(spec, model, picture)
        assert top.target_index == int(model.module(model.prepare(picture).tensor).argmax())
        assert top.target == LABELS[top.target_index]
    elif "unit" in spec.inputs:
        assert value.target_index is None
        assert value.target in {f"relu[{unit}]" for unit in range(6)}
    else:
        assert (value.target, value.target_index, value.score) == ("", None, None)


# The same again


@every_lens
def test_the_same_seed_gives_the_same_bits_whatever_other_generators_do(spec, model, pictures) -> None:
    """What is drawn, is never drawn from a generator that other code may move."""
    assert "deterministic" in spec.claims
    torch.manual_seed(1)
    first = call_lens_as_list(spec, model, pictures, **_at_random(spec))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002 - the global generator is the point
    random.seed(2)
    for one, again in zip(first, call_lens_as_list(spec, model, pictures, **_at_random(spec)), strict=True):
        assert_same(again, one)


@pytest.mark.parametrize("seeds", [(0, 1), (0, 256), (7, 7 + 2**30)], ids=str)
@pytest.mark.parametrize("spec", [spec for spec in LENSES if "seed" in spec.parameters], ids=_command)
def test_another_seed_gives_other_numbers(spec: LensSpec, seeds: tuple[int, int], picture: np.ndarray) -> None:
    model = picture_model(seeded(FlattenNet))  # below a pooling head no noise would move the gradient
    first, second = (collect_tensors(call_lens(spec, model, picture, seed=seed, **_at_random(spec))) for seed in seeds)
    assert not all(torch.equal(first[name], second[name]) for name in first)


@every_lens
def test_two_models_of_one_network_give_the_same_bits(spec: LensSpec, picture: np.ndarray) -> None:
    """As two runs of one script do: nothing hangs on a clock, or on what a model has seen before."""
    first, second = (call_lens(spec, picture_model(seeded(PlainNet)), picture) for _ in range(2))
    assert_same(second, first)


@every_lens
def test_the_answer_does_not_hang_on_how_the_weights_lie_in_memory(spec: LensSpec, picture: np.ndarray) -> None:
    plain = call_lens(spec, picture_model(seeded(PlainNet)), picture)
    channels_last = picture_model(seeded(PlainNet).to(memory_format=torch.channels_last))
    assert_same(call_lens(spec, channels_last, picture), plain, tolerance=1e-4)


# Many at once


@every_image_lens
def test_a_batch_is_its_images_one_by_one(spec: LensSpec, model: cs.Model, pictures: list[np.ndarray]) -> None:
    together = call_lens(spec, model, pictures)
    assert len(together) == len(pictures)
    for one, picture in zip(together, pictures, strict=True):
        assert_same(one, call_lens(spec, model, picture), tolerance=1e-4)


@every_image_lens
def test_a_prepared_batch_is_the_list_of_its_images(spec: LensSpec, model: cs.Model, pictures) -> None:
    tensor = model.prepare(pictures).tensor
    assert tensor.shape == (3, 3, 16, 16)
    for one, same in zip(call_lens(spec, model, tensor), call_lens(spec, model, pictures), strict=True):
        assert_same(one, same)


@every_image_lens
def test_a_single_image_gives_a_single_value(spec: LensSpec, model: cs.Model, picture: np.ndarray) -> None:
    """As a picture, as a tensor with or without its batch axis; a list of one stays a list."""
    tensor = model.prepare(picture).tensor
    single = call_lens(spec, model, picture)
    assert_same(call_lens(spec, model, tensor), single)
    assert_same(call_lens(spec, model, tensor[0]), single)
    (listed,) = call_lens(spec, model, [picture])
    assert_same(listed, single)


@pytest.mark.parametrize("spec", [spec for spec in MAPS if spec.takes_target], ids=_command)
def test_every_image_of_a_batch_may_have_a_class_of_its_own(spec: LensSpec, model: cs.Model, pictures) -> None:
    classes = [2, 0, 3]
    for one, picture, target in zip(call_lens(spec, model, pictures, target=classes), pictures, classes, strict=True):
        assert one.target_index == target
        assert_same(one, call_lens(spec, model, picture, target=target), tolerance=1e-4)


@every_lens
def test_the_answer_does_not_hang_on_how_many_inputs_go_together(spec, model, pictures, monkeypatch) -> None:
    whole = call_lens_as_list(spec, model, pictures)
    monkeypatch.setattr("convscope.engine.context.chunking.MAX_CHUNK", 2)
    for one, same in zip(call_lens_as_list(spec, model, pictures), whole, strict=True):
        assert_same(one, same, tolerance=1e-4)


@pytest.mark.parametrize("spec", WRAPPED, ids=_command)
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_running_out_of_memory_costs_time_but_not_the_answer(spec, patience: int, model, pictures) -> None:
    """Chunks are halved and begun anew; nothing of a chunk that failed midway is counted."""
    model.module.to(memory_format=torch.channels_last)  # whose layout need not be timed
    whole = call_lens_as_list(spec, model, pictures, layer="relu")
    hungry = cs.Model(OutOfMemoryNet(model.module, patience), input=model.input, labels=model.labels)
    for one, same in zip(call_lens_as_list(spec, hungry, pictures, layer="net.relu"), whole, strict=True):
        found = {name.replace("/net.", "/"): content for name, content in collect_tensors(one).items()}
        for name, content in collect_tensors(same).items():
            allowed = 1e-4 * float(content.nan_to_num().abs().max()) + 1e-6
            torch.testing.assert_close(found[name], content, rtol=0, atol=allowed, equal_nan=True)


def test_lenses_that_share_their_passes_say_what_each_says_alone(model: cs.Model, pictures: list[np.ndarray]) -> None:
    compared = cs.compare(model, pictures, [spec.command for spec in MAPS], **REPETITIONS)
    for spec, column in zip(MAPS, zip(*compared.rows, strict=True), strict=True):
        for one, alone in zip(column, call_lens(spec, model, pictures), strict=True):
            assert one.method == spec.command
            assert_same(one, alone, tolerance=1e-5)


# Nothing is left behind


@pytest.fixture
def careless() -> cs.Model:
    """A network that moves what a lens must put back, left as people leave one in the middle of their work."""
    model = picture_model(seeded(StatefulNet))
    _disarrange(model.module)
    return model


@every_lens
def test_the_network_comes_back_as_it_went_in(spec: LensSpec, careless: cs.Model, pictures) -> None:
    with _left_alone(careless.module):
        call_lens(spec, careless, pictures)


@pytest.mark.parametrize("spec", [spec for spec in MAPS if spec.takes_target or spec.takes_layer], ids=_command)
def test_the_network_comes_back_after_a_request_that_fails_midway(spec, careless, picture) -> None:
    """A target that gives no number, or a layer without extent, is noticed only once the network has run."""
    bad = {"target": lambda output: output} if spec.takes_target else {"layer": "fc"}
    with _left_alone(careless.module), pytest.raises((OutputError, LayerError)):
        call_lens(spec, careless, picture, **bad)


@pytest.mark.parametrize("spec", [spec for spec in LENSES if spec.takes_target], ids=_command)
def test_an_unknown_class_is_refused_with_the_nearest_known(spec: LensSpec, careless: cs.Model, picture) -> None:
    with _left_alone(careless.module), pytest.raises(UnknownName, match=r"no label 'catt' .*; did you mean 'cat'"):
        call_lens(spec, careless, picture, target="catt")


@pytest.mark.parametrize("spec", [spec for spec in LENSES if spec.takes_layer], ids=_command)
def test_an_unknown_layer_is_refused_with_the_nearest_known(spec: LensSpec, careless: cs.Model, picture) -> None:
    with _left_alone(careless.module), pytest.raises(UnknownName, match=r"no layer 'rellu' .*; did you mean 'relu'"):
        call_lens(spec, careless, picture, layer="rellu")


@every_running_lens
def test_a_network_that_raises_midway_is_named_and_comes_back(spec: LensSpec, picture: np.ndarray) -> None:
    model = picture_model(seeded(FailingNet))
    _disarrange(model.module)
    said = r"FailingNet raised ZeroDivisionError .* the network is broken"
    with _left_alone(model.module), pytest.raises(ModelFailed, match=said) as failure:
        call_lens(spec, model, picture, layer="fc")
    assert isinstance(failure.value.__cause__, ZeroDivisionError)
    assert isinstance(failure.value, ConvScopeError)


@every_running_lens
def test_a_run_can_be_stopped_and_leaves_nothing_behind(spec: LensSpec, careless: cs.Model, pictures) -> None:
    """Pictures that were being drawn are kept as they are; everything else has nothing to show."""

    def stop(_done: int, _total: int) -> None:
        raise Cancelled("enough")

    drawing = spec.returns.is_optimized
    with _left_alone(careless.module), nullcontext() if drawing else pytest.raises(Cancelled), reporting(stop):
        for value in call_lens_as_list(spec, careless, pictures):
            assert "stopped" in value.notes


# Wherever it is called


SURROUNDINGS: dict[str, Any] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "grad disabled": lambda: torch.autograd.grad_mode.set_grad_enabled(False),
}


@every_lens
@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_it_does_not_matter_whether_gradients_are_being_recorded(spec, surroundings: str, model, pictures) -> None:
    plain = call_lens_as_list(spec, model, pictures)
    with SURROUNDINGS[surroundings]():
        found = call_lens_as_list(spec, model, pictures)
        from_tensor = call_lens_as_list(spec, model, model.prepare(pictures).tensor)
    for one, other, true in zip(found, from_tensor, plain, strict=True):
        assert_same(one, true)
        assert_same(other, true)


@every_lens
@pytest.mark.parametrize("state", ["training", "frozen", "half in training"])
def test_it_does_not_matter_how_the_network_was_left(spec: LensSpec, state: str, model: cs.Model, pictures) -> None:
    """Dropout and batch norm answer otherwise in training, and peers raise on frozen parameters."""
    plain = call_lens_as_list(spec, model, pictures)
    if state == "frozen":
        model.module.requires_grad_(False)
    else:
        (model.module if state == "training" else model.module.bn2).train()
    for one, true in zip(call_lens_as_list(spec, model, pictures), plain, strict=True):
        assert_same(one, true)


CHANGES: dict[str, Any] = {
    "weights trained on": lambda net: [w.data.mul_(1.5) for w in net.parameters()],
    "weights replaced": lambda net: setattr(net.conv, "weight", nn.Parameter(net.conv.weight.detach().flip(0))),
    "statistics replaced": lambda net: setattr(net.bn1, "running_mean", net.bn1.running_mean + 0.3),
    "layer replaced": lambda net: setattr(net, "bn2", nn.BatchNorm2d(6).eval()),
    "other precision": lambda net: net.double(),
    "hooked": lambda net: net.conv.register_forward_hook(lambda _module, _inputs, output: output * 0.5),
}


@every_lens
@pytest.mark.parametrize("change", CHANGES)
def test_a_network_changed_between_two_looks_is_explained_as_it_is_now(spec, change: str, model, pictures) -> None:
    """Whatever is remembered of a network must not outlive a change to it."""
    call_lens(spec, model, pictures)
    CHANGES[change](model.module)
    fresh = cs.Model(model.module, input=model.input, labels=model.labels, name=model.name)
    for one, true in zip(
        call_lens_as_list(spec, model, pictures), call_lens_as_list(spec, fresh, pictures), strict=True
    ):
        assert_same(one, true, tolerance=1e-4)


# Parameters


PARAMETERS = [(spec, name) for spec in LENSES for name in spec.parameters]
every_parameter = pytest.mark.parametrize(("spec", "name"), PARAMETERS, ids=[f"{s.command} {n}" for s, n in PARAMETERS])


@every_parameter
def test_a_value_out_of_range_is_refused_by_the_name_of_the_parameter(spec, name: str, model, picture) -> None:
    parameter = spec.parameters[name]
    wrong_kind = [None, object()] + ([] if parameter.about.choices or parameter.kind is str else ["many"])
    for value in (parameter.bad_value(), *wrong_kind):
        with _left_alone(model.module), pytest.raises(ParameterError, match=rf"^{name} must be "):
            call_lens(spec, model, picture, **{name: value})


@every_parameter
def test_the_ends_of_a_range_and_every_choice_are_taken(spec: LensSpec, name: str) -> None:
    parameter = spec.parameters[name]
    ends = [parameter.kind(end) for end in (parameter.about.min, parameter.about.max) if end is not None]
    for value in (parameter.default, *parameter.about.choices, *ends):
        assert parameter.check(value) == value


@every_lens
def test_an_unknown_parameter_is_refused_with_the_nearest_known(spec: LensSpec, model: cs.Model, picture) -> None:
    known = [*spec.parameters, *(name for name in ("target", "layer", "unit") if name in spec.inputs)]
    needed = {name: given for name, given in (("model", model), ("image", picture)) if name in spec.required}
    needed |= {name: picture for name in spec.required if name not in needed}
    for name in known:
        misspelt = name + name[-1]
        with pytest.raises(ParameterError, match=f"has no parameter '{misspelt}'; did you mean '{name}'"):
            getattr(cs, spec.name)(**needed, **{misspelt: 1})


# Claims and declared failures


def _rows(claim: str) -> list[Any]:
    """The lenses that claim it, and as strict expected failures those that declare that it fails."""
    denial = next((word for word, denied in FAILURES.items() if denied == claim), "")
    claiming = [pytest.param(spec, id=spec.command) for spec in MAPS if claim in spec.claims]
    return claiming + [
        pytest.param(
            spec,
            id=f"{spec.command} does not",
            marks=pytest.mark.xfail(reason=spec.fails[denial], raises=AssertionError, strict=True),
        )
        for spec in MAPS
        if denial in spec.fails
    ]


@every_lens
def test_every_claim_and_every_declared_failure_is_put_to_a_test(spec: LensSpec) -> None:
    assert spec.claims <= CLAIMS
    assert set(spec.fails) <= set(FAILURES)
    assert all(spec.fails.values()), "a failure is declared with its reason"
    assert not {FAILURES[word] for word in spec.fails} & spec.claims, "what is claimed is not declared to fail"


@pytest.mark.parametrize("spec", _rows("class-sensitive"))
def test_class_sensitive_two_classes_have_different_maps(spec: LensSpec, model: cs.Model, pictures) -> None:
    """Different in shape, not only in scale or sign."""
    for first, second in zip(*(call_lens(spec, model, pictures, target=target) for target in (0, 1)), strict=True):
        likeness = torch.nn.functional.cosine_similarity(first.values.flatten(), second.values.flatten(), dim=0)
        assert abs(float(likeness)) < 0.999


MODEST = {"samples": 64, "steps": 60}
SPARING = {
    "sobol": {"samples": 8},
    "integrated_score_cam": {"steps": 4, "channels": 24},
    "smoothed_score_cam": {"samples": 2, "channels": 24},
    "score_cam": {"channels": 24},
}


@pytest.mark.parametrize("spec", _rows("contrasting"))
def test_contrasting_a_trained_network_has_another_map_for_its_second_choice(spec: LensSpec) -> None:
    """On three scenes: the cosine between the maps of the best and the second best class, on average.

    Where this fails, a map shows what the network sees, and hardly why it gave this answer rather than the next.
    """
    model = cs.load("bundled:shapes")
    scenes = model.prepare(["sample:shapes/7", "sample:shapes/12", "sample:shapes/33"]).tensor
    first, second = model.module(scenes).topk(2, 1).indices.T.tolist()
    enough = SPARING.get(spec.name, MODEST)
    pairs = zip(*(call_lens(spec, model, scenes, repetitions=enough, target=t) for t in (first, second)), strict=True)
    alike = [torch.nn.functional.cosine_similarity(a.values.flatten(), b.values.flatten(), 0) for a, b in pairs]
    assert float(torch.stack(alike).mean()) < 0.7


@pytest.mark.parametrize("spec", [spec for spec in MAPS if spec.takes_target], ids=_command)
def test_every_lens_says_whether_its_map_depends_much_on_the_class(spec: LensSpec) -> None:
    assert ("contrasting" in spec.claims) != bool({"class contrast", "class-sensitive"} & set(spec.fails))


@pytest.mark.parametrize("spec", _rows("non-negative"))
def test_non_negative_no_number_is_below_zero(spec: LensSpec, model: cs.Model, pictures) -> None:
    for target in range(len(LABELS)):
        for value in call_lens(spec, model, pictures, target=target):
            assert value.values.min() >= 0
            assert value.values.max() > 0
            assert not value.signed


@pytest.mark.parametrize("spec", _rows("complete"))
def test_complete_the_map_adds_up_to_the_rise_of_the_score(spec: LensSpec, pictures: list[np.ndarray]) -> None:
    """With the defaults, on a network without kinks; from the lens's own baseline or, where it has none, from black.

    A mean over n random samples may miss 1/√n of what it averages.
    """
    net = seeded(SmoothNet)
    with torch.no_grad():
        for weight in net.features.parameters():
            weight.mul_(2)
        net.fc.weight.mul_(40)
    model = picture_model(net)
    black = net(model.input.level(0.0).to(model.device).expand(1, 3, 16, 16))[0, 1].item()
    allowed = spec.parameters["samples"].default ** -0.5 if "samples" in spec.parameters else 0.02
    scores = net(model.prepare(pictures).tensor)[:, 1].tolist()
    for value, score in zip(call_lens(spec, model, pictures, repetitions={}, target=1), scores, strict=True):
        rise = score - value.notes.get("baseline score", black)
        map_ = next(iter(value.layer_values.values()), value.values)
        assert abs(float(map_.sum()) - rise) < allowed * max(abs(rise), float(map_.abs().sum()))
        assert value.notes["completeness gap"] == pytest.approx(float(map_.sum()) - rise, abs=1e-3)


# How it is seen that nothing changed


def _at_random(spec: LensSpec) -> dict[str, Any]:
    """The choices that make a lens draw at random, where it would not by default."""
    drawn = {name: "noise" for name, p in spec.parameters.items() if "noise" in p.about.choices}
    return drawn if "seed" in spec.parameters else {}


def _disarrange(net: ResidualNet) -> None:
    """Leave a network as people do in the middle of their work."""
    net.train()
    net.bn1.eval()
    net.stem.weight.requires_grad_(False)
    net.conv.weight.grad = torch.ones_like(net.conv.weight)
    net.bn2.register_forward_hook(lambda _module, _inputs, _output: None)
    net.fc.register_forward_pre_hook(lambda _module, _inputs: None)


@contextmanager
def _left_alone(net: nn.Module) -> Iterator[None]:
    """Nothing about the network, the generators or the process's settings differs afterwards."""
    before, weights = _state(net), copy.deepcopy(net.state_dict())
    torch_state, others = torch.get_rng_state(), _generators()
    yield
    assert _state(net) == before
    assert net.state_dict().keys() == weights.keys()
    assert all(torch.equal(found, weights[name]) for name, found in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert _generators() == others


# Settings around a call


@contextmanager
def elsewhere(form: str) -> Iterator[None]:
    """Have tensors made without a device lie where no number can be read, or those without precision be float64."""
    if form == "within torch.device":
        with torch.device("meta"):
            yield
        return
    torch.set_default_device("meta" if form == "default device" else None)
    torch.set_default_dtype(torch.float64 if form == "default dtype" else torch.float32)
    try:
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


@every_lens
@pytest.mark.parametrize("form", ["default device", "within torch.device", "default dtype"])
def test_a_default_device_or_precision_changes_nothing(spec: LensSpec, pictures: list[np.ndarray], form: str) -> None:
    plain = call_lens(spec, picture_model(seeded(ResidualNet)), pictures[0])
    model = picture_model(seeded(ResidualNet))
    with elsewhere(form):
        found = call_lens(spec, model, pictures[0])
    assert_same(found, plain, tolerance=1e-5)


@every_lens
def test_under_autocast_the_network_runs_in_it_and_the_value_says_so(spec: LensSpec, picture: np.ndarray) -> None:
    model = picture_model(seeded(ResidualNet))
    kind = model.device.type
    with torch.autocast(kind, dtype=torch.bfloat16):
        found = call_lens(spec, model, picture)
        assert torch.is_autocast_enabled(kind)
    assert any("torch.autocast (bfloat16)" in caveat for caveat in found.record.caveats)
    assert not any("autocast" in caveat for caveat in call_lens(spec, model, picture).record.caveats)


@every_map
def test_a_map_under_autocast_is_that_of_the_network_under_autocast(spec: LensSpec, picture: np.ndarray) -> None:
    """Scores have three digits there; what a lens does with them has as many as ever."""
    plain = call_lens(spec, picture_model(seeded(PlainNet)), picture)
    model = picture_model(seeded(PlainNet))
    with torch.autocast(model.device.type, dtype=torch.bfloat16):
        found = call_lens(spec, model, picture)
    assert torch.isfinite(found.values).all()
    if spec.takes_target:
        assert found.target == plain.target
        assert found.score == pytest.approx(plain.score, rel=0.05, abs=0.02)


def _generators() -> tuple[Any, ...]:
    """Where NumPy's and Python's global generators stand."""
    _, key, *place = np.random.get_state()  # noqa: NPY002 - the global generator is the point
    return key.tolist(), place, random.getstate()


def _state(net: nn.Module) -> dict[str, Any]:
    """All of a network that is no number, and of the process what a forward may change."""
    switches = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    return {
        "training": {name: m.training for name, m in net.named_modules()},
        "inplace": {name: getattr(m, "inplace", None) for name, m in net.named_modules()},
        "hooks": {
            name: {kind: list(hooks.items()) for kind, hooks in vars(m).items() if kind.endswith("hooks") and hooks}
            for name, m in net.named_modules()
        },
        "attributes": {name: sorted(vars(m)) for name, m in net.named_modules()},
        "tensors": {name: id(t) for name, t in (*net.named_parameters(), *net.named_buffers())},
        "requires_grad": {name: p.requires_grad for name, p in net.named_parameters()},
        "gradients": {name: (id(p.grad), p.grad is None or p.grad.tolist()) for name, p in net.named_parameters()},
        "process": (*switches, torch.get_num_threads(), torch.get_default_dtype()),
    }
