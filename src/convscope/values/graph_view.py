"""The graph of a network in which modules below a given depth are folded into one node each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from convscope.values.components import INPUT, ModuleSummary, OperationSummary
from convscope.values.facts import Fact


@dataclass(frozen=True)
class Node:
    """One node of a folded graph: a module, an operation outside of any leaf module, or the input.

    Attributes:
        module: the address of the module, or for an operation that of the module in whose forward it runs.
        name: the label: the address of the module, or the kind of the operation.
        kinds: its operations in order, for example ``Conv2d 3×3``, ``BatchNorm2d``, ``relu``.
        light: whether it is a single operation without matrix products: a normalization, an activation.
    """

    module: str
    name: str
    kinds: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: int = 0
    flops: int = 0
    field: tuple[int | None, ...] = ()
    operations: tuple[int, ...] = ()
    light: bool = False


@dataclass(frozen=True)
class FoldedGraph:
    """Nodes, and edges as pairs of indices into them; node 0 is the input."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]


def fold(
    operations: Sequence[OperationSummary],
    modules: Mapping[str, ModuleSummary],
    input_shape: tuple[int, ...],
    depth: int,
    opened: frozenset[str] = frozenset(),
    closed: frozenset[str] = frozenset(),
) -> FoldedGraph:
    """Fold operations into nodes, one per module at level ``depth``.

    Args:
        operations: in execution order.
        modules: address → module.
        input_shape: the shape of the input with the batch axis.
        depth: the number of module levels to expand; 0 for all.
        opened: addresses of deeper modules that are expanded nevertheless.
        closed: addresses of higher modules that are folded nevertheless.
    """
    return _Folder(operations, modules, input_shape, depth, opened, closed).fold()


@dataclass
class _Folder:
    operations: Sequence[OperationSummary]
    modules: Mapping[str, ModuleSummary]
    input_shape: tuple[int, ...]
    depth: int
    opened: frozenset[str]
    closed: frozenset[str]
    nodes: dict[tuple[Any, ...], list[int]] = field(default_factory=dict)
    """The key of a node → the indices of its operations."""

    def fold(self) -> FoldedGraph:
        node_of: dict[int, int] = {INPUT: 0}
        node_indices: dict[tuple[Any, ...], int] = {}
        edges: dict[tuple[int, int], None] = {}
        for index, operation in enumerate(self.operations):
            if operation.moves or not operation.parents:
                continue
            key = self._node_key(index, operation)
            node_of[index] = node_indices.setdefault(key, len(node_indices) + 1)
            self.nodes.setdefault(key, []).append(index)
            for source in self._sources(operation):
                if node_of[source] != node_of[index]:
                    edges[node_of[source], node_of[index]] = None
        start = Node("", "input", (), self.input_shape)
        return FoldedGraph((start, *(self._node(key, ops) for key, ops in self.nodes.items())), tuple(edges))

    def _sources(self, operation: OperationSummary) -> list[int]:
        """The operations that computed the inputs of this one, skipping those that only move data."""
        sources, pending = [], list(operation.parents)
        while pending:
            source = pending.pop()
            skipped = source != INPUT and self.operations[source].moves
            pending += self.operations[source].parents if skipped else ()
            sources += [] if skipped else [source]
        return [s for s in sorted(set(sources)) if s == INPUT or self.operations[s].parents]

    def _node_key(self, index: int, operation: OperationSummary) -> tuple[Any, ...]:
        """The key of the node that contains an operation."""
        path = operation.module.split(".") if operation.module else []
        for level in range(1, len(path) + 1):
            address = ".".join(path[:level])
            if self._is_folded(address, level):
                return address, operation.calls[level - 1]
        if operation.module and self.modules[operation.module].leaf:
            return operation.module, operation.calls[-1]
        return operation.module, index, operation.kind

    def _is_folded(self, address: str, level: int) -> bool:
        """Whether a module at this level is a single node."""
        return address in self.closed or (level >= self.depth > 0 and address not in self.opened)

    def _node(self, key: tuple[Any, ...], indices: Sequence[int]) -> Node:
        parts = [self.operations[index] for index in indices]
        single = len(key) == 3
        module = None if single else self.modules[key[0]]
        kind = key[2] if single else f"{module.kind} {module.detail}".strip() if module else ""
        calls = module.calls if module else 1
        return Node(
            module=key[0],
            name=key[2] if single else _call_name(key[0], key[1], calls),
            kinds=(kind if len(parts) == 1 else Fact("{kind}, {count} inside", kind=kind, count=len(parts)),),
            shape=module.shape if module and module.calls == 1 else parts[-1].shape,
            parameters=sum(part.parameters for part in parts),
            flops=sum(part.flops for part in parts),
            field=parts[-1].field,
            operations=tuple(indices),
            light=len(parts) == 1 and not parts[0].flops and len(parts[0].parents) == 1,
        )


def _call_name(address: str, call: int, calls: int) -> str:
    """The address of a module, and which of its calls this is if there are several."""
    return Fact("{layer} ({call} of {calls})", layer=address, call=call, calls=calls) if calls > 1 else address


def join_chains(graph: FoldedGraph) -> FoldedGraph:
    """The graph with each normalization or activation joined to its predecessor, if it is the only successor of it."""
    sources: dict[int, set[int]] = {}
    targets: dict[int, set[int]] = {}
    for source, target in graph.edges:
        sources.setdefault(target, set()).add(source)
        targets.setdefault(source, set()).add(target)
    head = list(range(len(graph.nodes)))
    for index, node in enumerate(graph.nodes):
        predecessors = sources.get(index, set())
        (only,) = predecessors if len(predecessors) == 1 else (0,)
        if node.light and only and len(targets[only]) == 1 and graph.nodes[only].shape == node.shape:
            head[index] = head[only]
    heads = [index for index in range(len(graph.nodes)) if head[index] == index]
    new_index = {old: new for new, old in enumerate(heads)}
    nodes = [_joined([node for i, node in enumerate(graph.nodes) if head[i] == first]) for first in heads]
    edges = {(new_index[head[a]], new_index[head[b]]): None for a, b in graph.edges if head[a] != head[b]}
    return FoldedGraph(tuple(nodes), tuple(edges))


def _joined(chain: Sequence[Node]) -> Node:
    first, last = chain[0], chain[-1]
    return Node(
        module=first.module,
        name=first.name,
        kinds=tuple(kind for node in chain for kind in node.kinds),
        shape=last.shape,
        parameters=sum(node.parameters for node in chain),
        flops=sum(node.flops for node in chain),
        field=last.field,
        operations=tuple(index for node in chain for index in node.operations),
        light=first.light,
    )
