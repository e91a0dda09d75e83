"""Results of jobs, cached by content within a memory limit."""

import threading
from typing import Any

from cachetools import LRUCache

from convscope.values import Value

MAX_BYTES = 512 * 2**20
"""Bytes of results that are kept."""


class ResultCache:
    """Values by key, within a limit of bytes; the least recently used are dropped first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._values: LRUCache[str, Value] = LRUCache(max_bytes, getsizeof=size_in_bytes)
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes of the values in the cache."""
        return int(self._values.currsize)

    def get(self, key: str) -> Value | None:
        """The value for this key, if it is still cached."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: str, value: Value) -> None:
        """Keep a value; one that alone exceeds the limit is not kept."""
        with self._lock:
            self._values.pop(key, None)
            if size_in_bytes(value) <= self._values.maxsize:
                self._values[key] = value


def size_in_bytes(value: Value) -> int:
    """The approximate memory of a value."""
    return 4096 + sum(_array_bytes(getattr(value, name)) for name in value.arrays)


def _array_bytes(array: Any) -> int:
    if isinstance(array, dict):
        return sum(map(_array_bytes, array.values()))
    tensor = getattr(array, "tensor", None)  # a photo that is decoded from its tensor on first access
    if tensor is not None:
        return _array_bytes(tensor)
    return int(getattr(array, "nbytes", 0))
