"""The objects that a network's forward can write to: modules, tensors and containers, registered or in attributes."""

import enum
import functools
import itertools
import random
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.engine.network.closures import CALLABLES, networks_of, networks_of_class

Container = dict[Any, Any] | list[Any] | set[Any] | deque[Any]
Generator = torch.Generator | np.random.Generator | np.random.RandomState | random.Random

MAX_DEPTH = 4
"""The depth to which nested containers and objects are followed below a module."""
MAX_LENGTH = 4096
"""The members of longer containers are saved but not followed."""

_MAPPINGS = (dict, OrderedDict, defaultdict, Counter)
_CONTAINERS = frozenset({*_MAPPINGS, list, set, deque})
_PLAIN = frozenset(
    {int, float, complex, bool, str, bytes, type(None), type, range, slice, torch.dtype, torch.device, torch.Size}
    | {types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType}
)
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_IGNORED_PACKAGES = frozenset({*sys.stdlib_module_names, "torch", "numpy"}) - {"__main__"}
"""Packages whose objects are not followed: their attributes are not state of a network."""


@dataclass
class ModuleState:
    """The objects found below some modules, each once, by ``id``. They are kept alive, so that ids stay valid.

    Empty containers, which most of a module's containers are, are listed separately: ``hooks`` holds the empty hook
    tables of modules, ``empty`` all others.

    Attributes:
        roots: the modules below which was searched.
        owners: modules and objects, each with its class and the dict of its attributes, one of ``containers``.
        functions: functions among the attributes of modules, which may refer to networks.
        is_scripted: whether some of the modules are scripted: what they hold may change without any of ``containers``
            changing.
    """

    roots: tuple[nn.Module, ...] = ()
    modules: dict[int, nn.Module] = field(default_factory=dict)
    owners: list[tuple[Any, type, dict[str, Any]]] = field(default_factory=list)
    functions: list[Callable[..., Any]] = field(default_factory=list)
    is_scripted: bool = False
    tensors: dict[int, Tensor] = field(default_factory=dict)
    buffers: set[int] = field(default_factory=set)
    containers: dict[int, Container] = field(default_factory=dict)
    empty: list[Container] = field(default_factory=list)
    hooks: list[Container] = field(default_factory=list)
    arrays: dict[int, np.ndarray] = field(default_factory=dict)
    generators: dict[int, Generator] = field(default_factory=dict)
    classes: set[type] = field(default_factory=set)

    @functools.cached_property
    def ids(self) -> frozenset[int]:
        """The ids of the objects that two networks must not share if they are to run at the same time."""
        objects = (self.modules, self.tensors, self.containers, self.arrays, self.generators)
        return frozenset().union(*objects, map(id, self.empty))

    def is_registered(self) -> bool:
        """Whether all tensors and arrays are parameters or buffers of modules, none in another attribute."""
        registered = {id(t) for m in self.modules.values() for t in (*m._parameters.values(), *m._buffers.values())}
        return not self.arrays and self.tensors.keys() <= registered

    def refers_to_networks(self) -> bool:
        """Whether functions among the attributes or methods refer to networks now."""
        of_classes = (networks_of_class(kind, _IGNORED_PACKAGES) for kind in self.classes)
        networks = itertools.chain(*map(networks_of, self.functions), *of_classes)
        return any(True for _ in networks)


def module_state(modules: Iterable[nn.Module]) -> ModuleState:
    """All state below these modules.

    It includes lists, dicts and plain objects in their attributes, and networks that their functions refer to.
    No code of the network is called, and each container is read in one step, so that another thread may run it.
    """
    state = ModuleState(roots=tuple(modules))
    tensors = state.tensors
    pending: list[tuple[Any, int]] = [(module, 0) for module in state.roots]
    while pending:
        value, depth = pending.pop()
        if isinstance(value, nn.Module):
            if id(value) in state.modules:
                continue
            state.modules[id(value)] = value
            members, member_depth = _module_members(value, state), 0
        else:
            members, member_depth = _object_members(value, state), depth + 1
        for member in members:
            if isinstance(member, Tensor):
                tensors[id(member)] = member
            elif member_depth < MAX_DEPTH or isinstance(member, nn.Module):
                pending.append((member, member_depth))
    return state


def _module_members(module: nn.Module, state: ModuleState) -> list[Any]:
    """The values of a module's attributes that may hold state."""
    state.buffers.update(id(buffer) for buffer in list(module._buffers.values()) if buffer is not None)
    if isinstance(module, torch.jit.ScriptModule):  # its attributes are stored outside Python
        state.is_scripted = True
        registered = (module._modules.values(), module._parameters.values(), module._buffers.values())
        return [value for values in registered for value in values]
    attributes = module.__dict__
    state.containers[id(attributes)] = attributes
    state.owners.append((module, type(module), attributes))
    values = list(attributes.values())
    hooks, others, functions = _attribute_kinds(tuple(map(type, values)))
    tables = [values[index] for index in hooks]
    if not any(tables):
        state.hooks += tables
        tables = []
    state.functions += [values[index] for index in functions]
    networks = [network for index in functions for network in networks_of(values[index])]
    if type(module) not in state.classes:
        state.classes.add(type(module))
        networks += networks_of_class(type(module), _IGNORED_PACKAGES)
    return _with_state([*tables, *(values[index] for index in others), *networks], state)


@functools.lru_cache(4096)
def _attribute_kinds(kinds: tuple[type, ...]) -> tuple[list[int], list[int], list[int]]:
    """The indices of a module's attributes that are hook tables, that may hold other state, and that are functions."""
    hooks = [index for index, kind in enumerate(kinds) if kind is OrderedDict]
    others = [index for index, kind in enumerate(kinds) if kind is not OrderedDict and kind not in _PLAIN]
    return hooks, others, [index for index, kind in enumerate(kinds) if issubclass(kind, CALLABLES)]


def _object_members(value: Any, state: ModuleState) -> list[Any]:
    """The members of a container or a plain object that may hold state."""
    kind = type(value)
    if kind in _CONTAINERS:
        if id(value) in state.containers:
            return []
        state.containers[id(value)] = value
        members = list(value.values()) if isinstance(value, dict) else list(value)
        return _with_state(members, state) if len(members) <= MAX_LENGTH else []
    if isinstance(value, tuple):
        return _with_state(list(value), state)
    if kind is np.ndarray:
        state.arrays[id(value)] = value
    elif isinstance(value, _GENERATORS):
        state.generators[id(value)] = value
    elif _is_followed(value):
        attributes = vars(value)
        if id(attributes) not in state.containers:
            state.containers[id(attributes)] = attributes
            state.owners.append((value, kind, attributes))
            return _with_state(list(attributes.values()), state)
    return []


def _with_state(values: list[Any], state: ModuleState) -> list[Any]:
    """The values that may hold state; empty containers are added to ``state`` directly."""
    stateful = []
    for value in values:
        kind = type(value)
        if kind in _PLAIN:
            continue
        if kind in _CONTAINERS and not value:
            state.empty.append(value)
        else:
            stateful.append(value)
    return stateful


def _is_followed(value: Any) -> bool:
    """Whether an object belongs to a user-defined class, whose attributes are state."""
    if isinstance(value, types.SimpleNamespace):
        return True
    if isinstance(value, (type, enum.Enum)) or not isinstance(getattr(value, "__dict__", None), dict):
        return False
    return type(value).__module__.partition(".")[0] not in _IGNORED_PACKAGES
