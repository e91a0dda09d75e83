"""Branches and loops, replaced by the nodes that run: what decides must not depend on the values of the input."""

from collections import ChainMap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convscope.loaders.onnx.expansion import MAX_PASSES, constant, decision, element, expansion, extent, joined
from convscope.loaders.onnx.graph import Node
from convscope.loaders.onnx.operators.translation import UnsupportedOperator
from convscope.loaders.onnx.values import Value

if TYPE_CHECKING:
    from convscope.loaders.onnx.building import NetworkBuilder

_OLDEST_SCAN = 9
"""The version of the operators before which a Scan had a batch of its own."""


@expansion("If")
def run_branch(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``If``: the nodes of the branch that is taken."""
    condition = decision(builder, node, scope[node.inputs[0]], prefix)
    graph = node.attributes.get("then_branch" if condition else "else_branch")
    if graph is None:
        raise UnsupportedOperator("If without both branches")
    results = builder.run_graph(graph, ChainMap({}, scope), prefix)
    scope.update(zip(node.outputs, results, strict=False))


@expansion("Loop")
def run_loop(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``Loop``: the nodes of its body, once for each pass."""
    names = [*node.inputs, "", ""]
    passes = int(decision(builder, node, scope[names[0]], prefix)) if names[0] else MAX_PASSES + 1
    running = bool(decision(builder, node, scope[names[1]], prefix)) if names[1] else True
    carried = [scope[name] for name in node.inputs[2:]]
    body = _body(node)
    collected: list[list[Value]] = [[] for _ in range(len(body.output) - 1 - len(carried))]
    number = 0
    while running and number < passes:
        if number >= MAX_PASSES:
            raise UnsupportedOperator(f"Loop of more than {MAX_PASSES} passes")
        started = [constant(f"{node.name}/{number}", number), constant(f"{node.name}/condition", True), *carried]
        inner = ChainMap({info.name: value for info, value in zip(body.input, started, strict=True)}, scope)
        condition, *results = builder.run_graph(body, inner, f"{prefix}{node.name}/{number}/")
        running = bool(decision(builder, node, condition, f"{prefix}{node.name}/{number}/"))
        carried = results[: len(carried)]
        for values, value in zip(collected, results[len(carried) :], strict=True):
            values.append(value)
        number += 1
    stacked = _stacked(builder, node, collected, [0] * len(collected), prefix)
    scope.update(zip(node.outputs, [*carried, *stacked], strict=False))


@expansion("Scan")
def run_scan(builder: "NetworkBuilder", node: Node, scope: Any, prefix: str) -> None:
    """``Scan``: the nodes of its body, once for each position along an axis of its inputs."""
    if builder.opset < _OLDEST_SCAN:
        raise UnsupportedOperator(f"Scan of opset {builder.opset}")
    count, body = int(node.attributes.get("num_scan_inputs", 0)), _body(node)
    values = [scope[name] for name in node.inputs]
    if not 0 < count <= len(values):
        raise UnsupportedOperator(f"Scan of {count} inputs")
    carried, scanned = values[:-count], values[-count:]
    outputs = len(body.output) - len(carried)
    axes = [
        axis % value.example.ndim for axis, value in zip(_list(node, "scan_input_axes", count), scanned, strict=True)
    ]
    passes = extent(builder, node, scanned[0], axes[0], prefix)
    if passes > MAX_PASSES:
        raise UnsupportedOperator(f"Scan of more than {MAX_PASSES} passes")
    reads_backwards = _list(node, "scan_input_directions", count)
    collected: list[list[Value]] = [[] for _ in range(outputs)]
    for number in range(passes):
        inside = f"{prefix}{node.name}/{number}/"
        elements = [
            element(builder, f"input {i}", value, passes - 1 - number if backwards else number, axis, inside)
            for i, (value, axis, backwards) in enumerate(zip(scanned, axes, reads_backwards, strict=True))
        ]
        started = zip(body.input, [*carried, *elements], strict=True)
        inner = ChainMap({info.name: value for info, value in started}, scope)
        results = builder.run_graph(body, inner, inside)
        carried = results[: len(carried)]
        for rows, value in zip(collected, results[len(carried) :], strict=True):
            rows.append(value)
    writes_backwards = _list(node, "scan_output_directions", outputs)
    ordered = [rows[::-1] if backwards else rows for rows, backwards in zip(collected, writes_backwards, strict=True)]
    stacked = _stacked(builder, node, ordered, _list(node, "scan_output_axes", outputs), prefix)
    scope.update(zip(node.outputs, [*carried, *stacked], strict=False))


def _body(node: Node) -> Any:
    body = node.attributes.get("body")
    if body is None:
        raise UnsupportedOperator(f"{node.kind} without a body")
    return body


def _list(node: Node, name: str, length: int) -> list[int]:
    """An attribute that has a number for each input or output; zeros where it is left out."""
    return list(node.attributes.get(name) or [0] * length)


def _stacked(
    builder: "NetworkBuilder", node: Node, collected: Sequence[Sequence[Value]], axes: Sequence[int], prefix: str
) -> list[Value]:
    """The outputs of all passes, each along a new axis."""
    if not all(collected):
        raise UnsupportedOperator(f"{node.kind} of no passes that collects outputs")
    return [
        joined(builder, f"{node.name}/output {i}", rows, axis, prefix, stack=True)
        for i, (rows, axis) in enumerate(zip(collected, axes, strict=True))
    ]
