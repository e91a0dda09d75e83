"""Settings of torch that a person has switched on around a call: a default device, autocast.

They are meant for the network. In a lens's own arithmetic a default device would put small tensors where they do not
belong (also those that torch's own optimisers make), and autocast would round sums of scores to three digits. So within
`set_aside` they are off, and `put_back` switches them on again around each run of the network.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Surroundings:
    """A default device other than the CPU, and the precision of autocast by kind of device, where they are on."""

    device: torch.device | None
    autocast: tuple[tuple[str, torch.dtype], ...]

    def said(self) -> tuple[str, ...]:
        """What every value computed under autocast must say."""
        kinds = sorted({str(dtype).removeprefix("torch.") for _, dtype in self.autocast})
        return tuple(f"the network ran under torch.autocast ({kind}), which was on around the call" for kind in kinds)


_aside: ContextVar[Surroundings | None] = ContextVar("aside", default=None)


@contextmanager
def set_aside(kind: str) -> Iterator[Surroundings]:
    """Compute without a default device and without autocast within; ``kind`` is the network's kind of device."""
    before, now = _aside.get(), _surroundings(kind)
    if before is not None and now == Surroundings(None, ()):  # a lens called by a lens
        yield before
        return
    token = _aside.set(now)
    try:
        with ExitStack() as stack:
            if now.device is not None:
                stack.enter_context(torch.device("cpu"))
            for each, _ in now.autocast:
                stack.enter_context(torch.autocast(each, enabled=False))
            yield now
    finally:
        _aside.reset(token)


@contextmanager
def put_back() -> Iterator[None]:
    """Have the network run as the person would have run it."""
    now = _aside.get()
    if now is None or now == Surroundings(None, ()):
        yield
        return
    with ExitStack() as stack:
        if now.device is not None:
            stack.enter_context(now.device)
        for kind, dtype in now.autocast:
            stack.enter_context(torch.autocast(kind, dtype=dtype))
        yield


def as_now(kind: str) -> Callable[[], AbstractContextManager[None]]:
    """A way to have the settings that are on now again later, whatever is on then; ``kind`` as in `set_aside`."""
    now = _surroundings(kind)

    @contextmanager
    def again() -> Iterator[None]:
        on = dict(now.autocast)
        with ExitStack() as stack:
            stack.enter_context(now.device or torch.device("cpu"))
            for each in _kinds(kind):
                stack.enter_context(torch.autocast(each, dtype=on.get(each), enabled=each in on))
            yield

    return again


def _surroundings(kind: str) -> Surroundings:
    device = torch.get_default_device()
    autocast = tuple((each, torch.get_autocast_dtype(each)) for each in _kinds(kind) if torch.is_autocast_enabled(each))
    return Surroundings(None if device.type == "cpu" else device, autocast)


def _kinds(kind: str) -> list[str]:
    """The kinds of devices on which autocast may be on around a network."""
    return [each for each in dict.fromkeys(("cpu", kind)) if torch.amp.is_autocast_available(each)]
