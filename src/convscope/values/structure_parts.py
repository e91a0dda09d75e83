"""The parts of a network's structure: operations and modules with their shapes, costs and receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

INPUT = -1
"""The parent index that stands for the input of the network."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """The range of positions along one axis of the input on which each position of an output depends.

    Output position i depends on input positions first[i] … last[i], before clipping to the input; first > last is an
    empty range. The pattern repeats after len(first) output positions, moved by ``shift`` input positions.

    Attributes:
        axis: the axis of the output's positions that corresponds to this axis of the input.
        size: the only input size for which this holds; None for any size.
    """

    axis: int
    first: tuple[int, ...]
    last: tuple[int, ...]
    shift: int
    size: int | None = None

    @property
    def moves(self) -> bool:
        """Whether the range differs between positions."""
        return len(self.first) > 1 or self.shift != 0

    def at(self, position: int, size: int) -> tuple[int, int]:
        """The first and last input position for an output position, in an axis of length ``size``; (0, -1) if empty."""
        periods, offset = divmod(position, len(self.first))
        first = max(0, self.first[offset] + periods * self.shift)
        last = min(size - 1, self.last[offset] + periods * self.shift)
        return (first, last) if first <= last else (0, -1)


@dataclass(frozen=True, kw_only=True)
class Component:
    """The measurements that operations and modules share.

    Attributes:
        shape: the output shape with the batch axis.
        parameters: the number of parameters; a shared parameter counts once within a component.
        flops: of convolutions and matrix products, with two per multiply-add; ``norm_flops``: those of normalizations.
        bytes: memory allocated for results; views and in-place results count zero.
        field: the theoretical receptive field along each axis of the input; None is the whole input, 0 is none of it.
        local: the receptive field through windows only, without global pooling and attention; None if there is no such
            path.
        stride: the distance in input positions between the receptive fields of neighbouring positions. After
            upsampling this distance varies, and ``stride`` is its mean.
        centre: the center of the first position's receptive field, in input positions (0 is the first position).
        spans: the input range of each position along each axis of the input, exact or slightly too large.
    """

    shape: tuple[int, ...]
    parameters: int
    flops: int
    norm_flops: int
    bytes: int
    field: tuple[int | None, ...] = ()
    local: tuple[int | None, ...] = ()
    stride: tuple[float | None, ...] = ()
    centre: tuple[float | None, ...] = ()
    spans: tuple[Span, ...] = ()

    def box(self, position: Sequence[int], extent: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """The receptive field of an output position as the first and last input position along each axis.

        Args:
            position: an index along each axis of the output's positions.
            extent: the size of the input along each of its axes.

        Returns:
            (first, last) per axis: the whole axis if nothing is known for this size, (0, -1) for an empty field.
        """
        located = all(span.axis < len(position) for span in self.spans if span.moves)
        box = []
        for axis, size in enumerate(extent):
            span = self.spans[axis] if axis < len(self.spans) else None
            if span is None or span.size not in (None, size) or (span.moves and not located):
                box.append((0, size - 1))
            else:
                box.append(span.at(position[span.axis] if span.moves else 0, size))
        return tuple(box)


@dataclass(frozen=True, kw_only=True)
class OperationSummary(Component):
    """One executed operation.

    Attributes:
        kind: its usual name; ``name`` is its name in PyTorch.
        module: the address of the module in whose forward it ran; ``calls`` is the call number of each module on the
            path to it.
        parents: the indices of the operations whose results it reads; -1 is the input.
        moves: whether it only views or copies data (a view, a permutation); drawings omit it.
    """

    kind: str
    name: str
    module: str
    calls: tuple[int, ...]
    parents: tuple[int, ...]
    moves: bool
    dtype: str


@dataclass(frozen=True, kw_only=True)
class ModuleSummary(Component):
    """One module with everything it contains.

    Attributes:
        address: the qualified name in PyTorch; ``""`` for the network itself.
        kind: the class name; ``detail`` are its distinguishing settings (kernel, stride, groups).
        calls: the number of calls; 0 if it never ran. ``first`` is the number of operations before its first call.
        leaf: whether it has no child modules.
    """

    address: str
    kind: str
    detail: str
    calls: int
    first: int
    leaf: bool
