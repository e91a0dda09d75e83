"""One thread at a time for networks that share anything: a module, a weight, a cache.

A call claims everything below its network at once, or waits until no other thread holds any of it; what the thread
holds already is its own. Claims are kept only while they are held, so nothing leaks.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from convscope.engine.network.module_state import ModuleState
from convscope.errors import ModelFailed

_CHANGED = threading.Condition()
_HOLDERS: dict[int, int] = {}
"""Which thread holds an object, by the object's ``id``; whoever holds it keeps it alive."""
_WANTED: dict[int, set[int]] = {}
"""What the threads that wait are waiting for."""


@contextmanager
def exclusive(read_state: Callable[[], ModuleState]) -> Iterator[tuple[ModuleState, bool]]:
    """Hold everything that ``read_state`` finds; the state, and whether this thread held all its modules before.

    Raises:
        ModelFailed: two threads would wait for each other for ever.
    """
    thread = threading.get_ident()
    with _CHANGED:
        try:
            while True:
                state = read_state()  # anew each time: whoever was waited for may have changed it
                wanted = state.ids()
                if not _others(wanted, thread):
                    break
                _refuse_deadlock(wanted, thread)
                _WANTED[thread] = wanted
                _CHANGED.wait()
        finally:
            _WANTED.pop(thread, None)
        inside_already = all(module in _HOLDERS for module in state.modules)
        claimed = [key for key in wanted if key not in _HOLDERS]
        _HOLDERS.update(dict.fromkeys(claimed, thread))
    try:
        yield state, inside_already
    finally:
        with _CHANGED:
            for key in claimed:
                del _HOLDERS[key]
            _CHANGED.notify_all()


def _others(wanted: set[int], thread: int) -> set[int]:
    """The other threads that hold something of what is wanted."""
    return {_HOLDERS[key] for key in wanted & _HOLDERS.keys()} - {thread}


def _refuse_deadlock(wanted: set[int], thread: int) -> None:
    """Refuse to wait for a thread that, itself or through others, waits for this one."""
    pending, checked = list(_others(wanted, thread)), set()
    while pending:
        other = pending.pop()
        if other == thread:
            raise ModelFailed(
                "two threads wait for each other: each runs one network and, within it, a lens on the network that the "
                "other runs; call the lenses one after the other, or from one thread"
            )
        if other not in checked:
            checked.add(other)
            pending.extend(_others(_WANTED.get(other, set()), other))
