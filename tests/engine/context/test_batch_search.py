"""The search for the batch size that takes the least time per input."""

from itertools import islice

import pytest
import torch

from convscope.engine.context.batch_search import BatchSearch
from convscope.engine.context.chunking import in_chunks


def searched(seconds_per_input: dict[int, float]) -> BatchSearch:
    """A search with 8 as the usual size, whose batches took these times per input."""
    search = BatchSearch(8, 64)
    for size in search.trials:
        search.record(size, size * seconds_per_input[size])
    return search


@pytest.mark.parametrize(
    ("seconds", "best"),
    [({8: 1.0, 4: 0.8, 16: 1.2}, 4), ({8: 1.0, 4: 1.5, 16: 0.7}, 16), ({8: 1.0, 4: 0.97, 16: 0.96}, 8)],
)
def test_the_fastest_size_is_taken_unless_the_usual_one_is_nearly_as_fast(seconds: dict[int, float], best: int) -> None:
    assert searched(seconds).best == best


def test_a_slow_first_batch_of_a_size_does_not_count_against_it() -> None:
    search = BatchSearch(8, 64)
    for number, size in enumerate(search.trials):
        search.record(size, size * (100.0 if number < 3 else {8: 1.0, 4: 0.5, 16: 1.0}[size]))
    assert search.best == 4


def test_a_second_run_uses_the_same_sizes_as_the_first() -> None:
    search = BatchSearch(8, 64)
    first_run = search.sizes()
    sizes = []
    for _ in range(10):
        sizes.append(next(first_run))
        search.record(sizes[-1], sizes[-1] * {8: 1.0, 4: 0.5, 16: 2.0}[sizes[-1]])
    assert sizes == [8, 4, 16, 8, 4, 16, 4, 4, 4, 4]
    assert list(islice(search.sizes(), 10)) == sizes


def test_no_size_is_above_the_limit_and_a_short_run_tries_none() -> None:
    search = BatchSearch(8, 12)
    assert set(search.trials) == {8, 4}
    assert not search.pays_off(95)
    assert search.pays_off(96)


def test_chunks_follow_the_search_and_cover_every_row_once() -> None:
    rows: list[int] = []
    lengths: list[int] = []

    def step(chunk: torch.Tensor) -> None:
        rows.extend(chunk.tolist())
        lengths.append(len(chunk))

    search = BatchSearch(4, 64)
    in_chunks(60, torch.zeros(3, 4, 4), step, search=search)
    assert rows == list(range(60))
    assert lengths[:6] == [4, 2, 8, 4, 2, 8]
    assert set(lengths[6:-1]) == {search.best}


def test_a_chunk_of_a_tried_size_that_does_not_fit_is_halved() -> None:
    rows: list[int] = []

    def step(chunk: torch.Tensor) -> None:
        if len(chunk) > 3:
            raise RuntimeError("out of memory")
        rows.extend(chunk.tolist())

    in_chunks(30, torch.zeros(3, 4, 4), step, search=BatchSearch(4, 64))
    assert rows == list(range(30))
