"""The model comes back exactly as it went in, whatever happens in between.

Explaining needs the network in eval mode and its parameters frozen, and puts hooks on it; user code may raise in
the middle of a forward. `untouched` writes down everything a run could disturb and puts it back.
"""

import random
from collections.abc import Iterator, Sequence
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
def untouched(modules: Sequence[nn.Module], *, frozen: bool = True) -> Iterator[None]:
    """Put a network, given as all its modules, in eval mode with frozen parameters, and give it back as it was.

    Kept: training flags, ``requires_grad``, ``.grad``, buffers, hooks, in-place flags, the random number
    generators of torch, NumPy and Python, the number of threads and the default dtype. Gradient recording is
    on within, also when the caller is under ``no_grad`` or ``inference_mode``.

    Args:
        frozen: whether parameters take no gradients within.
    """
    parameters = [p for m in modules for p in m._parameters.values() if p is not None]
    _refuse_unready(parameters)
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
            if frozen and p.requires_grad:
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


def _refuse_unready(parameters: list[nn.Parameter]) -> None:
    """Refuse parameters that no gradient can pass, before anything is touched."""
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in parameters):
        raise ModelFailed("the network has a lazy layer that has no size yet: run it once on an input")
    if any(p.is_inference() for p in parameters):
        raise ModelFailed("the network's parameters were made under torch.inference_mode: build it outside of it")


def _hook_tables(modules: Sequence[nn.Module]) -> Iterator[dict[int, Any]]:
    """The tables of hooks that have something in them."""
    for m in modules:
        own = m.__dict__
        for name in _HOOKS:
            if table := own.get(name):
                yield table


def backward_hooks(modules: Sequence[nn.Module]) -> tuple[int, ...]:
    """The numbers of the hooks that see gradients on their way back; torch gives each number once."""
    tables = (m.__dict__.get(name) for m in modules for name in ("_backward_hooks", "_backward_pre_hooks"))
    return tuple(number for table in tables if table for number in table)


class _Buffers:
    """A copy of every buffer, put back only where a run wrote to it or swapped it.

    Networks have hundreds of small buffers: those of a kind are copied in one stroke.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.places = [(m._buffers, name, b) for m in modules for name, b in m._buffers.items() if b is not None]
        self.versions = [_version(b) for _, _, b in self.places]
        kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for _, _, buffer in self.places:
            kinds.setdefault((buffer.dtype, buffer.device), []).append(buffer)
        with torch.no_grad():
            self.copies = [(b, torch.cat([one.reshape(-1) for one in b])) for b in kinds.values()]

    def restore(self) -> None:
        if any(_version(b) != version for (_, _, b), version in zip(self.places, self.versions, strict=True)):
            with torch.no_grad():
                for buffers, copy in self.copies:
                    for buffer, kept in zip(buffers, torch.split(copy, [b.numel() for b in buffers]), strict=True):
                        buffer.copy_(kept.view_as(buffer))
        for owner, name, buffer in self.places:
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
