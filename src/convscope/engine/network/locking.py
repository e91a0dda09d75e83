"""Mutual exclusion of threads that run networks which share anything: a module, a weight, a container.

A call acquires all objects below its network at once, or waits until no other thread holds any of them; objects that
the thread already holds need not be acquired again. Only held objects are stored, so nothing leaks.
"""

import threading
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager

from convscope.engine.network.attribute_snapshot import AttributeSnapshot
from convscope.errors import ModelFailed

_CHANGED = threading.Condition()
_HOLDERS: dict[int, int] = {}
"""The thread that holds an object, by the object's ``id``; the holder keeps the object alive."""
_WAITING_FOR: dict[int, Set[int]] = {}
"""By waiting thread, the ids of the objects that it waits for."""


@contextmanager
def exclusive_access(read: Callable[[], AttributeSnapshot]) -> Iterator[tuple[AttributeSnapshot, bool]]:
    """Hold all objects in the snapshot that ``read`` makes; yields it, and whether this thread held all its modules.

    Raises:
        ModelFailed: the wait would be a deadlock.
    """
    thread = threading.get_ident()
    with _CHANGED:
        try:
            while True:
                attributes = read()  # again each time: the other thread may have changed them
                required = attributes.state.ids
                if not _other_holders(required, thread):
                    break
                _refuse_deadlock(required, thread)
                _WAITING_FOR[thread] = required
                _CHANGED.wait()
        finally:
            _WAITING_FOR.pop(thread, None)
        already_held = all(module in _HOLDERS for module in attributes.state.modules)
        acquired = [key for key in required if key not in _HOLDERS]
        _HOLDERS.update(dict.fromkeys(acquired, thread))
    try:
        yield attributes, already_held
    finally:
        with _CHANGED:
            for key in acquired:
                del _HOLDERS[key]
            _CHANGED.notify_all()


def _other_holders(required: Set[int], thread: int) -> set[int]:
    """The other threads that hold any of the required objects."""
    return {_HOLDERS[key] for key in required & _HOLDERS.keys()} - {thread}


def _refuse_deadlock(required: Set[int], thread: int) -> None:
    """Refuse to wait for a thread that waits, directly or through others, for this one."""
    pending, checked = list(_other_holders(required, thread)), set()
    while pending:
        other = pending.pop()
        if other == thread:
            raise ModelFailed(
                "two threads wait for each other: each runs one network and, within it, a lens on the network that the "
                "other runs; call the lenses one after the other, or from one thread"
            )
        if other not in checked:
            checked.add(other)
            pending.extend(_other_holders(_WAITING_FOR.get(other, frozenset()), other))
