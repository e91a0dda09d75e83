"""Networks that functions refer to outside attributes: in closures, defaults, partial functions and globals.

Two networks whose functions call the same backbone share it just as if it were a registered module of both.
"""

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

CALLABLES = (types.FunctionType, types.MethodType, functools.partial)
_MAX_DEPTH = 4
"""The depth to which nested functions are followed."""


def networks_of_class(kind: type, ignored_packages: frozenset[str]) -> Iterator[nn.Module]:
    """The networks that the methods of a class refer to, without those of base classes in ``ignored_packages``."""
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] in ignored_packages:
            continue
        for value in vars(base).values():
            method = getattr(value, "__func__", value)
            if isinstance(method, types.FunctionType):
                yield from networks_of(method)


def networks_of(function: Callable[..., Any], depth: int = 0) -> Iterator[nn.Module]:
    """The networks that a function refers to by its closure, its defaults or the globals that it names."""
    if depth == _MAX_DEPTH:
        return
    for value in _referenced_values(function):
        values = value if isinstance(value, (list, tuple)) else value.values() if isinstance(value, dict) else (value,)
        for member in values:
            if isinstance(member, nn.Module):
                yield member
            elif isinstance(member, CALLABLES):
                yield from networks_of(member, depth + 1)


def _referenced_values(function: Callable[..., Any]) -> list[Any]:
    """The values in a function's closure and defaults, and the networks among its globals."""
    if isinstance(function, functools.partial):
        return [function.func, *function.args, *function.keywords.values()]
    if isinstance(function, types.MethodType):
        return [function.__self__, function.__func__]
    assert isinstance(function, types.FunctionType)
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    global_values = [function.__globals__.get(name) for name in _names(function.__code__)]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [*cells, *defaults, *(value for value in global_values if isinstance(value, nn.Module))]


def _is_filled(cell: types.CellType) -> bool:
    """Whether a variable of a closure has a value yet."""
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


@functools.lru_cache(4096)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """The names of globals in a code object, including those of its inner functions."""
    inner = (name for constant in code.co_consts if isinstance(constant, types.CodeType) for name in _names(constant))
    return tuple(dict.fromkeys((*code.co_names, *inner)))
