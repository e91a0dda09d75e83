"""The structure of a network as plain data: its operations with their edges, grouped by module."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from convscope.values.base import Value
from convscope.values.formatting import format_bytes, format_count, format_sides
from convscope.values.graph_view import FoldedGraph, fold, join_chains
from convscope.values.structure_parts import ModuleSummary, OperationSummary, Span
from convscope.values.structure_table import tabulate

DEFAULT_DEPTH = 3
"""The number of module levels in the table if ``depth`` is 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Structure(Value):
    """The structure of a network, recorded from the operations that ran on an example input.

    Attributes:
        name: the name of the network.
        input: the shape of the example input with the batch axis.
        operations: in execution order; ``modules``: in definition order.
        parameters: the number of parameters of the network; shared ones count once.
        flops: of convolutions, linear layers and attention, with two per multiply-add, as PyTorch's FLOP counter
            counts them.
        norm_flops: of normalizations, which that counter omits.
        activation_bytes: memory of all results, as kept during training; ``parameter_bytes``: that of the parameters.
        depth: the number of module levels to show; 0 for the default of each interface.
    """

    arrays: ClassVar[tuple[str, ...]] = ()

    name: str
    input: tuple[int, ...]
    modules: tuple[ModuleSummary, ...]
    operations: tuple[OperationSummary, ...]
    parameters: int
    flops: int
    norm_flops: int
    parameter_bytes: int
    activation_bytes: int
    depth: int = 0

    def module(self, address: str) -> ModuleSummary:
        """The module at ``address``."""
        return self._by_address[address]

    @cached_property
    def _by_address(self) -> Mapping[str, ModuleSummary]:
        return {module.address: module for module in self.modules}

    def folded(
        self, depth: int, *, chains: bool = False, opened: Collection[str] = (), closed: Collection[str] = ()
    ) -> FoldedGraph:
        """The graph in which each module at level ``depth`` is folded into one node.

        Args:
            depth: the number of module levels to expand; 0 for all.
            chains: also join a normalization or an activation to the only operation it follows.
            opened: addresses of deeper modules that are expanded nevertheless.
            closed: addresses of higher modules that are folded nevertheless.
        """
        graph = fold(self.operations, self._by_address, self.input, depth, frozenset(opened), frozenset(closed))
        return join_chains(graph) if chains else graph

    def lines(self) -> list[str]:
        """A table of the modules and operations as a tree, followed by the totals."""
        table = tabulate(self.name, self._by_address, self.operations, self.depth or DEFAULT_DEPTH)
        return [
            *table,
            f"parameters   {self.parameters:,} ({format_bytes(self.parameter_bytes)})",
            f"FLOPs        {self.flops:,} in products (a multiply-add counts two) + {self.norm_flops:,} in norms",
            f"activations  {format_bytes(self.activation_bytes)} for one input of {format_sides(self.input[1:])}",
        ]

    def __repr__(self) -> str:
        return (
            f"Structure({self.name}, {len(self.operations)} operations, {format_count(self.parameters)} parameters, "
            f"{format_count(self.flops)} FLOPs)"
        )

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        operations = tuple(OperationSummary(**_with_tuples(operation)) for operation in stored["operations"])
        modules = tuple(ModuleSummary(**_with_tuples(module)) for module in stored["modules"])
        return {**stored, "operations": operations, "modules": modules, "input": tuple(stored["input"])}


def _with_tuples(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a component as JSON stores them, with lists converted to tuples and spans restored."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    spans = tuple(
        Span(**{**span, "first": tuple(span["first"]), "last": tuple(span["last"])}) for span in fields["spans"]
    )
    return {**fields, "spans": spans}
