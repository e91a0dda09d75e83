"""The model comes back exactly as it went in, whatever happens in between.

Explaining needs the network in eval mode and its parameters frozen, and puts hooks on it; user code may raise in
the middle of a forward. `untouched` writes down everything a run could disturb and puts it back.
"""

import operator
import random
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.engine.network.module_state import Container, Generator, ModuleState, module_state
from convscope.engine.network.tensor_contents import TensorContents
from convscope.errors import ModelFailed


@contextmanager
def untouched(
    modules: Sequence[nn.Module], *, frozen: bool = True, state: ModuleState | None = None
) -> Iterator[TensorContents]:
    """Put a network, given as all its modules, in eval mode with frozen parameters, and give it back as it was.

    Kept: training flags, ``requires_grad``, ``.grad``, hooks, the bits and the memory of parameters, buffers and
    tensors in plain attributes; the attributes themselves, with the lists, dicts, sets, arrays, random number
    generators and plain objects in them; the generators of torch, NumPy and Python; the number of threads and the
    default dtype. Gradient recording is on within, also when the caller is under ``no_grad`` or ``inference_mode``.

    Not kept: attributes of classes, global variables, what closures and hooks hold (networks in closures are kept),
    objects of installed packages' compiled classes, and what lies deeper than four containers below an attribute. A
    large parameter (of more than `tensor_contents.SMALL` numbers) to which the first forward did not write and a later
    one does cannot be put back: a warning names it, and it is put back from then on.

    Args:
        frozen: whether parameters take no gradients within.
        state: what `module_state` found below the modules, where that is known.
    """
    parameters = [p for m in modules for p in list(m._parameters.values()) if p is not None]
    _refuse_unready(parameters)
    flags = [(m, _trains(m)) for m in modules]
    wanted = [(p, p.requires_grad, p.grad) for p in parameters]
    surroundings = _Surroundings(next((p.device for p in parameters), torch.device("cpu")))
    with torch.inference_mode(False), torch.no_grad():
        kept = _Kept(module_state(modules) if state is None else state)
    try:
        for m, training in flags:
            if training:
                m.training = False
        for p in parameters:
            if frozen and p.requires_grad:
                p.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad():
            yield kept.contents
    finally:
        with torch.inference_mode(False), torch.no_grad():
            lost = kept.restore()
        for m, training in flags:
            if _trains(m) != training:  # of scripted modules, whose attributes live outside Python
                m.training = training
        for p, requires_grad, grad in wanted:
            if p.requires_grad != requires_grad:
                p.requires_grad_(requires_grad)
            if p.grad is not grad:
                p.grad = grad
        surroundings.restore()
    if lost:
        _warn_of(lost, modules)


def _trains(module: nn.Module) -> bool:
    """Whether a module is in training mode; frozen scripts (torch.jit.freeze) have no modes any more."""
    return bool(getattr(module, "training", False))


def _refuse_unready(parameters: list[nn.Parameter]) -> None:
    """Refuse parameters that no gradient can pass, before anything is touched."""
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in parameters):
        raise ModelFailed("the network has a lazy layer that has no size yet: run it once on an input")
    if any(p.is_inference() for p in parameters):
        raise ModelFailed("the network's parameters were made under torch.inference_mode: build it outside of it")


def _warn_of(lost: list[Tensor], modules: Sequence[nn.Module]) -> None:
    """Say which tensors were written to and could not be put back."""
    names = {id(t): name for m in modules[:1] for name, t in (*m.named_parameters(), *m.named_buffers())}
    which = ", ".join(names.get(id(t), f"a tensor of shape {tuple(t.shape)}") for t in lost)
    warnings.warn(
        f"the network wrote to its own weights in eval mode ({which}), which its first forward had not done, so they "
        "could not be put back; from now on they will be",
        stacklevel=2,
    )


def backward_hooks(modules: Sequence[nn.Module]) -> tuple[int, ...]:
    """The numbers of the hooks that see gradients in the backward pass; torch gives each number once."""
    tables = (m.__dict__.get(name) for m in modules for name in ("_backward_hooks", "_backward_pre_hooks"))
    return tuple(number for table in tables if table for number in table)


class KeptAttributes:
    """What was in the attributes of a network and in the containers that they hold."""

    def __init__(self, state: ModuleState) -> None:
        self.state = state
        self.containers = [(c, c.copy()) for c in state.containers.values()]

    def put_back(self) -> None:
        """Put back what has changed."""
        for container, before in self.containers:
            if not _same(container, before):
                _refill(container, before)
        for containers in (self.state.empty, self.state.hooks):
            if any(containers):
                for container in containers:
                    container.clear()


class _Kept:
    """What was in the attributes, containers and tensors of a network."""

    def __init__(self, state: ModuleState) -> None:
        self.attributes = KeptAttributes(state)
        self.arrays = [(a, a.copy()) for a in state.arrays.values() if not a.dtype.hasobject]
        self.generators = [(g, _generator_state(g)) for g in state.generators.values()]
        self.contents = TensorContents(state.tensors.values(), always=state.buffers)

    def restore(self) -> list[Tensor]:
        """Put back what has changed; the tensors that could not be."""
        self.attributes.put_back()
        for array, numbers in self.arrays:
            if array.tobytes() != numbers.tobytes():
                array[...] = numbers
        for generator, before in self.generators:
            _set_generator_state(generator, before)
        return self.contents.restore()


def _same(container: Container, before: Container) -> bool:
    """Whether a container holds the same objects in the same order."""
    if len(container) != len(before) or not all(map(operator.is_, container, before)):
        return False
    if isinstance(container, dict) and isinstance(before, dict):
        return all(map(operator.is_, container.values(), before.values()))
    return True


def _refill(container: Container, before: Container) -> None:
    container.clear()
    if isinstance(container, (list, deque)):
        container.extend(before)
    else:
        container.update(before)


def _generator_state(generator: Generator) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.getstate() if isinstance(generator, random.Random) else generator.get_state()


def _set_generator_state(generator: Generator, before: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = before
    elif isinstance(generator, random.Random):
        generator.setstate(before)
    else:
        generator.set_state(before)


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
