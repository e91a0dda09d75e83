"""Chunks of many inputs: the same values for every size, halving when memory runs out, cancelling."""

from typing import Any

import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.engine.context import chunking
from convscope.engine.context.chunking import chunk_size, in_chunks
from convscope.engine.context.metering import reporting
from convscope.errors import Cancelled, ModelFailed
from tests.engine.networks import SIDE, Hungry, condition, pictured, seeded, tensor

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


def close(actual_values: list[Any], expected_values: list[Any]) -> None:
    for actual, expected in zip(actual_values, expected_values, strict=True):
        if isinstance(actual, cs.Prediction):
            assert actual.scores == pytest.approx(expected.scores, abs=1e-5)
        else:
            torch.testing.assert_close(actual.values, expected.values)
            assert actual.target_index == expected.target_index


@by_name
def test_chunks_change_nothing(lens: Any, options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = list(tensor(5, 3, SIDE, SIDE))
    whole = lens(pictured(), x, **options)
    for at_once in (1, 2, 3):
        monkeypatch.setattr(chunking, "MAX_CHUNK", at_once)
        close(lens(pictured(), x, **options), whole)
    close([lens(pictured(), image, **options) for image in x], whole)


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
    values = [lens(model, x, **options)]
    cs.smooth_grad(model, tensor(6, 3, SIDE, SIDE, seed=1), samples=9)
    values += [lens(model, x, **options), lens(pictured(), x, **options)]
    bits = [value.scores if isinstance(value, cs.Prediction) else value.values.tolist() for value in values]
    assert bits[0] == bits[1] == bits[2]
