"""What a network is built of, as plain data: its operations with their edges, grouped by module."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value

if TYPE_CHECKING:
    from convscope.values.graph_view import Folded

INPUT = -1
"""What stands for the network's input among the parents of an operation."""

USUAL_DEPTH = 3
"""How many levels of modules the table shows where nobody says."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Which positions of the input, along one of its axes, the positions of an output depend on.

    Position i of the output depends on positions first[i] … last[i] of the input, before they are cut off at its
    borders; first > last is nothing. After len(first) positions the pattern repeats, ``shift`` further on.

    Attributes:
        axis: along which of its own axes a position of the output moves this way.
        size: the input's size for which alone this holds; None for any.
    """

    axis: int
    first: tuple[int, ...]
    last: tuple[int, ...]
    shift: int
    size: int | None = None

    @property
    def moves(self) -> bool:
        """Whether it is not the same at every position."""
        return len(self.first) > 1 or self.shift != 0

    def at(self, position: int, size: int) -> tuple[int, int]:
        """The first and last position of an axis of that size; (0, -1) for none."""
        rounds, place = divmod(position, len(self.first))
        first = max(0, self.first[place] + rounds * self.shift)
        last = min(size - 1, self.last[place] + rounds * self.shift)
        return (first, last) if first <= last else (0, -1)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is said of an operation and of a module alike.

    Attributes:
        shape: of the output, batch axis included.
        parameters: how many there are; a shared parameter counts once within a part.
        flops: of convolutions and matrix products, a multiply-add as two; ``norm_flops`` of norms, counted apart.
        bytes: memory taken by new results; views and in-place results take none.
        field: the theoretical receptive field along each axis of the input; None sees the whole input, 0 nothing.
        local: the same by way of windows alone, past means over space and attention; None where no such way leads.
        stride: by how many input positions the field moves from one position to the next.
        centre: the middle of the first position's field, in input positions (0 is the first one's centre). Behind an
            enlargement the field moves by turns, and ``stride`` is the mean.
        spans: what each position depends on, exactly or a little more, along each axis of the input.
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
        """What a position of the output can see of an input of that extent: first and last place along each axis.

        A position has as many numbers as the output has axes of positions; an axis along which nothing is known (of an
        input of that size) has all of it, and what sees nothing has (0, -1).
        """
        told = all(span.axis < len(position) for span in self.spans if span.moves)
        found = []
        for axis, size in enumerate(extent):
            span = self.spans[axis] if axis < len(self.spans) else None
            if span is None or span.size not in (None, size) or (span.moves and not told):
                found.append((0, size - 1))
            else:
                found.append(span.at(position[span.axis] if span.moves else 0, size))
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Operation(Part):
    """One operation that ran.

    Attributes:
        kind: what people call it; ``name`` what torch does.
        module: the address of the module in whose forward it ran; ``calls`` which call of each module on the way.
        parents: the operations whose results it read; -1 is the input.
        moves: it only shows or copies numbers (a view, a permutation); drawings leave it out.
    """

    kind: str
    name: str
    module: str
    calls: tuple[int, ...]
    parents: tuple[int, ...]
    moves: bool
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Module(Part):
    """One module with all that is within it.

    Attributes:
        address: as PyTorch writes it; the network itself is ``""``.
        kind: its class; ``detail`` what tells it from others of its class (kernel, stride, groups).
        calls: how often it ran; 0 is never. ``first``: how many operations had run when it first began.
        leaf: it has no modules of its own.
    """

    address: str
    kind: str
    detail: str
    calls: int
    first: int
    leaf: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Structure(Value):
    """What a network is built of, from the operations that really ran on an example input.

    Attributes:
        name: the network's.
        input: the shape of the example, batch axis included.
        operations: in the order in which they ran; ``modules``: in the order in which they are defined.
        parameters: of the whole network, shared ones counted once.
        flops: of convolutions, linear layers and attention, a multiply-add as two, as torch's own counter counts them.
        norm_flops: of norms, which that counter leaves out.
        activation_bytes: memory of all results, as training keeps them; ``parameter_bytes`` that of the parameters.
        depth: how many levels of modules to show; 0 leaves it to the surface.
    """

    arrays: ClassVar[tuple[str, ...]] = ()

    name: str
    input: tuple[int, ...]
    modules: tuple[Module, ...]
    operations: tuple[Operation, ...]
    parameters: int
    flops: int
    norm_flops: int
    parameter_bytes: int
    activation_bytes: int
    depth: int = 0

    def module(self, address: str) -> Module:
        """The module at an address."""
        return self._by_address[address]

    @cached_property
    def _by_address(self) -> Mapping[str, Module]:
        return {one.address: one for one in self.modules}

    def folded(
        self, depth: int, *, chains: bool = False, opened: Collection[str] = (), closed: Collection[str] = ()
    ) -> Folded:
        """The graph with everything below so many levels of modules folded into one node each.

        Args:
            chains: also join a norm or an activation to the one operation it follows.
            opened: addresses of modules that are not folded although they lie deeper.
            closed: addresses of modules that are folded although they do not.
        """
        from convscope.values.graph_view import Folding, chained

        found = Folding(self, depth, frozenset(opened), frozenset(closed)).done()
        return chained(found) if chains else found

    def lines(self) -> list[str]:
        """The table of layers, as a tree, with the totals below."""
        from convscope.values.structure_table import table

        return table(self, self.depth or USUAL_DEPTH)

    def __repr__(self) -> str:
        from convscope.values.formatting import many

        return (
            f"Structure({self.name}, {len(self.operations)} operations, {many(self.parameters)} parameters, "
            f"{many(self.flops)} FLOPs)"
        )

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        operations = tuple(Operation(**_tuples(one)) for one in stored["operations"])
        modules = tuple(Module(**_tuples(one)) for one in stored["modules"])
        return {**stored, "operations": operations, "modules": modules, "input": tuple(stored["input"])}


def _tuples(stored: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    spans = tuple(Span(**{**one, "first": tuple(one["first"]), "last": tuple(one["last"])}) for one in told["spans"])
    return {**told, "spans": spans}
