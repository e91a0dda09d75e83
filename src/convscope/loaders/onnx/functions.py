"""Operators that are defined by other operators: the file's own functions, and those that the standard defines."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor

from convscope.loaders.onnx.expansion import EXPANSIONS
from convscope.loaders.onnx.graph import MAX_DEPTH, Node
from convscope.loaders.onnx.operators.declaration import FUNCTIONS
from convscope.loaders.onnx.reading import StoredModel, onnx_package
from convscope.loaders.onnx.tensors import ELEMENT_TYPES
from convscope.loaders.onnx.values import SequenceValue, Value


def operator_name(node: Any) -> str:
    """An operator as messages name it."""
    domain = getattr(node, "domain", "")
    kind = node.op_type if hasattr(node, "op_type") else node.kind
    return f"{domain}:{kind}" if domain not in ("", "ai.onnx") else str(kind)


def opset(function: Any, default: int) -> int:
    """The version of the standard's operators that a function uses."""
    return next((entry.version for entry in function.opset_import if entry.domain in ("", "ai.onnx")), default)


def definition(stored: StoredModel, node: Node, values: Sequence[Value | None], version: int) -> Any:
    """The function that defines a node's operator; None if there is none."""
    own = stored.functions.get((node.stored.domain, node.kind)) or stored.functions.get((node.domain, node.kind))
    if own is not None or node.domain:
        return own
    schema = _schema(node.kind, version)
    if schema is None:
        return None
    function = onnx_package().FunctionProto()
    if schema.has_function:
        serialized = schema.get_function_with_opset_version(_newest_up_to(schema.function_opset_versions, version))
    elif schema.has_context_dependent_function:
        newest = _newest_up_to(schema.context_dependent_function_opset_versions, version)
        types = [_type_of(value) for value in values]
        serialized = schema.get_context_dependent_function_with_opset_version(
            newest, node.stored.SerializeToString(), types
        )
    else:
        return None
    function.ParseFromString(serialized)
    return function if function.node else None


def _newest_up_to(versions: Iterable[int], version: int) -> int:
    return max((known for known in versions if known <= version), default=version)


def _schema(kind: str, version: int) -> Any:
    """The standard's description of an operator; None if it has no such operator."""
    definitions = onnx_package().defs
    try:
        return definitions.get_schema(kind, version, "")
    except definitions.SchemaError:
        return None


def _type_of(value: Value | None) -> bytes:
    """The type of a value, as the standard's functions ask for it."""
    helper = onnx_package().helper
    if isinstance(value, SequenceValue):
        tensor = onnx_package().TypeProto.FromString(_type_of(next(iter(value.example), None)))
        return bytes(helper.make_sequence_type_proto(tensor).SerializeToString())
    if value is None or not isinstance(value.example, Tensor):
        return bytes(onnx_package().TypeProto().SerializeToString())
    element = next(number for number, dtype in ELEMENT_TYPES.items() if dtype == value.example.dtype)
    return bytes(helper.make_tensor_type_proto(element, list(value.example.shape)).SerializeToString())


def body(function: Any, node: Node) -> list[Any]:
    """The nodes of a function as a node calls it: with the values of its attributes in place of their names."""
    given = {attribute.name: attribute for attribute in function.attribute_proto}
    if not node.domain and (schema := _schema(node.kind, opset(function, 1))) is not None:
        defaults = {name: attribute.default_value for name, attribute in schema.attributes.items()}
        given |= {name: default for name, default in defaults.items() if default.type}
    given |= {attribute.name: attribute for attribute in node.stored.attribute}
    nodes = []
    for stored in function.node:
        resolved = onnx_package().NodeProto()
        resolved.CopyFrom(stored)
        del resolved.attribute[:]
        for attribute in stored.attribute:
            value = given.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
            if value is not None:
                resolved.attribute.add().CopyFrom(value)
                resolved.attribute[-1].name = attribute.name
        nodes.append(resolved)
    return nodes


def unsupported_operators(stored: StoredModel) -> Counter[str]:
    """The operators of a file that cannot be translated, with the number of nodes of each."""
    graphs: list[Any] = [stored.proto.graph, *stored.functions.values()]
    return Counter(operator_name(node) for graph in graphs for node in _all_nodes(graph) if not _is_known(stored, node))


def _all_nodes(graph: Any, depth: int = 0) -> Iterator[Any]:
    for node in graph.node:
        yield node
        if depth < MAX_DEPTH:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    yield from _all_nodes(attribute.g, depth + 1)


def _is_known(stored: StoredModel, node: Any) -> bool:
    if (node.domain, node.op_type) in stored.functions:
        return True
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type in FUNCTIONS or node.op_type in EXPANSIONS:
        return True
    schema = _schema(node.op_type, stored.opset)
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)
