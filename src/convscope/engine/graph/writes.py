"""What a tensor depends on after parts of its memory were written to: the last write to each number counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convscope.engine.graph.dependence import NOTHING, Dependence, compact, mixed_whole, steps_in_order
from convscope.engine.graph.interval_map import Line

_MOST_NUMBERS = 2**24
"""Numbers of memory up to which every write is followed; beyond, the tensor is taken to see all that was written."""


@dataclass(frozen=True)
class Part:
    """Which numbers of a piece of memory a tensor shows."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    memory: int

    def of(self, memory: Tensor) -> Tensor:
        """The part of a flat tensor that stands for the memory."""
        return memory.as_strided(self.shape, self.strides, self.offset)


def part_of(tensor: Tensor) -> Part:
    """The part of its memory that a tensor shows."""
    count = tensor.untyped_storage().nbytes() // tensor.element_size()
    return Part(tuple(tensor.shape), tuple(tensor.stride()), int(tensor.storage_offset()), count)


def written_over(tensor: Part, writes: Sequence[tuple[Part, Dependence]]) -> Dependence:
    """One axis of a tensor after writes, the first one first."""
    memory = max(part.memory for part, _ in writes)
    axes = [axis for _, axis in writes]
    if memory > _MOST_NUMBERS or tensor.memory != memory:
        return mixed_whole(axes, len(tensor.shape))
    low, high, place = (
        torch.full((memory,), value, dtype=torch.float64, device="cpu") for value in (NOTHING, -NOTHING, -1.0)
    )
    order = steps_in_order(axes)
    for number, (part, axis) in enumerate(writes):
        if order is not None:
            axis = replace(axis, place=torch.full_like(axis.place, order[number]))
        for kept, end in ((low, axis.low), (high, axis.high), (place, axis.place)):
            part.of(kept).copy_(end.expand(part.shape))
    ends = [compact(tensor.of(kept).contiguous()) for kept in (low, high, place)]
    whole, resampled = any(axis.whole for axis in axes), any(axis.resampled for axis in axes)
    return Dependence(ends[0], ends[1], ends[2], _common_line(axes), whole, resampled=resampled)


def _common_line(axes: Sequence[Dependence]) -> Line | None:
    """The line of all parts, where it is the same for all."""
    lines = [axis.line for axis in axes]
    return lines[0] if all(line == lines[0] for line in lines) else None
