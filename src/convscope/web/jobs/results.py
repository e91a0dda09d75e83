"""What jobs have found, kept by content within a bound of memory."""

import threading
from collections import OrderedDict
from typing import Any

from convscope.values import Value

BOUND = 512 * 2**20
"""Bytes of results that are kept."""


class Results:
    """Values by what made them, the most recently used, within a bound of bytes."""

    def __init__(self, bound: int) -> None:
        self.bound, self.size = bound, 0
        self._kept: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Value | None:
        """What was kept for this key."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: str, value: Value) -> None:
        """Keep a value, and let go of those that were used least recently."""
        weight = weight_of(value)
        with self._lock:
            if key in self._kept:
                self.size -= self._kept.pop(key)[1]
            if weight > self.bound:
                return
            self._kept[key] = (value, weight)
            self.size += weight
            while self.size > self.bound:
                _, (_, freed) = self._kept.popitem(last=False)
                self.size -= freed


def weight_of(value: Value) -> int:
    """About how many bytes a value holds."""
    return 4096 + sum(_bytes(getattr(value, name)) for name in value.arrays)


def _bytes(thing: Any) -> int:
    if isinstance(thing, dict):
        return sum(map(_bytes, thing.values()))
    inner = getattr(thing, "tensor", None)  # a photo made from its tensor when somebody looks
    if inner is not None:
        return _bytes(inner)
    return int(getattr(thing, "nbytes", 0))
