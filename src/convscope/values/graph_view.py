"""A network's graph with what lies deep inside folded into one node for each module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from convscope.values.structure import INPUT, Operation, Structure


@dataclass(frozen=True)
class Node:
    """One node of a folded graph: a module, an operation outside of any leaf module, or the input.

    Attributes:
        module: the module's address, or for an operation that of the module in whose forward it runs.
        name: what stands on it: the address, or the operation's kind.
        kinds: what it is made of, in order, e.g. ``Conv2d 3×3``, ``BatchNorm2d``, ``relu``.
        light: it has no products: a norm, an activation, a sum.
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
class Folded:
    """A folded graph: nodes, and edges from node to node by their places among them; node 0 is the input."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]


@dataclass
class Folding:
    """Folds the operations of a structure into nodes.

    Attributes:
        depth: so many levels of modules are open; 0 is all of them.
        opened: modules that are open although they lie deeper; ``closed`` those that are not although they do not.
    """

    structure: Structure
    depth: int
    opened: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()
    nodes: dict[tuple[Any, ...], list[int]] = field(default_factory=dict)

    def done(self) -> Folded:
        """The folded graph."""
        owner: dict[int, int] = {INPUT: 0}
        numbers: dict[tuple[Any, ...], int] = {}
        edges: dict[tuple[int, int], None] = {}
        for place, one in enumerate(self.structure.operations):
            if one.moves or not one.parents:
                continue
            key = self._key(place, one)
            owner[place] = numbers.setdefault(key, len(numbers) + 1)
            self.nodes.setdefault(key, []).append(place)
            for source in self._sources(one):
                if owner[source] != owner[place]:
                    edges[owner[source], owner[place]] = None
        start = Node("", "input", (), self.structure.input)
        return Folded((start, *(self._node(key, ops) for key, ops in self.nodes.items())), tuple(edges))

    def _sources(self, one: Operation) -> list[int]:
        """The operations that computed what this one reads, past those that only move numbers."""
        found, todo = [], list(one.parents)
        while todo:
            source = todo.pop()
            past = source != INPUT and self.structure.operations[source].moves
            todo += self.structure.operations[source].parents if past else ()
            found += [] if past else [source]
        return [s for s in sorted(set(found)) if s == INPUT or self.structure.operations[s].parents]

    def _key(self, place: int, one: Operation) -> tuple[Any, ...]:
        """Which node an operation belongs to."""
        path = one.module.split(".") if one.module else []
        for level in range(1, len(path) + 1):
            address = ".".join(path[:level])
            if self._folds(address, level):
                return address, one.calls[level - 1]
        if one.module and self.structure.module(one.module).leaf:
            return one.module, one.calls[-1]
        return one.module, place, one.kind

    def _folds(self, address: str, level: int) -> bool:
        """Whether a module at that level is one node, with all that is within it."""
        return address in self.closed or (level >= self.depth > 0 and address not in self.opened)

    def _node(self, key: tuple[Any, ...], places: Sequence[int]) -> Node:
        parts = [self.structure.operations[place] for place in places]
        alone = len(key) == 3
        module = None if alone else self.structure.module(key[0])
        kind = key[2] if alone else f"{module.kind} {module.detail}".strip() if module else ""
        calls = module.calls if module else 1
        return Node(
            module=key[0],
            name=key[2] if alone else f"{key[0]} ({key[1]} of {calls})" if calls > 1 else key[0],
            kinds=(kind if len(parts) == 1 else f"{kind}, {len(parts)} inside",),
            shape=module.shape if module and module.calls == 1 else parts[-1].shape,
            parameters=sum(part.parameters for part in parts),
            flops=sum(part.flops for part in parts),
            field=parts[-1].field,
            operations=tuple(places),
            light=len(parts) == 1 and not parts[0].flops and len(parts[0].parents) == 1,
        )


def chained(graph: Folded) -> Folded:
    """A folded graph in which a norm or an activation is part of the node that it alone follows."""
    into: dict[int, set[int]] = {}
    out: dict[int, set[int]] = {}
    for source, target in graph.edges:
        into.setdefault(target, set()).add(source)
        out.setdefault(source, set()).add(target)
    head = list(range(len(graph.nodes)))
    for place, node in enumerate(graph.nodes):
        before = into.get(place, set())
        (only,) = before if len(before) == 1 else (0,)
        if node.light and only and len(out[only]) == 1 and graph.nodes[only].shape == node.shape:
            head[place] = head[only]
    kept = [place for place in range(len(graph.nodes)) if head[place] == place]
    number = {place: n for n, place in enumerate(kept)}
    nodes = [_joined([n for p, n in enumerate(graph.nodes) if head[p] == place]) for place in kept]
    edges = {(number[head[a]], number[head[b]]): None for a, b in graph.edges if head[a] != head[b]}
    return Folded(tuple(nodes), tuple(edges))


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
        operations=tuple(place for node in chain for place in node.operations),
        light=first.light,
    )
