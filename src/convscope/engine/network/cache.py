"""What running a network has shown about it, kept until its modules change.

Each file that keeps something declares an `Entry` of its own, so the cache knows none of its users. A `Model` has a
cache. A bare module that is passed to lens after lens is wrapped anew at every call, so its cache is kept with the
module itself.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import nn

Kept = TypeVar("Kept")


@dataclass(frozen=True, eq=False)
class Entry(Generic[Kept]):
    """One thing that is kept about a network.

    Attributes:
        name: what it is called in a debugger.
        empty: what stands there before anything is known.
        depends_on_backward_hooks: whether it is forgotten when backward hooks are added or removed.

    Example:
        >>> sizes: Entry[dict[str, int]] = Entry("sizes", dict)
        >>> cache = NetworkCache()
        >>> cache[sizes]["conv1"] = 3
        >>> cache[sizes]
        {'conv1': 3}
    """

    name: str
    empty: Callable[[], Kept]
    depends_on_backward_hooks: bool = False


class NetworkCache:
    """What is known about one network, by `Entry`."""

    def __init__(self) -> None:
        self._kept: dict[Entry[Any], Any] = {}
        self._modules: tuple[weakref.ref[nn.Module], ...] = ()
        self._backward_hooks: tuple[int, ...] = ()

    def __getitem__(self, entry: Entry[Kept]) -> Kept:
        if entry not in self._kept:
            self._kept[entry] = entry.empty()
        kept: Kept = self._kept[entry]
        return kept

    def __setitem__(self, entry: Entry[Kept], value: Kept) -> None:
        self._kept[entry] = value

    def forget_outdated(self, modules: Sequence[nn.Module], backward_hooks: tuple[int, ...]) -> None:
        """Forget everything where the modules are no longer the same objects, and what depends on changed hooks."""
        same = len(modules) == len(self._modules) and all(
            module is known() for module, known in zip(modules, self._modules, strict=True)
        )
        if not same:
            self._modules = tuple(map(weakref.ref, modules))
            self._kept.clear()
        if backward_hooks != self._backward_hooks:
            self._backward_hooks = backward_hooks
            for entry in [entry for entry in self._kept if entry.depends_on_backward_hooks]:
                del self._kept[entry]


_OF_BARE_MODULES: weakref.WeakKeyDictionary[nn.Module, NetworkCache] = weakref.WeakKeyDictionary()


def cache_of(module: nn.Module) -> NetworkCache:
    """The cache of a module that is passed without a `Model` around it."""
    return _OF_BARE_MODULES.setdefault(module, NetworkCache())
