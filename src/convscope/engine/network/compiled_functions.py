"""Functions that ``torch.compile`` has compiled run as they were written, so that their operations can be seen.

A compiled network is unwrapped by `Model`; this is for compiled functions and methods that a network calls. Modes that
observe operations would be compiled with them.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._C._dynamo.eval_frame import get_eval_frame_callback


class _Eager:
    """The stance ``force_eager`` of torch, which is one for all threads: the first that needs it sets it."""

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._stance: Any = None

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._stance = torch.compiler.set_stance("force_eager")
                self._stance.__enter__()

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._stance.__exit__(None, None, None)


_EAGER = _Eager()


@contextmanager
def compiled_functions_as_written() -> Iterator[None]:
    """Run compiled functions as they were written inside the context."""
    if "torch._dynamo" not in sys.modules or _compiling():  # nothing is compiled, and importing it takes long
        yield
        return
    _EAGER.enter()
    try:
        yield
    finally:
        _EAGER.leave()


def _compiling() -> bool:
    """Whether the caller itself runs in a compiled function, where torch does not allow to choose."""
    callback = get_eval_frame_callback()
    return callback is not None and callback is not False
