"""Networks that code reaches without holding them in an attribute: in closures, defaults, partial calls and globals.

Two networks whose functions call one backbone share it as much as if it were a registered module of both.
"""

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

CALLABLES = (types.FunctionType, types.MethodType, functools.partial)
_DEEPEST = 4
"""How many functions within each other are followed."""


def networks_of_class(kind: type, closed: frozenset[str]) -> Iterator[nn.Module]:
    """The networks that the methods of a class reach by themselves, those of ``closed`` packages left out."""
    for home in kind.__mro__:
        if home.__module__.partition(".")[0] in closed:
            continue
        for value in vars(home).values():
            method = getattr(value, "__func__", value)
            if isinstance(method, types.FunctionType):
                yield from networks_of(method)


def networks_of(function: Callable[..., Any], depth: int = 0) -> Iterator[nn.Module]:
    """The networks that a function was given to keep or finds among the globals that it names."""
    if depth == _DEEPEST:
        return
    for held in _held(function):
        for one in held if isinstance(held, (list, tuple)) else held.values() if isinstance(held, dict) else (held,):
            if isinstance(one, nn.Module):
                yield one
            elif isinstance(one, CALLABLES):
                yield from networks_of(one, depth + 1)


def _held(function: Callable[..., Any]) -> list[Any]:
    """What lies in a function's closure and defaults, and the networks and functions among its globals."""
    if isinstance(function, functools.partial):
        return [function.func, *function.args, *function.keywords.values()]
    if isinstance(function, types.MethodType):
        return [function.__self__, function.__func__]
    assert isinstance(function, types.FunctionType)
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    named = [function.__globals__.get(name) for name in _names(function.__code__)]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [*cells, *defaults, *(one for one in named if isinstance(one, nn.Module))]


def _is_filled(cell: types.CellType) -> bool:
    """Whether a variable of a closure has a value yet."""
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


@functools.lru_cache(4096)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """The globals that a piece of code names, within its inner functions too."""
    inner = (name for one in code.co_consts if isinstance(one, types.CodeType) for name in _names(one))
    return tuple(dict.fromkeys((*code.co_names, *inner)))
