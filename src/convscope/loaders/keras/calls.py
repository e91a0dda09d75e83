"""How layers are called: the tensors and values that a call passes, from the inbound nodes of Keras 2 and Keras 3."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from convscope.errors import LoadError


@dataclass(frozen=True)
class TensorRef:
    """A tensor of the graph: output ``output`` of call ``call`` of a layer."""

    layer: str
    call: int
    output: int


@dataclass(frozen=True)
class Call:
    """One call of a layer; a `TensorRef` anywhere in the arguments stands for a tensor."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0


def parse_call(node: Any, layer: str) -> Call:
    """Read an inbound node of a layer.

    Keras 3 writes ``{"args": […], "kwargs": {…}}``; Keras 2 a list of ``[layer, call, output, kwargs]`` for the tensors
    of the first argument, with the other arguments beside the first of them.
    """
    if isinstance(node, Mapping) and "args" in node:
        args, kwargs = _parse_keras3(node["args"]), _parse_keras3(node.get("kwargs") or {})
        return Call(args=tuple(args), kwargs=kwargs)
    if not isinstance(node, Sequence) or isinstance(node, str) or not node:
        raise LoadError(f"layer {layer!r} says nothing readable about its inputs")
    if _is_reference(node):
        node = [node]
    first: list[Any] = []
    kwargs = {}
    for member in node:
        if isinstance(member, Sequence) and len(member) >= 3 and member[0] == "_CONSTANT_VALUE":
            first.append(member[2])
        elif _is_reference(member):
            first.append(_reference(member))
        else:
            raise LoadError(f"layer {layer!r} says nothing readable about its inputs")
        if len(member) > 3 and isinstance(member[3], Mapping):
            kwargs |= {name: _parse_keras2(value) for name, value in member[3].items()}
    return Call(args=(first[0] if len(first) == 1 else tuple(first),), kwargs=kwargs)


def parse_references(outputs: Any) -> list[TensorRef]:
    """The tensors that a configuration lists as inputs or outputs of a network: one, a list, or an object of them."""
    if _is_reference(outputs):
        return [_reference(outputs)]
    if isinstance(outputs, Mapping):
        return [reference for value in outputs.values() for reference in parse_references(value)]
    if isinstance(outputs, Sequence) and not isinstance(outputs, str):
        return [reference for value in outputs for reference in parse_references(value)]
    raise LoadError(f"the inputs or outputs of the network are written as {str(outputs)[:60]!r}, which is unreadable")


def references(tree: Any) -> Iterator[TensorRef]:
    """All tensors in the arguments of a call."""
    if isinstance(tree, TensorRef):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from references(value)
    elif isinstance(tree, (tuple, list)):
        for value in tree:
            yield from references(value)


def replace_references(call: Call, layer: str, by: TensorRef) -> Call:
    """A call that reads another tensor wherever it read the output of a layer."""

    def replaced(tree: Any) -> Any:
        if isinstance(tree, TensorRef):
            return by if tree.layer == layer else tree
        if isinstance(tree, Mapping):
            return {name: replaced(value) for name, value in tree.items()}
        return tuple(map(replaced, tree)) if isinstance(tree, (tuple, list)) else tree

    return Call(replaced(call.args), replaced(call.kwargs), call.number)


def _is_reference(value: Any) -> bool:
    """Whether a value is ``[layer, call, output]`` or ``[layer, call, output, kwargs]``."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) not in (3, 4):
        return False
    return isinstance(value[0], str) and all(type(number) is int and number >= 0 for number in value[1:3])


def _reference(value: Sequence[Any]) -> TensorRef:
    return TensorRef(value[0], value[1], value[2])


def _parse_keras2(value: Any) -> Any:
    """An argument in Keras 2, where ``[layer, call, output]`` is a tensor."""
    if _is_reference(value) and len(value) == 3:
        return _reference(value)
    if isinstance(value, list):
        return tuple(_parse_keras2(member) for member in value)
    return value


def _parse_keras3(value: Any) -> Any:
    """An argument in Keras 3, where tensors and slices are objects that say so."""
    if isinstance(value, Mapping):
        kind, config = value.get("class_name"), value.get("config")
        if kind == "__keras_tensor__":
            history = config.get("keras_history") if isinstance(config, Mapping) else None
            if not _is_reference(history):
                raise LoadError(f"a tensor of the graph has the origin {str(history)[:60]!r}, which is unreadable")
            assert isinstance(history, Sequence), "a reference is a sequence"
            return _reference(history)
        if kind in ("__slice__", "slice") and isinstance(config, Mapping):
            return slice(*(config.get(part) for part in ("start", "stop", "step")))
        if kind == "__numpy__" and isinstance(config, Mapping):
            return config.get("value")
        if kind in ("__tuple__", "tuple"):
            return tuple(_parse_keras3(member) for member in value.get("items", value.get("config", ())))
        return {name: _parse_keras3(member) for name, member in value.items()}
    if isinstance(value, list):
        return tuple(_parse_keras3(member) for member in value)
    return value
