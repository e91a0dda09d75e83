"""Many inputs: the same numbers whatever goes together, memory that does not grow, costs that are true."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.context import chunking
from convscope.engine.context.chunking import chunk_size, in_chunks
from convscope.engine.context.metering import reporting
from convscope.engine.network import batchnorm_folding
from convscope.errors import Cancelled, ModelFailed
from tests.engine._nets import SIDE, Hungry, InsistsOnView, condition, made, pictured, seeded, tensor, watched

LENSES: dict[str, dict[str, Any]] = {
    "predict": {},
    "saliency": {},
    "grad_cam": {},
    "eigen_cam": {},
    "integrated_gradients": {"steps": 5},
    "guided_integrated_gradients": {"steps": 4},
    "blur_integrated_gradients": {"steps": 4},
    "expected_gradients": {"samples": 5},
    "smooth_grad": {"samples": 5},
    "var_grad": {"samples": 5},
    "smooth_grad_cam_plus_plus": {"samples": 5},
}
by_name = pytest.mark.parametrize(("lens", "options"), [(getattr(cs, n), o) for n, o in LENSES.items()], ids=LENSES)


def close(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, cs.Prediction):
            assert one.scores == pytest.approx(other.scores, abs=1e-5)
        else:
            torch.testing.assert_close(one.values, other.values)
            assert one.target_index == other.target_index


@by_name
def test_chunks_change_nothing(lens: Any, options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = list(tensor(5, 3, SIDE, SIDE))
    whole = lens(pictured(), x, **options)
    for at_once in (1, 2, 3):
        monkeypatch.setattr(chunking, "MAX_CHUNK", at_once)
        close(lens(pictured(), x, **options), whole)
    close([lens(pictured(), one, **options) for one in x], whole)


@by_name
def test_a_chunk_that_does_not_fit_is_halved_until_it_does(lens: Any, options: Any) -> None:
    sizes: list[int] = []
    net, ample = seeded(lambda: Hungry(2, sizes.append)), seeded(lambda: Hungry(1000))
    before = condition(net)
    x = list(tensor(5, 3, SIDE, SIDE))
    close(lens(pictured(net), x, **options), lens(pictured(ample), x, **options))
    assert max(sizes) == 2
    assert condition(net) == before


def test_memory_that_does_not_suffice_for_one_image_is_told() -> None:
    net = seeded(lambda: Hungry(0))
    for lens in (cs.saliency, cs.grad_cam, cs.predict):
        with pytest.raises(
            ModelFailed, match=r"Hungry raised OutOfMemoryError on input \(1, 3, 16, 16\): simulated: out of memory"
        ):
            lens(pictured(net), list(tensor(3, 3, SIDE, SIDE)))


def test_chunks_are_counted_through_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "MAX_CHUNK", 4)
    rows: list[int] = []
    in_chunks(11, torch.zeros(3, 4, 4), lambda r: rows.extend(r.tolist()))
    assert rows == list(range(11))
    in_chunks(0, torch.zeros(3, 4, 4), lambda r: pytest.fail("there is nothing to do"))


def test_an_error_that_is_not_about_memory_is_not_tried_again() -> None:
    tried: list[int] = []

    def step(rows: Tensor) -> None:
        tried.append(len(rows))
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        in_chunks(8, torch.zeros(3, 4, 4), step)
    assert len(tried) == 1


def test_large_inputs_go_a_few_at_a_time_and_small_ones_many() -> None:
    assert 2 <= chunk_size(torch.empty(3, 224, 224)) <= 16
    assert chunk_size(torch.empty(3, 2000, 2000)) == 1
    assert chunk_size(torch.empty(1, 8, 8)) == 64


def test_work_that_somebody_stops_stops_and_leaves_no_trace() -> None:
    model, done = pictured(), []
    before = condition(model.module)

    def report(now: int, total: int) -> None:
        done.append((now, total))
        if len(done) == 2:
            raise Cancelled("enough")

    with reporting(report), pytest.raises(Cancelled, match="enough"):
        cs.integrated_gradients(model, tensor(), steps=300)
    assert len(done) == 2
    assert [total for _, total in done] == [300, 300]
    assert 0 < done[0][0] < done[1][0] < 300
    assert condition(model.module) == before


# The same bits


@by_name
def test_the_same_run_gives_the_same_bits(lens: Any, options: Any) -> None:
    """In a new model, in one that has run before, and whatever ran in between."""
    model, x = pictured(), tensor()
    found = [lens(model, x, **options)]
    cs.smooth_grad(model, tensor(6, 3, SIDE, SIDE, seed=1), samples=9)
    found += [lens(model, x, **options), lens(pictured(), x, **options)]
    bits = [one.scores if isinstance(one, cs.Prediction) else one.values.tolist() for one in found]
    assert bits[0] == bits[1] == bits[2]


# What it costs


def counted(model: cs.Model, run: Any) -> tuple[Any, int, int]:
    """The value, and the images and backwards that went through the network as seen from outside."""
    with watched(model.module) as seen:
        value = run()
    return value, seen.get("", 0), seen.get("backward calls", 0)


COSTS: list[tuple[str, dict[str, Any], int, int]] = [
    ("predict", {}, 1, 0),
    ("saliency", {}, 1, 1),
    ("gradient_x_input", {}, 1, 1),
    ("grad_cam", {"layer": "2"}, 1, 1),
    ("grad_cam", {"layer": ["0", "2"]}, 1, 1),
    ("hires_cam", {"layer": "2"}, 1, 1),
    ("eigen_grad_cam", {"layer": "2"}, 1, 1),
    ("integrated_gradients", {"steps": 50}, 52, 50),
    ("integrated_gradients", {"steps": 7, "quadrature": "trapezoid"}, 9, 7),
    ("blur_integrated_gradients", {"steps": 9}, 11, 9),
    ("guided_integrated_gradients", {"steps": 9}, 12, 10),
    ("smooth_grad", {"samples": 10}, 11, 10),
    ("smooth_grad", {"samples": 10, "target": 1}, 10, 10),
    ("smooth_grad_cam_plus_plus", {"samples": 6, "layer": "2"}, 7, 7),
]


@pytest.mark.parametrize(("name", "options", "forwards", "backwards"), COSTS, ids=[f"{n}-{o}" for n, o, *_ in COSTS])
def test_the_cost_is_what_was_really_run(
    name: str, options: Any, forwards: int, backwards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "MAX_CHUNK", 1)  # so that one call is one image
    model = pictured()
    getattr(cs, name)(model, tensor(), **options)  # what a network is like may be learned at the first call
    value, ran, backward_calls = counted(model, lambda: getattr(cs, name)(model, tensor(), **options))
    assert (value.record.cost.forwards, value.record.cost.backwards) == (ran, backward_calls)
    assert backward_calls == backwards
    looked = 1 if backwards >= batchnorm_folding.MIN_PASSES else 0  # a long run looks once at how the network is wired
    assert forwards <= ran <= forwards + looked


@pytest.mark.parametrize(("name", "options"), [(n, o) for n, o, *_ in COSTS], ids=[f"{n}-{o}" for n, o, *_ in COSTS])
def test_what_is_learned_at_the_first_call_is_told_too(
    name: str, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "MAX_CHUNK", 1)
    model = pictured()
    value, ran, backward_calls = counted(model, lambda: getattr(cs, name)(model, tensor(), **options))
    assert (value.record.cost.forwards, value.record.cost.backwards) == (ran, backward_calls)


@pytest.mark.parametrize("batch", [1, 6])
def test_a_network_that_insists_on_view_is_not_tried_in_vain_at_every_pass(batch: int) -> None:
    model, x = pictured(seeded(InsistsOnView)), list(tensor(batch, 3, SIDE, SIDE))
    for calls in range(2):
        with watched(model.module) as seen:
            found = cs.saliency(model, x)
        assert sum(a.cost.forwards for a in found) >= batch
        assert seen["first"] == pytest.approx(sum(a.cost.forwards for a in found))
        assert calls == 0 or seen["first"] == batch


def test_the_cost_is_told_per_image() -> None:
    model = pictured()
    cs.integrated_gradients(model, tensor())
    found = cs.integrated_gradients(model, list(tensor(3, 3, SIDE, SIDE)), steps=10)
    assert {a.cost.backwards for a in found} == {10}
    assert all(12 <= a.cost.forwards < 13 for a in found)
    assert all(a.cost.seconds > 0 for a in found)


def test_eigen_cam_costs_part_of_a_forward_and_no_backward() -> None:
    model = pictured()
    cs.eigen_cam(model, tensor(), layer="0")
    value, ran, backward_calls = counted(model, lambda: cs.eigen_cam(model, tensor(), layer="0"))
    assert (ran, backward_calls, value.cost.backwards) == (0, 0, 0)


CAMS = [
    "grad-cam",
    "grad-cam-plus-plus",
    "layer-cam",
    "hires-cam",
    "x-grad-cam",
    "element-wise-grad-cam",
    "eigen-grad-cam",
    "eigen-cam",
    "fem",
    "cam",
]


def test_all_cams_of_one_layer_share_one_forward_and_one_backward() -> None:
    model = pictured()
    cs.grad_cam(model, tensor())
    value, ran, backward_calls = counted(model, lambda: cs.compare(model, tensor(), CAMS, layer="3"))
    assert (ran, backward_calls) == (1, 1)
    assert sum(cell.cost.forwards for cell in value) == 1
    assert sum(cell.cost.backwards for cell in value) == 1


def test_a_comparison_shows_what_the_lenses_show_alone() -> None:
    model, x = pictured(), list(tensor(2, 3, SIDE, SIDE))
    names = [*CAMS, "saliency", "gradient-x-input", "integrated-gradients", "smooth-grad"]
    options = {"target": 1, "layer": "3", "steps": 3, "samples": 3}
    found = cs.compare(model, x, names, **options)
    for column, name in enumerate(names):
        lens = getattr(cs, name.replace("-", "_"))
        known = {*lens.declaration.inputs, *lens.declaration.parameters}
        alone = lens(model, x, **{k: v for k, v in options.items() if k in known})
        for row in range(2):
            torch.testing.assert_close(found.rows[row][column].values, alone[row].values)


# Memory


@pytest.fixture
def earlier_objects_frozen() -> Iterator[None]:
    """Keep what exists before the test out of ``gc.get_objects()``: a worker has a million objects of other tests."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def _live_bytes() -> int:
    """The bytes of all tensors that Python can reach, each storage once; without those frozen before."""
    storages = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), Tensor):
            try:
                storage = thing.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
            except (RuntimeError, NotImplementedError):
                continue  # stand-ins of tracing and of vmap, left by other tests, have no memory
    return sum(storages.values())


class Weighs(nn.Module):
    """Tells at its first five forwards, and then at every ninth, how many bytes of tensors are alive."""

    def __init__(self, note: Callable[[int], object]) -> None:
        super().__init__()
        self.net, self.note, self.calls = made(), note, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls < 6 or self.calls % 9 == 0:
            self.note(_live_bytes())
        return self.net(x)


@pytest.mark.usefixtures("earlier_objects_frozen")
@pytest.mark.parametrize(
    ("lens", "parameter"),
    [
        (cs.integrated_gradients, "steps"),
        (cs.smooth_grad, "samples"),
        (cs.blur_integrated_gradients, "steps"),
        (cs.expected_gradients, "samples"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_ten_times_the_steps_need_no_more_memory(lens: Any, parameter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "MAX_CHUNK", 10)
    peaks = []
    for count in (30, 300):
        alive: list[int] = []
        net = Weighs(alive.append).eval()
        gc.collect()
        before = _live_bytes()
        lens(pictured(net), tensor(), **{parameter: count})
        peaks.append(max(alive) - before)
    assert peaks[0] > 10 * 3 * SIDE * SIDE * 4
    assert peaks[1] < peaks[0] + 64 * 1024


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_two_hundred_explanations_do_not_grow_the_process() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    model, x = pictured(), tensor()
    for count in range(200):
        cs.grad_cam(model, x)
        cs.integrated_gradients(model, x, steps=4)
        if count == 10:
            gc.collect()
            start = resident()
    gc.collect()
    assert resident() - start < 20 * 2**20


def test_a_kept_value_keeps_its_own_numbers_only() -> None:
    found = cs.grad_cam(pictured(), list(tensor(50, 3, SIDE, SIDE)))[0]
    for held in (found.values, *found.layer_values.values(), found.photo.tensor):
        assert held.untyped_storage().nbytes() <= held.numel() * held.element_size()
