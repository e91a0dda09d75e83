"""Branches and loops, replaced by the nodes that run: what decides must not depend on the values of the input."""

from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

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


def _decision(builder: "NetworkBuilder", node: Node, value: Value, prefix: str) -> float:
    """What a value decides, which must be the same for all inputs of one shape."""
    if value.dependence is Dependence.INPUT or not isinstance(value.example, Tensor) or value.example.numel() != 1:
        raise UnsupportedOperator(f"{node.kind} decided by the values of the input")
    decision = value.example.item()
    if value.dependence is Dependence.SHAPE:
        builder.add_guard(value, f"{prefix}{node.name}/decision", SameDecision(node.name, decision))
    return decision


def run_branch(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``If``: the nodes of the branch that is taken."""
    condition = _decision(builder, node, scope[node.inputs[0]], prefix)
    graph = node.attributes.get("then_branch" if condition else "else_branch")
    if graph is None:
        raise UnsupportedOperator("If without both branches")
    results = builder.run_graph(graph, ChainMap({}, scope), prefix)
    scope.update(zip(node.outputs, results, strict=False))


def run_loop(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``Loop``: the nodes of its body, once for each pass."""
    names = [*node.inputs, "", ""]
    passes = int(_decision(builder, node, scope[names[0]], prefix)) if names[0] else MAX_PASSES + 1
    running = bool(_decision(builder, node, scope[names[1]], prefix)) if names[1] else True
    carried = [scope[name] for name in node.inputs[2:]]
    body = node.attributes["body"]
    collected: list[list[Value]] = [[] for _ in range(len(body.output) - 1 - len(carried))]
    number = 0
    while running and number < passes:
        if number >= MAX_PASSES:
            raise UnsupportedOperator(f"Loop of more than {MAX_PASSES} passes")
        started = [_constant(f"{node.name}/{number}", number), _constant(f"{node.name}/condition", True), *carried]
        inner = ChainMap({info.name: value for info, value in zip(body.input, started, strict=True)}, scope)
        condition, *results = builder.run_graph(body, inner, f"{prefix}{node.name}/{number}/")
        running = bool(_decision(builder, node, condition, f"{prefix}{node.name}/{number}/"))
        carried = results[: len(carried)]
        for values, value in zip(collected, results[len(carried) :], strict=True):
            values.append(value)
        number += 1
    stacked = [_stacked(builder, node, values, prefix, i) for i, values in enumerate(collected) if values]
    if len(stacked) < len(collected):
        raise UnsupportedOperator("Loop of no passes that collects outputs")
    scope.update(zip(node.outputs, [*carried, *stacked], strict=False))


def _constant(name: str, value: bool | int) -> Value:
    return Value(name, torch.tensor(value, device="cpu"), Dependence.NOTHING)


def _stacked(builder: "NetworkBuilder", node: Node, values: list[Value], prefix: str, index: int) -> Value:
    """The outputs of all passes along a new first axis."""
    scope = {f"pass {i}": value for i, value in enumerate(values)}
    rows = [f"row {i}" for i in range(len(values))]
    nodes = [
        Node("Unsqueeze", "", f"{node.name}/output {index}/{row}", (name,), (row,), {"axes": [0]}, None)
        for name, row in zip(scope, rows, strict=True)
    ]
    nodes.append(Node("Concat", "", f"{node.name}/output {index}", tuple(rows), ("stacked",), {"axis": 0}, None))
    builder.run_nodes(nodes, ["stacked"], scope, prefix)
    return scope["stacked"]


EXPANSIONS: Mapping[str, Callable[["NetworkBuilder", Node, Any, str], None]] = {"If": run_branch, "Loop": run_loop}
