"""The dependence of a tensor after parts of its memory were written to: the last write to each element counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convscope.engine.graph.dependence import EMPTY, Dependence, fully_mixed, ordered_positions
from convscope.engine.graph.interval_map import FieldPattern
from convscope.engine.graph.position_tensors import compact

_MAX_ELEMENTS = 2**24
"""Up to how many elements of memory every write is followed; beyond, the tensor depends on all that was written."""


@dataclass(frozen=True)
class MemoryView:
    """Which elements of a block of memory a tensor shows.

    Attributes:
        memory: how many elements the whole block holds.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    memory: int

    def of(self, memory: Tensor) -> Tensor:
        """This view of a flat tensor that stands for the block of memory."""
        return memory.as_strided(self.shape, self.strides, self.offset)


def memory_view(tensor: Tensor) -> MemoryView:
    """The view that a tensor is of its memory."""
    count = tensor.untyped_storage().nbytes() // tensor.element_size()
    return MemoryView(tuple(tensor.shape), tuple(tensor.stride()), int(tensor.storage_offset()), count)


def dependence_after_writes(tensor: MemoryView, writes: Sequence[tuple[MemoryView, Dependence]]) -> Dependence:
    """One axis of a tensor after writes to its memory, in the order in which they happened."""
    memory = max(view.memory for view, _ in writes)
    axes = [axis for _, axis in writes]
    if memory > _MAX_ELEMENTS or tensor.memory != memory:
        return fully_mixed(axes, len(tensor.shape))
    low, high, position = (
        torch.full((memory,), value, dtype=torch.float64, device="cpu") for value in (EMPTY, -EMPTY, -1.0)
    )
    order = ordered_positions(axes)
    for number, (view, axis) in enumerate(writes):
        if order is not None:
            axis = replace(axis, position=torch.full_like(axis.position, order[number]))
        for block, written in ((low, axis.low), (high, axis.high), (position, axis.position)):
            view.of(block).copy_(written.expand(view.shape))
    parts = [compact(tensor.of(block).contiguous()) for block in (low, high, position)]
    mixes_positions, resampled = any(axis.mixes_positions for axis in axes), any(axis.resampled for axis in axes)
    return Dependence(parts[0], parts[1], parts[2], _common_pattern(axes), mixes_positions, resampled=resampled)


def _common_pattern(axes: Sequence[Dependence]) -> FieldPattern | None:
    """The pattern of all axes, where it is the same for all."""
    patterns = [axis.pattern for axis in axes]
    return patterns[0] if all(pattern == patterns[0] for pattern in patterns) else None
