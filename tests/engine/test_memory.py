"""Memory: independent of the number of steps, constant over many calls, and no more than a value's own data."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

import convscope as cs
from convscope.engine.context import chunking
from tests.engine.networks import SIDE, pictured, small_network, tensor


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
        self.net, self.note, self.calls = small_network(), note, 0

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
        pytest.param(cs.blur_integrated_gradients, "steps", marks=pytest.mark.by_hand),
        pytest.param(cs.expected_gradients, "samples", marks=pytest.mark.by_hand),
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
    attribution = cs.grad_cam(pictured(), list(tensor(50, 3, SIDE, SIDE)))[0]
    for held in (attribution.values, *attribution.layer_values.values(), attribution.photo.tensor):
        assert held.untyped_storage().nbytes() <= held.numel() * held.element_size()
