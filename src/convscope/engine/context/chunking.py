"""Runs many inputs through a network, a few at a time.

Everything that multiplies inputs (noisy copies, integration steps, large batches) runs in chunks. Their size depends on
the size of the input alone, so that the same call gives the same bits; where very many inputs run, the fastest size is
searched for (batch_search.py). Larger chunks are not faster on a CPU: beyond five or six 224×224 images an activation
no longer fits into the memory that the allocator reuses, and every pass requests new pages (`benchmarks/results.md`).
A chunk that does not fit into memory is halved.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from convscope.engine.context.batch_search import BatchSearch
from convscope.engine.context.metering import report_progress
from convscope.engine.context.run_context import changed, current

_ELEMENTS_PER_CHUNK = {"cpu": 5 * 3 * 224 * 224, "cuda": 32 * 3 * 224 * 224, "mps": 16 * 3 * 224 * 224}
_WITHOUT_GRAPH = 8 / 5
"""How many times as many inputs form a chunk where no graph of the whole network is kept."""
MAX_CHUNK = 64
_ELEMENTS_AFTER_LAYER = {"cpu": 2**23, "cuda": 2**28, "mps": 2**26}
_MAX_CHUNK_AFTER_LAYER = 1024
"""After a late layer maps are small and weights may be large: a large chunk reads the weights once."""


@contextmanager
def one_at_a_time(enabled: bool = True) -> Iterator[None]:
    """Put a single input into every chunk inside: for networks in which the inputs of a batch influence each other."""
    with changed(one_at_a_time=enabled):
        yield


def runs_one_at_a_time() -> bool:
    """Whether inputs pass through the network one at a time."""
    return current().one_at_a_time


def chunk_size(sample: Tensor, *, light: bool = False) -> int:
    """How many inputs like ``sample`` (C, …) pass through the network together."""
    if runs_one_at_a_time():
        return 1
    elements = _ELEMENTS_PER_CHUNK.get(sample.device.type, _ELEMENTS_PER_CHUNK["cpu"]) * (
        _WITHOUT_GRAPH if light else 1
    )
    return max(1, min(MAX_CHUNK, int(elements) // sample.numel()))


def batch_search(sample: Tensor) -> BatchSearch:
    """A search for the best size of chunks of inputs like ``sample`` (C, …) of which no graph is kept."""
    return BatchSearch(chunk_size(sample, light=True), MAX_CHUNK)


def chunk_size_after_layer(elements: int, device: torch.device) -> int:
    """How many inputs run together from a layer to the output; ``elements``: the largest tensor of one input."""
    return max(
        1, min(_MAX_CHUNK_AFTER_LAYER, _ELEMENTS_AFTER_LAYER.get(device.type, _ELEMENTS_AFTER_LAYER["cpu"]) // elements)
    )


def in_chunks(
    total: int,
    like: Tensor,
    step: Callable[[Tensor], None],
    *,
    size: int | None = None,
    light: bool = False,
    quiet: bool = False,
    search: BatchSearch | None = None,
) -> None:
    """Call ``step(rows)`` with rows 0 … ``total`` - 1, a chunk at a time, halving the chunk when memory runs out.

    Args:
        like: one input (C, …), whose size decides how many form a chunk.
        step: processes these consecutive rows; it must not store anything before it has succeeded.
        size: how many form a chunk, where the caller knows better; ignored where inputs run one at a time.
        light: no graph of the whole network is kept, so that larger chunks fit.
        quiet: do not report progress.
        search: the sizes to try, and where to record how long each takes.
    """
    size, done, most = 1 if runs_one_at_a_time() else size or chunk_size(like, light=light), 0, total
    size = math.ceil(total / math.ceil(total / size)) if total else 1  # even chunks: no single input left for the end
    sizes = itertools.repeat(size) if search is None else search.sizes()
    while done < total:
        rows = torch.arange(done, min(done + min(next(sizes), most), total), device="cpu")
        started = time.perf_counter()
        try:
            step(rows)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if len(rows) == 1 or not is_out_of_memory(error):
                raise
            most = max(1, len(rows) // 2)
            if like.device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        if search is not None:
            search.record(len(rows), time.perf_counter() - started)
        done += len(rows)
        if not quiet:
            report_progress(done, total)


def rows_of(tensor: Tensor, rows: Tensor) -> Tensor:
    """The rows of a chunk as a view: they are consecutive, and indexing with a tensor would copy."""
    return tensor[int(rows[0]) : int(rows[-1]) + 1]


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, says that memory ran out on any device."""
    while error is not None:
        message = str(error)
        if (
            isinstance(error, torch.OutOfMemoryError)
            or "out of memory" in message
            or "can't allocate memory" in message
        ):
            return True
        error = error.__cause__
    return False
