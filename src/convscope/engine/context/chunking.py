"""Many inputs through one network, a few at a time.

Everything that multiplies inputs — noise copies, integration steps, large batches — runs in chunks whose size
follows from the input's size alone, so that the same run gives the same bits. On a processor more is not better:
past five or six 224×224 images each activation outgrows what the allocator keeps, and every pass pays for
fresh pages (`benchmarks/results.md`). A chunk that does not fit in memory is halved.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from convscope.engine.context.metering import progress

_NUMBERS_AT_ONCE = {"cpu": 5 * 3 * 224 * 224, "cuda": 32 * 3 * 224 * 224, "mps": 16 * 3 * 224 * 224}
_LIGHT = 8 / 5
"""How many more go together when no graph is kept of the whole network."""
_MOST_AT_ONCE = 64
_NUMBERS_ABOVE = {"cpu": 2**23, "cuda": 2**28, "mps": 2**26}
_MOST_ABOVE = 1024
"""Above a layer maps are small and weights may be large: many together read the weights once."""


_alone: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def one_at_a_time(wanted: bool = True) -> Iterator[None]:
    """Let every chunk within hold a single input: for networks in which the inputs of a batch influence each other."""
    token = _alone.set(wanted)
    try:
        yield
    finally:
        _alone.reset(token)


def alone() -> bool:
    """Whether inputs go through the network one at a time."""
    return _alone.get()


def chunk_size(sample: Tensor, *, light: bool = False) -> int:
    """How many inputs like ``sample`` (C, …) go through the network together."""
    if alone():
        return 1
    at_once = _NUMBERS_AT_ONCE.get(sample.device.type, _NUMBERS_AT_ONCE["cpu"]) * (_LIGHT if light else 1)
    return max(1, min(_MOST_AT_ONCE, int(at_once) // sample.numel()))


def chunk_of(numbers: int, device: torch.device) -> int:
    """How many go together of which each makes tensors of ``numbers`` numbers at most, on its way from a layer up."""
    return max(1, min(_MOST_ABOVE, _NUMBERS_ABOVE.get(device.type, _NUMBERS_ABOVE["cpu"]) // numbers))


def in_chunks(
    total: int,
    like: Tensor,
    step: Callable[[Tensor], None],
    *,
    size: int | None = None,
    light: bool = False,
    quiet: bool = False,
) -> None:
    """Call ``step(rows)`` with rows 0 … ``total`` - 1, a chunk at a time, halving the chunk when memory runs out.

    Args:
        like: one input (C, …), which decides how many go together.
        step: works on these consecutive rows; it must not keep anything before it has succeeded.
        size: how many go together, where that is known better than from ``like``; one where they go alone.
        light: no graph of the whole network is kept, so that more fit well.
        quiet: do not report progress.
    """
    size, done = 1 if alone() else size or chunk_size(like, light=light), 0
    size = math.ceil(total / math.ceil(total / size)) if total else 1  # even chunks: no lone straggler at the end
    while done < total:
        rows = torch.arange(done, min(done + size, total), device="cpu")
        try:
            step(rows)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if len(rows) == 1 or not is_out_of_memory(error):
                raise
            size = max(1, len(rows) // 2)
            if like.device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        done += len(rows)
        if not quiet:
            progress(done, total)


def of_chunk(tensor: Tensor, rows: Tensor) -> Tensor:
    """The rows of a chunk as a view: chunks are consecutive, and indexing would copy."""
    return tensor[int(rows[0]) : int(rows[-1]) + 1]


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, on any device, perhaps beneath another error."""
    while error is not None:
        said = str(error)
        if isinstance(error, torch.OutOfMemoryError) or "out of memory" in said or "can't allocate memory" in said:
            return True
        error = error.__cause__
    return False
