"""The part of a network's output that is explained, where that is a tuple, a dict or an object."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from convscope.errors import OutputError

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


def not_a_tensor_message(output: Any, name: str) -> str:
    """Why an output cannot be explained, its parts, and what to do."""
    remedy = "say which part is meant: Model(…, output=…) takes a key, an index or a function"
    return f"{name} gives {type(output).__name__}, not a tensor; {_parts(output)}; {remedy}"


def _parts(output: Any) -> str:
    """The parts of an output, in words."""
    if isinstance(output, Mapping):
        return f"it has the keys {', '.join(repr(key) for key in output)}"
    fields = getattr(output, "_fields", None) or list(getattr(output, "__dataclass_fields__", ()))
    if fields:
        return f"it has the parts {', '.join(fields)}"
    if isinstance(output, (tuple, list)):
        return f"it has {len(output)} parts"
    return f"it is a {type(output).__name__}"
