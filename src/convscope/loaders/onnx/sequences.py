"""Sequences and optional values, which exist only while a network is built: their elements are values of their own."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from convscope.errors import LoadError
from convscope.loaders.onnx.expansion import MAX_PASSES, constant, decision, element, expansion, extent, joined
from convscope.loaders.onnx.graph import Node
from convscope.loaders.onnx.operators.numbers import integers
from convscope.loaders.onnx.operators.translation import UnsupportedOperator
from convscope.loaders.onnx.values import Dependence, SequenceValue, Value

if TYPE_CHECKING:
    from convscope.loaders.onnx.building import NetworkBuilder

_ABSENT = "optional value that is absent"


def _elements(scope: Any, node: Node) -> list[Value]:
    """The elements of the sequence that a node reads first."""
    value = scope[node.inputs[0]]
    if not isinstance(value, SequenceValue):
        raise LoadError(f"node {node.name!r} ({node.kind}) needs a sequence, and {node.inputs[0]!r} is none")
    return list(value.example)


def _position(builder: "NetworkBuilder", node: Node, scope: Any, place: int, prefix: str) -> int | None:
    """The position that a node reads as an input; None where it is left out."""
    if len(node.inputs) <= place or not node.inputs[place]:
        return None
    return int(decision(builder, node, scope[node.inputs[place]], prefix))


def _checked(node: Node, position: int, length: int) -> int:
    """A position from the front, which lies within a sequence."""
    if not -length <= position < length:
        raise LoadError(f"node {node.name!r} ({node.kind}) needs element {position} of a sequence of {length}")
    return position % length


@expansion("SequenceConstruct")
def construct(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``SequenceConstruct``: a sequence of the inputs."""
    scope[node.outputs[0]] = SequenceValue.of(node.outputs[0], [scope[name] for name in node.inputs])


@expansion("SequenceEmpty")
def empty(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``SequenceEmpty``: a sequence without elements."""
    scope[node.outputs[0]] = SequenceValue.of(node.outputs[0], [])


@expansion("SequenceLength")
def length(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``SequenceLength``: the number of elements."""
    scope[node.outputs[0]] = constant(node.outputs[0], len(_elements(scope, node)))


@expansion("SequenceAt")
def at(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``SequenceAt``: one element."""
    elements, position = _elements(scope, node), _position(builder, node, scope, 1, prefix)
    scope[node.outputs[0]] = elements[_checked(node, position or 0, len(elements))]


@expansion("SequenceInsert")
def insert(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``SequenceInsert``: the sequence with one more element, at its end by default."""
    elements, position = _elements(scope, node), _position(builder, node, scope, 2, prefix)
    place = len(elements) if position in (None, len(elements)) else _checked(node, int(position or 0), len(elements))
    scope[node.outputs[0]] = SequenceValue.of(
        node.outputs[0], [*elements[:place], scope[node.inputs[1]], *elements[place:]]
    )


@expansion("SequenceErase")
def erase(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``SequenceErase``: the sequence without one element, the last by default."""
    elements, position = _elements(scope, node), _position(builder, node, scope, 1, prefix)
    del elements[_checked(node, -1 if position is None else position, len(elements))]
    scope[node.outputs[0]] = SequenceValue.of(node.outputs[0], elements)


@expansion("ConcatFromSequence")
def concatenate(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``ConcatFromSequence``: all elements along an axis, or along a new one."""
    elements = _elements(scope, node)
    if not elements:
        raise UnsupportedOperator("ConcatFromSequence of no elements")
    axis, stack = int(node.attributes.get("axis", 0)), bool(node.attributes.get("new_axis", 0))
    scope[node.outputs[0]] = joined(builder, node.name, elements, axis, prefix, stack=stack)


@expansion("SplitToSequence")
def split(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``SplitToSequence``: parts of a tensor along an axis, of one size or of a size each."""
    value = scope[node.inputs[0]]
    axis = int(node.attributes.get("axis", 0)) % max(value.example.ndim, 1)
    total = extent(builder, node, value, axis, prefix)
    sizes = _part_sizes(node, scope, total)
    if len(sizes) > MAX_PASSES:
        raise UnsupportedOperator(f"SplitToSequence into {len(sizes):,} parts")
    if len(node.inputs) < 2 and not node.attributes.get("keepdims", 1):
        inside = f"{prefix}{node.name}/"
        parts = [element(builder, f"part {i}", value, i, axis, inside) for i in range(total)]
    else:
        parts, names = [], tuple(f"{node.name}/part {i}" for i in range(len(sizes)))
        inner = {"whole": value, "sizes": constant("sizes", sizes)}
        splitting = Node("Split", "", node.name, ("whole", "sizes"), names, {"axis": axis}, None)
        builder.run_nodes([splitting], names, inner, prefix)
        parts = [inner[name] for name in names]
    scope[node.outputs[0]] = SequenceValue.of(node.outputs[0], parts)


def _part_sizes(node: Node, scope: Any, total: int) -> list[int]:
    """The size of each part of an axis."""
    if len(node.inputs) < 2 or not node.inputs[1]:
        return [1] * total
    sizes = scope[node.inputs[1]].constant
    if sizes is None:
        raise UnsupportedOperator("SplitToSequence into parts whose sizes are computed")
    if sizes.ndim:
        return integers(sizes)
    size = max(int(sizes), 1)
    return [size] * (total // size) + [total % size] * (total % size > 0)


@expansion("Optional")
def optional(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``Optional``: the input itself, or nothing."""
    given = bool(node.inputs) and bool(node.inputs[0])
    scope[node.outputs[0]] = scope[node.inputs[0]] if given else Value(_ABSENT, None, Dependence.NOTHING)


@expansion("OptionalHasElement")
def has_element(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``OptionalHasElement``: whether there is a value."""
    given = bool(node.inputs) and bool(node.inputs[0]) and scope[node.inputs[0]].example is not None
    scope[node.outputs[0]] = constant(node.outputs[0], given)


@expansion("OptionalGetElement")
def get_element(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``OptionalGetElement``: the value."""
    value = scope[node.inputs[0]]
    if not isinstance(value.example, (Tensor, tuple)):
        raise LoadError(f"node {node.name!r} reads {node.inputs[0]!r}, an {_ABSENT}")
    scope[node.outputs[0]] = value
