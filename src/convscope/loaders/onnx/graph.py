"""The nodes of a graph: decoded, in an order in which each reads only what others have computed before it."""

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.errors import LoadError
from convscope.loaders.onnx.tensors import read_tensor

if TYPE_CHECKING:
    import onnx

MAX_DEPTH = 12
"""How deep graphs may be nested in nodes."""


@dataclass(frozen=True)
class Node:
    """One node of a graph.

    Attributes:
        kind: the operator, such as ``Conv``.
        domain: the set of operators that it belongs to; empty for the standard's own.
        name: the node's name, or that of its first output where it has none.
        inputs, outputs: names of values; an input that is left out is "".
        attributes: by name; graphs are the file's own objects.
        stored: the node as the file holds it.
    """

    kind: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    stored: Any

    def subgraphs(self) -> Iterator[Any]:
        """The graphs that the node holds: branches, or the body of a loop."""
        return (value for value in self.attributes.values() if is_graph(value))


def is_graph(value: Any) -> bool:
    """Whether an attribute's value is a graph."""
    return type(value).__name__ == "GraphProto"


def decode_node(stored: "onnx.NodeProto", folder: Path) -> Node:
    """A node, with texts and tensors decoded."""
    attributes = {attribute.name: attribute_value(attribute, folder) for attribute in stored.attribute}
    name = stored.name or next(iter(filter(None, stored.output)), stored.op_type)
    outputs = list(stored.output)
    while outputs and not outputs[-1]:
        outputs.pop()
    domain = "" if stored.domain == "ai.onnx" else stored.domain
    return Node(stored.op_type, domain, name, tuple(stored.input), tuple(outputs), attributes, stored)


def attribute_value(stored: "onnx.AttributeProto", folder: Path) -> Any:
    """The value of an attribute; None for one of a kind that no operator here has."""
    from onnx import AttributeProto

    if stored.type == AttributeProto.TENSOR:
        return read_tensor(stored.t, folder)
    if stored.type == AttributeProto.STRING:
        return stored.s.decode("utf-8", "replace")
    if stored.type == AttributeProto.STRINGS:
        return [text.decode("utf-8", "replace") for text in stored.strings]
    field = {
        AttributeProto.FLOAT: "f", AttributeProto.INT: "i", AttributeProto.GRAPH: "g",
        AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints",
    }.get(stored.type)  # fmt: skip
    if field is None:
        return None
    value = getattr(stored, field)
    return list(value) if field.endswith("s") else value


def captured_names(graph: "onnx.GraphProto", depth: int = 0) -> set[str]:
    """The names that a graph inside a node reads from the graphs around it.

    Raises:
        LoadError: graphs are nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise LoadError(f"graphs are nested more than {MAX_DEPTH} deep")
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    read = {value.name for value in graph.output}
    for node in graph.node:
        own.update(node.output)
        read.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                read |= captured_names(attribute.g, depth + 1)
    return {name for name in read - own if name}


def ordered(nodes: Sequence[Node], available: Collection[str]) -> list[Node]:
    """The nodes in an order in which each comes after those whose outputs it reads.

    Args:
        nodes: the nodes in the order of the file, which is kept where it is possible.
        available: the names of the values that exist before the first node.

    Raises:
        LoadError: nodes read each other's outputs, two write the same value, or one reads a value that nothing writes.
    """
    writer = _writers(nodes, available)
    waiting: dict[int, int] = {}
    readers: dict[int, list[int]] = {}
    for index, node in enumerate(nodes):
        sources = {writer[name] for name in _reads(node) if name in writer}
        missing = next((name for name in _reads(node) if name not in writer and name not in available), None)
        if missing is not None:
            raise LoadError(f"node {node.name!r} reads {missing!r}, which no node, input or weight provides")
        waiting[index] = len(sources)
        for source in sources:
            readers.setdefault(source, []).append(index)
    ready = [index for index, count in waiting.items() if not count]
    result: list[Node] = []
    while ready:
        index = heapq.heappop(ready)
        result.append(nodes[index])
        for reader in readers.get(index, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(result) < len(nodes):
        stuck = next(nodes[index] for index, count in waiting.items() if count)
        raise LoadError(f"the graph has a cycle: node {stuck.name!r} needs its own output, directly or through others")
    return result


def needed(nodes: Sequence[Node], outputs: Collection[str]) -> list[Node]:
    """The nodes, in their order, on which the outputs depend."""
    names, kept = set(outputs), []
    for node in reversed(nodes):
        if not names.isdisjoint(node.outputs):
            kept.append(node)
            names.update(_reads(node))
    return kept[::-1]


def readers_of(nodes: Iterable[Node]) -> dict[str, list[Node]]:
    """By the name of a value, the nodes that read it."""
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in _reads(node):
            readers.setdefault(name, []).append(node)
    return readers


def last_reads(nodes: Sequence[Node]) -> list[set[str]]:
    """For each node the names of the values that no node after it reads."""
    later, result = set[str](), list[set[str]]()
    for node in reversed(nodes):
        result.append(set(_reads(node)) - later)
        later |= result[-1]
    return result[::-1]


def _reads(node: Node) -> Iterator[str]:
    yield from filter(None, node.inputs)
    for graph in node.subgraphs():
        yield from sorted(captured_names(graph))


def _writers(nodes: Iterable[Node], available: Collection[str]) -> dict[str, int]:
    writer: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.outputs):
            if name in writer or name in available:
                raise LoadError(f"the value {name!r} is written twice, the second time by node {node.name!r}")
            writer[name] = index
    return writer
