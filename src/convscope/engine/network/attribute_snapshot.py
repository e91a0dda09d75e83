"""The attributes of a network's modules at one moment: to restore them, and to know whether they are still the same."""

import itertools
import operator
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from convscope.engine.network.module_state import Container, module_state


class AttributeSnapshot:
    """The values of the attributes below some modules, and of the containers in them."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.state = module_state(modules)
        self._containers = list(self.state.containers.values())
        self._copies = [container.copy() for container in self._containers]
        self._dicts = [container for container in self._containers if isinstance(container, dict)]
        self._lengths = list(map(len, self._containers))
        self._members = tuple(self._current_members())
        registered = (module for root in self.state.roots for module in root.modules())
        self.modules = tuple(dict.fromkeys(registered))
        """The modules and those registered in them, in the order of ``modules()``."""

    def is_current(self, root: nn.Module) -> bool:
        """Whether a snapshot of ``root`` would hold the same, as far as this is known without making it.

        To compare the containers takes a quarter of the time that it takes to find them. What functions refer to and
        what scripted modules hold cannot be compared: the snapshot of a network with such state is never current.
        """
        state = self.state
        return (
            state.roots == (root,)
            and not state.is_scripted
            and all(type(owner) is kind and owner.__dict__ is attributes for owner, kind, attributes in state.owners)
            and self._has_same_members()
            and not state.refers_to_networks()
        )

    def restore(self) -> None:
        """Restore the containers that have changed."""
        if self._has_same_members():
            return
        for container, before in zip(self._containers, self._copies, strict=True):
            if not _same_members(container, before):
                _refill(container, before)
        for containers in (self.state.empty, self.state.hooks):
            if any(containers):
                for container in containers:
                    container.clear()

    def _has_same_members(self) -> bool:
        """Whether all containers hold the same objects in the same order.

        They are compared as one series, which takes two thirds of the time of one after the other.
        """
        if any(self.state.empty) or any(self.state.hooks) or list(map(len, self._containers)) != self._lengths:
            return False
        return all(map(operator.is_, self._members, self._current_members()))

    def _current_members(self) -> Iterator[Any]:
        """The members of all containers one after the other, then the values of those that are dicts."""
        values = map(operator.methodcaller("values"), self._dicts)
        return itertools.chain(itertools.chain.from_iterable(self._containers), itertools.chain.from_iterable(values))


def _same_members(container: Container, before: Container) -> bool:
    """Whether a container holds the same objects in the same order."""
    if len(container) != len(before) or not all(map(operator.is_, container, before)):
        return False
    if isinstance(container, dict) and isinstance(before, dict):
        return all(map(operator.is_, container.values(), before.values()))
    return True


def _refill(container: Container, before: Container) -> None:
    container.clear()
    if isinstance(container, (list, deque)):
        container.extend(before)
    else:
        container.update(before)
