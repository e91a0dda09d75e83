"""Settings of torch that the caller has switched on: a default device, autocast.

They are meant for the network only. In a lens's own arithmetic, a default device would create small tensors on the
wrong device (also those that torch's optimizers create), and autocast would round sums of scores to three digits. They
are therefore off inside `without_caller_settings`, and `caller_settings` switches them on for each run of the network.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass

import torch

from convscope.engine.network.compiled_functions import compiled_functions_as_written
from convscope.values.facts import Fact


@dataclass(frozen=True)
class TorchSettings:
    """A default device other than the CPU, and the dtype of autocast by device type, if they are switched on."""

    device: torch.device | None
    autocast: tuple[tuple[str, torch.dtype], ...]

    def caveats(self) -> tuple[str, ...]:
        """The remarks for every value that is computed under autocast."""
        dtypes = sorted({str(dtype).removeprefix("torch.") for _, dtype in self.autocast})
        return tuple(
            Fact("the network ran under torch.autocast ({dtype}), which was on around the call", dtype=dtype)
            for dtype in dtypes
        )


_caller_settings: ContextVar[TorchSettings | None] = ContextVar("caller_settings", default=None)


@contextmanager
def without_caller_settings(device_type: str) -> Iterator[TorchSettings]:
    """Compute without a default device and without autocast; ``device_type`` is that of the network."""
    outer, current = _caller_settings.get(), _read_settings(device_type)
    if outer is not None and current == TorchSettings(None, ()):  # a lens called by a lens
        yield outer
        return
    token = _caller_settings.set(current)
    try:
        with ExitStack() as stack:
            if current.device is not None:
                stack.enter_context(torch.device("cpu"))
            for autocast_type, _ in current.autocast:
                stack.enter_context(torch.autocast(autocast_type, enabled=False))
            yield current
    finally:
        _caller_settings.reset(token)


@contextmanager
def caller_settings() -> Iterator[None]:
    """Run the network with the settings of the caller, and what it has compiled as it was written."""
    settings = _caller_settings.get() or TorchSettings(None, ())
    with ExitStack() as stack:
        stack.enter_context(compiled_functions_as_written())
        if settings.device is not None:
            stack.enter_context(settings.device)
        for device_type, dtype in settings.autocast:
            stack.enter_context(torch.autocast(device_type, dtype=dtype))
        yield


def current_settings(device_type: str) -> Callable[[], AbstractContextManager[None]]:
    """A context manager factory that restores the current settings later; ``device_type`` is that of the network."""
    settings = _read_settings(device_type)

    @contextmanager
    def restored() -> Iterator[None]:
        dtypes = dict(settings.autocast)
        with ExitStack() as stack:
            stack.enter_context(_default_device(settings.device or torch.device("cpu")))
            for name in _autocast_types(device_type):
                stack.enter_context(torch.autocast(name, dtype=dtypes.get(name), enabled=name in dtypes))
            yield

    return restored


def _default_device(device: torch.device) -> AbstractContextManager[object]:
    """``device`` as the default; nothing where it is already, because such a context slows down every operation."""
    return nullcontext() if torch.get_default_device() == device else device


def _read_settings(device_type: str) -> TorchSettings:
    device = torch.get_default_device()
    enabled = [name for name in _autocast_types(device_type) if torch.is_autocast_enabled(name)]
    autocast = tuple((name, torch.get_autocast_dtype(name)) for name in enabled)
    return TorchSettings(None if device.type == "cpu" else device, autocast)


def _autocast_types(device_type: str) -> list[str]:
    """The device types for which autocast may be switched on around a network."""
    return [name for name in dict.fromkeys(("cpu", device_type)) if torch.amp.is_autocast_available(name)]
