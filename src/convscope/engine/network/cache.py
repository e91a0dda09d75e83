"""A cache for facts about a network that were found by running it, valid until its modules change.

Each module that caches something declares a `CacheEntry` of its own, so the cache does not depend on its users. A
`Model` has a cache. A bare module that is passed to several lenses is wrapped in a new `Model` at every call, so its
cache is stored by module.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import nn

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class CacheEntry(Generic[Value]):
    """The key of one value in the cache.

    Attributes:
        name: a name for debugging.
        empty: makes the initial value.
        depends_on_backward_hooks: whether the value is dropped when backward hooks are added or removed.

    Example:
        >>> sizes: Entry[dict[str, int]] = Entry("sizes", dict)
        >>> cache = NetworkCache()
        >>> cache[sizes]["conv1"] = 3
        >>> cache[sizes]
        {'conv1': 3}
    """

    name: str
    empty: Callable[[], Value]
    depends_on_backward_hooks: bool = False


class NetworkCache:
    """The cached values of one network, by `CacheEntry`."""

    def __init__(self) -> None:
        self._values: dict[CacheEntry[Any], Any] = {}
        self._modules: tuple[weakref.ref[nn.Module], ...] = ()
        self._backward_hooks: tuple[int, ...] = ()

    def __getitem__(self, entry: CacheEntry[Value]) -> Value:
        if entry not in self._values:
            self._values[entry] = entry.empty()
        value: Value = self._values[entry]
        return value

    def __setitem__(self, entry: CacheEntry[Value], value: Value) -> None:
        self._values[entry] = value

    def forget_outdated(self, modules: Sequence[nn.Module], backward_hooks: tuple[int, ...]) -> None:
        """Drop all values if modules are no longer the same objects, and hook-dependent values if hooks changed."""
        same = len(modules) == len(self._modules) and all(
            module is reference() for module, reference in zip(modules, self._modules, strict=True)
        )
        if not same:
            self._modules = tuple(map(weakref.ref, modules))
            self._values.clear()
        if backward_hooks != self._backward_hooks:
            self._backward_hooks = backward_hooks
            for entry in [entry for entry in self._values if entry.depends_on_backward_hooks]:
                del self._values[entry]


_OF_BARE_MODULES: weakref.WeakKeyDictionary[nn.Module, NetworkCache] = weakref.WeakKeyDictionary()


def cache_of(module: nn.Module) -> NetworkCache:
    """The cache of a module that is used without a `Model`."""
    return _OF_BARE_MODULES.setdefault(module, NetworkCache())
