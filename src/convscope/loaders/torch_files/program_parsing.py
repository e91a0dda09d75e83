"""The parts of an exported program from JSON, as the classes of torch's schema.

``torch._export`` reads the annotations of a class again for each of a program's thousands of parts, which takes longer
than all the rest. Here they are read once per class.
"""

import dataclasses
import functools
import types
import typing
from typing import Any

from torch._export.serde import schema
from torch._export.serde.union import _Union


def parse_program(program: Any) -> schema.ExportedProgram:
    """The program that its JSON describes; parts that the classes do not have are left out."""
    parsed: schema.ExportedProgram = _parsed(schema.ExportedProgram, program)
    return parsed


def _parsed(annotation: Any, value: Any) -> Any:
    """A value as its annotation describes it."""
    kind, is_optional = _resolved(annotation)
    if is_optional and value is None:
        return None
    if isinstance(kind, type) and issubclass(kind, _Union):
        ((name, content),) = value.items()
        known = _annotations(kind)  # type: ignore[arg-type] # classes are hashable, whatever their objects are
        return kind.create(**{name: _parsed(known[name], content)})  # type: ignore[no-untyped-call]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        known = _annotations(kind)
        return kind(**{name: _parsed(known[name], value[name]) for name in known if name in value})
    if isinstance(value, list):
        (element,) = typing.get_args(kind) or (Any,)
        return [_parsed(element, part) for part in value]
    if isinstance(value, dict):
        element = typing.get_args(kind)[1]
        return {name: _parsed(element, part) for name, part in value.items()}
    return float(value) if kind is float else value


@functools.cache
def _annotations(kind: Any) -> dict[str, Any]:
    """The annotations of the fields of a class."""
    hints = typing.get_type_hints(kind, globalns=vars(schema))
    return hints if issubclass(kind, _Union) else {field.name: hints[field.name] for field in dataclasses.fields(kind)}


@functools.cache
def _resolved(annotation: Any) -> tuple[Any, bool]:
    """An annotation without its wrappings, and whether None is allowed."""
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        annotation = vars(schema)[annotation]
    if typing.get_origin(annotation) is typing.Annotated:
        return _resolved(annotation.__origin__)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        (other,) = [part for part in typing.get_args(annotation) if part is not type(None)]
        return _resolved(other)[0], True
    return annotation, False
