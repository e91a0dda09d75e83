"""Nodes that are replaced by others while a network is built: how they are declared, and what they have in common."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from convscope.errors import InputError
from convscope.loaders.onnx.graph import Node
from convscope.loaders.onnx.operators.translation import UnsupportedOperator
from convscope.loaders.onnx.values import Dependence, Value

if TYPE_CHECKING:
    from convscope.loaders.onnx.building import NetworkBuilder

MAX_PASSES = 1000
"""The most passes of a loop."""

Expansion = Callable[["NetworkBuilder", Node, Any, str], None]
Function = TypeVar("Function", bound=Expansion)

EXPANSIONS: dict[str, Expansion] = {}
"""By the name of an operator, what adds the values of its outputs to a scope."""


def expansion(name: str) -> Callable[[Function], Function]:
    """Declare what replaces the nodes of an operator."""

    def declare(function: Function) -> Function:
        EXPANSIONS[name] = function
        return function

    return declare


class SameDecision(nn.Module):
    """Checks that a branch or a loop is decided as for the example with which the network was built.

    Attributes:
        node: the name of the node that decides.
        decision: the condition, or the number of passes.
    """

    def __init__(self, node: str, decision: float) -> None:
        super().__init__()
        self.node, self.decision = node, decision

    def forward(self, value: Tensor) -> Tensor:
        """The value itself.

        Raises:
            InputError: it differs for an input of this shape.
        """
        if value.item() != self.decision:
            raise InputError(
                f"node {self.node!r} computes something else for inputs of this shape than for the one with which the "
                "network was opened: open it with ?shape= of these inputs"
            )
        return value


def decision(builder: "NetworkBuilder", node: Node, value: Value, prefix: str) -> float:
    """What a value decides, which must be the same for all inputs of one shape."""
    if value.dependence is Dependence.INPUT or not isinstance(value.example, Tensor) or value.example.numel() != 1:
        raise UnsupportedOperator(f"{node.kind} decided by the values of the input")
    decided = value.example.item()
    if value.dependence is Dependence.SHAPE:
        builder.add_guard(value, f"{prefix}{node.name}/decision", SameDecision(node.name, decided))
    return decided


def constant(name: str, value: Any) -> Value:
    """A number, a truth value or a list of numbers, as a value."""
    return Value(name, torch.tensor(value, device="cpu"), Dependence.NOTHING)


def computed(builder: "NetworkBuilder", node: Node, inputs: Sequence[Value], prefix: str) -> list[Value]:
    """The outputs of a node whose inputs are these values; their names in the node are ignored."""
    scope = {f"input {i}": value for i, value in enumerate(inputs)}
    alone = Node(node.kind, "", node.name, tuple(scope), node.outputs, node.attributes, None)
    builder.run_nodes([alone], node.outputs, scope, prefix)
    return [scope[name] for name in node.outputs]


def extent(builder: "NetworkBuilder", node: Node, value: Value, axis: int, prefix: str) -> int:
    """The extent of an axis, on which the number of nodes depends and which must therefore stay as it is."""
    name = f"{node.name}/shape"
    (shape,) = computed(builder, Node("Shape", "", name, (), ("shape",), {}, None), [value], prefix)
    gather = Node("Gather", "", f"{name}/axis", (), ("extent",), {"axis": 0}, None)
    (number,) = computed(builder, gather, [shape, constant("axis", axis)], prefix)
    return int(decision(builder, node, number, prefix))


def element(builder: "NetworkBuilder", name: str, value: Value, index: int, axis: int, prefix: str) -> Value:
    """The slice of an axis at a position, without that axis."""
    gather = Node("Gather", "", name, (), ("element",), {"axis": axis}, None)
    return computed(builder, gather, [value, constant(f"{name}/index", index)], prefix)[0]


def joined(
    builder: "NetworkBuilder", name: str, values: Sequence[Value], axis: int, prefix: str, *, stack: bool
) -> Value:
    """Values along an axis, which is a new one with ``stack``."""
    parts = list(values)
    if stack:
        for i, value in enumerate(values):
            row = Node("Unsqueeze", "", f"{name}/row {i}", (), ("row",), {"axes": [axis]}, None)
            parts[i] = computed(builder, row, [value], prefix)[0]
    concat = Node("Concat", "", name, (), ("joined",), {"axis": axis}, None)
    return computed(builder, concat, parts, prefix)[0]
