"""The part of a network's output that is explained, where that is a tuple, a dict or an object."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from convscope.errors import OutputError
from convscope.spec.tasks import task_names

OutputSelector = str | int | Callable[[Any], Tensor]
"""Which part of a tuple or dict output is explained: a key, an index or a function."""


def select_output(output: Any, selector: OutputSelector, name: str) -> Any:
    """The part of an output that ``selector`` names.

    Raises:
        OutputError: there is no such part, or the function raised.
    """
    if callable(selector):
        try:
            return selector(output)
        except Exception as error:
            raise OutputError(
                f"output={selector!r} raised {type(error).__name__}: {error}; {_parts(output)}"
            ) from error
    try:
        if isinstance(selector, str) and not isinstance(output, Mapping):
            return getattr(output, selector)
        return output[selector]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise OutputError(f"{name}'s output has no part {selector!r}; {_parts(output)}") from error


def unknown_output_message(output: Any, name: str) -> str:
    """Why an output cannot be explained, its parts with their shapes, and what to do."""
    if isinstance(output, (Mapping, tuple, list)) and not output:
        return f"{name} gives an empty {type(output).__name__}: let its forward return the scores"
    remedy = (
        "say which part is meant: Model(…, output=…) takes a key, an index or a function, and task=… says what it is "
        f"({', '.join(task_names())})"
    )
    content = _content(output)
    return f"{name} gives {type(output).__name__}, not a tensor; {_parts(output)}; {remedy}" + (
        f"; it holds {content}" if content else ""
    )


_SHOWN_PARTS = 6
"""How many parts of an output, on each level, a message describes."""


def _content(output: Any, levels: int = 2) -> str:
    """The types and shapes in an output, such as ``logits: Tensor(1, 4), hidden: int``; empty for what has no parts."""
    if isinstance(output, Mapping):
        members = [(f"{key}: ", part) for key, part in output.items()]
    elif fields := _fields(output):
        members = [(f"{field}: ", getattr(output, field)) for field in fields]
    elif isinstance(output, (tuple, list)):
        members = [("", part) for part in output]
    else:
        return ""
    described = [label + _described(part, levels - 1) for label, part in members[:_SHOWN_PARTS]]
    return ", ".join([*described, *(["…"] if len(members) > _SHOWN_PARTS else [])])


def _described(part: Any, levels: int) -> str:
    if isinstance(part, Tensor):
        return f"Tensor{tuple(part.shape)}"
    content = _content(part, levels) if levels else ""
    return f"{type(part).__name__} ({content})" if content else type(part).__name__


def _fields(output: Any) -> list[str]:
    """The names of the fields of a named tuple or a data class."""
    names: Any = getattr(output, "_fields", None) or getattr(output, "__dataclass_fields__", ())
    return list(names)


def _parts(output: Any) -> str:
    """The parts of an output, in words."""
    if isinstance(output, Mapping):
        return f"it has the keys {', '.join(repr(key) for key in output)}"
    if fields := _fields(output):
        return f"it has the parts {', '.join(fields)}"
    if isinstance(output, (tuple, list)):
        return f"it has {len(output)} parts"
    return f"it is a {type(output).__name__}"
