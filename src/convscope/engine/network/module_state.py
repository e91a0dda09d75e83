"""What a network's forward can write to: modules, tensors and containers, registered or in plain attributes."""

import enum
import functools
import random
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.engine.network.closures import CALLABLES, networks_of, networks_of_class

Container = dict[Any, Any] | list[Any] | set[Any] | deque[Any]
Generator = torch.Generator | np.random.Generator | np.random.RandomState | random.Random

DEEPEST = 4
"""How many containers and objects within each other are followed below a module."""
LONGEST = 4096
"""The elements of longer containers are kept, but not looked into."""

_MAPPINGS = (dict, OrderedDict, defaultdict, Counter)
_CONTAINERS = frozenset({*_MAPPINGS, list, set, deque})
_PLAIN = frozenset(
    {int, float, complex, bool, str, bytes, type(None), type, range, slice, torch.dtype, torch.device, torch.Size}
    | {types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType}
)
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_CLOSED = frozenset({*sys.stdlib_module_names, "torch", "numpy"}) - {"__main__"}
"""Packages whose objects are left alone: their insides are no state of a network."""


@dataclass
class ModuleState:
    """The objects found below some modules, each once. They are kept alive, so that an ``id`` stays theirs.

    Containers without anything in them, as most of a module's are, stand apart: ``hooks`` those of a module's hooks.
    """

    modules: dict[int, nn.Module] = field(default_factory=dict)
    tensors: dict[int, Tensor] = field(default_factory=dict)
    buffers: set[int] = field(default_factory=set)
    containers: dict[int, Container] = field(default_factory=dict)
    empty: list[Container] = field(default_factory=list)
    hooks: list[Container] = field(default_factory=list)
    arrays: dict[int, np.ndarray] = field(default_factory=dict)
    generators: dict[int, Generator] = field(default_factory=dict)
    classes: set[type] = field(default_factory=set)

    def ids(self) -> set[int]:
        """What two networks must not have in common if they are to run at the same time."""
        owned = (self.modules, self.tensors, self.containers, self.arrays, self.generators)
        return set().union(*owned, map(id, self.empty))


def module_state(modules: Iterable[nn.Module]) -> ModuleState:
    """Everything below these modules, through lists, dicts and plain objects held in their attributes too, and through
    networks that their functions reach.

    Nothing of the network is called, and each container is read in one step, so that another thread may run it.
    """
    state = ModuleState()
    tensors = state.tensors
    pending: list[tuple[Any, int]] = [(module, 0) for module in modules]
    while pending:
        value, depth = pending.pop()
        if isinstance(value, nn.Module):
            if id(value) in state.modules:
                continue
            state.modules[id(value)] = value
            inner, below = _inside_module(value, state), 0
        else:
            inner, below = _inside(value, state), depth + 1
        for each in inner:
            if isinstance(each, Tensor):
                tensors[id(each)] = each
            elif below < DEEPEST or isinstance(each, nn.Module):
                pending.append((each, below))
    return state


def _inside_module(module: nn.Module, state: ModuleState) -> list[Any]:
    """The values of a module's attributes that may hold state."""
    state.buffers.update(id(buffer) for buffer in list(module._buffers.values()) if buffer is not None)
    if isinstance(module, torch.jit.ScriptModule):  # its attributes live outside Python
        held = (module._modules.values(), module._parameters.values(), module._buffers.values())
        return [value for values in held for value in values]
    attributes = module.__dict__
    state.containers[id(attributes)] = attributes
    values = list(attributes.values())
    hooks, others, functions = _attribute_kinds(tuple(map(type, values)))
    tables = [values[place] for place in hooks]
    if not any(tables):
        state.hooks += tables
        tables = []
    reached = [net for place in functions for net in networks_of(values[place])]
    if type(module) not in state.classes:
        state.classes.add(type(module))
        reached += networks_of_class(type(module), _CLOSED)
    return _with_state([*tables, *(values[place] for place in others), *reached], state)


@functools.lru_cache(4096)
def _attribute_kinds(kinds: tuple[type, ...]) -> tuple[list[int], list[int], list[int]]:
    """Which of a module's attributes are tables of hooks, which others may hold state, which are functions."""
    hooks = [place for place, kind in enumerate(kinds) if kind is OrderedDict]
    others = [place for place, kind in enumerate(kinds) if kind is not OrderedDict and kind not in _PLAIN]
    return hooks, others, [place for place, kind in enumerate(kinds) if issubclass(kind, CALLABLES)]


def _inside(value: Any, state: ModuleState) -> list[Any]:
    """The values within a container or a plain object that may hold state."""
    kind = type(value)
    if kind in _CONTAINERS:
        if id(value) in state.containers:
            return []
        state.containers[id(value)] = value
        inner = list(value.values()) if isinstance(value, dict) else list(value)
        return _with_state(inner, state) if len(inner) <= LONGEST else []
    if isinstance(value, tuple):
        return _with_state(list(value), state)
    if kind is np.ndarray:
        state.arrays[id(value)] = value
    elif isinstance(value, _GENERATORS):
        state.generators[id(value)] = value
    elif _is_open(value):
        attributes = vars(value)
        if id(attributes) not in state.containers:
            state.containers[id(attributes)] = attributes
            return _with_state(list(attributes.values()), state)
    return []


def _with_state(values: list[Any], state: ModuleState) -> list[Any]:
    """Those of the values to look into; containers that are empty are noted at once, as most of a module's are."""
    kept = []
    for value in values:
        kind = type(value)
        if kind in _PLAIN:
            continue
        if kind in _CONTAINERS and not value:
            state.empty.append(value)
        else:
            kept.append(value)
    return kept


def _is_open(value: Any) -> bool:
    """Whether an object is one of a person's own classes, whose attributes are state."""
    if isinstance(value, types.SimpleNamespace):
        return True
    if isinstance(value, (type, enum.Enum)) or not isinstance(getattr(value, "__dict__", None), dict):
        return False
    return type(value).__module__.partition(".")[0] not in _CLOSED
