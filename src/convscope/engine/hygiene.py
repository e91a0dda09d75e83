"""The model comes back exactly as it went in, whatever happens in between.

Explaining needs the network in eval mode and its parameters frozen, and puts hooks on it; user code may raise in
the middle of a forward. `untouched` writes down everything a run could disturb and puts it back.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import ModelFailed

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Put ``module`` in eval mode with frozen parameters, and give it back as it was.

    Kept: training flags, ``requires_grad``, ``.grad``, buffers, hooks, in-place flags, the random number
    generators of torch, NumPy and Python, the number of threads and the default dtype. Gradient recording is
    on within, also when the caller is under ``no_grad`` or ``inference_mode``.
    """
    modules = list(module.modules())
    _refuse_unready(modules)
    parameters = [p for m in modules for p in m._parameters.values() if p is not None]
    flags = [(m, m.training, m.__dict__.get("inplace")) for m in modules]
    wanted = [(p, p.requires_grad, p.grad) for p in parameters]
    buffers = _Buffers(modules)
    hooks = {id(table): (table, table.copy()) for table in _hook_tables(modules)}
    surroundings = _Surroundings(next((p.device for p in parameters), torch.device("cpu")))
    try:
        for m, training, _ in flags:
            if training:
                m.training = False
        for p in parameters:
            if p.requires_grad:
                p.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for m, training, inplace in flags:
            if m.training != training:
                m.training = training
            if inplace is not None:
                m.__dict__["inplace"] = inplace
        for p, requires_grad, grad in wanted:
            if p.requires_grad != requires_grad:
                p.requires_grad_(requires_grad)
            if p.grad is not grad:
                p.grad = grad
        for table in _hook_tables(modules):
            if id(table) not in hooks:
                table.clear()
        for table, before in hooks.values():
            if table != before:
                table.clear()
                table.update(before)
        buffers.restore()
        surroundings.restore()


def _refuse_unready(modules: list[nn.Module]) -> None:
    """Refuse parameters that no gradient can pass, before anything is touched."""
    for m in modules:
        for p in m._parameters.values():
            if isinstance(p, nn.parameter.UninitializedParameter):
                raise ModelFailed(
                    f"the network has a lazy {type(m).__name__} that has no size yet: run it once on an input"
                )
            if p is not None and p.is_inference():
                raise ModelFailed(
                    "the network's parameters were made under torch.inference_mode: build it outside of it"
                )


def _hook_tables(modules: list[nn.Module]) -> Iterator[dict[int, Any]]:
    """The tables of hooks that have something in them."""
    for m in modules:
        own = m.__dict__
        for name in _HOOKS:
            if table := own.get(name):
                yield table


class _Buffers:
    """A copy of every buffer, put back only where a run wrote to it or swapped it."""

    def __init__(self, modules: list[nn.Module]) -> None:
        self.kept: list[tuple[dict[str, Any], str, Tensor, Tensor, int]] = []
        with torch.no_grad():
            for m in modules:
                for name, buffer in m._buffers.items():
                    if buffer is not None:
                        self.kept.append((m._buffers, name, buffer, buffer.clone(), _version(buffer)))

    def restore(self) -> None:
        for owner, name, buffer, copy, version in self.kept:
            if _version(buffer) != version:
                with torch.no_grad():
                    buffer.copy_(copy)
            if isinstance(owner, dict) and owner.get(name) is not buffer:
                owner[name] = buffer


class _Surroundings:
    """Random number generators and settings of the process that a forward may move."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.torch_state = torch.get_rng_state()
        self.device_state = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self.numpy_state = np.random.get_state()  # noqa: NPY002 - the user's global generator
        self.python_state = random.getstate()
        self.threads = torch.get_num_threads()
        self.dtype = torch.get_default_dtype()

    def restore(self) -> None:
        torch.set_rng_state(self.torch_state)
        if self.device_state is not None:
            torch.cuda.set_rng_state(self.device_state, self.device)
        np.random.set_state(self.numpy_state)  # noqa: NPY002
        random.setstate(self.python_state)
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        if torch.get_default_dtype() != self.dtype:
            torch.set_default_dtype(self.dtype)


def _version(tensor: Tensor) -> int:
    """How often the tensor was written to in place; inference tensors do not count that."""
    return -1 if tensor.is_inference() else tensor._version
