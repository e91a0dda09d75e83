"""What follows from dependences, remembered by their identity.

Networks have many operations in common: one that is opened twice, or recorded again once its weights have changed, runs
the same operations on the same input. A rule that reads only shapes, settings and dependences then gives the very same
objects, from which what follows is found in turn. An entry keeps the dependences in its key alive, so that their
identity stands for them.
"""

from collections.abc import Callable, Hashable, Iterable
from threading import Lock
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

from convscope.engine.graph.dependence import Dependence

Value = TypeVar("Value")
Axes = tuple[Dependence, ...]

_MAX_BYTES = 32 * 2**20
_ENTRY_BYTES = 1024
"""About what an entry takes beside its tensors."""
_MAX_ENTRY_BYTES = 2**20
"""The positions of an entry, which are few unless values of a large map were rearranged."""


class DependenceCache(Generic[Value]):
    """Values by a key that names dependences by `identity`; bounded by the memory of their tensors."""

    def __init__(self) -> None:
        self._entries: LRUCache[Hashable, tuple[int, tuple[Dependence, ...], Value]] = LRUCache(
            _MAX_BYTES, getsizeof=lambda entry: entry[0]
        )
        self._lock = Lock()  # pages record networks in several threads

    def get(self, key: Hashable) -> Value | None:
        """The value of a key, or None."""
        with self._lock:
            entry = self._entries.get(key)
        return None if entry is None else entry[2]

    def put(self, key: Hashable, read: Iterable[Dependence], value: Value, computed: Iterable[Dependence] = ()) -> None:
        """Remember a value.

        Args:
            read: the dependences in the key.
            computed: the dependences in the value.
        """
        kept = tuple(read)
        size = _ENTRY_BYTES + sum(map(_bytes, (*kept, *computed)))
        if size <= _MAX_ENTRY_BYTES:
            with self._lock:
                self._entries[key] = (size, kept, value)

    def get_or_compute(self, key: Hashable, read: Iterable[Dependence], compute: Callable[[], Value]) -> Value:
        """The value of a key, computed where it is not known; it holds no dependences."""
        value = self.get(key)
        if value is None:
            value = compute()
            self.put(key, read, value)
        return value


def identity(axes: Axes | None) -> Hashable:
    """Stands for the dependences of a tensor in a key."""
    return None if axes is None else tuple(map(id, axes))


def _bytes(axis: Dependence) -> int:
    tensors: list[Any] = [axis.low, axis.high, axis.position, axis.second_position]
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors if tensor is not None)
