"""Restore a network's state after a run, also when the run raises.

Explaining a network needs it in eval mode, with frozen parameters and with hooks on it, and user code may raise in the
middle of a forward. `preserve_state` records everything that a run can change and restores it afterwards.
"""

import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.engine.network.attribute_snapshot import AttributeSnapshot
from convscope.engine.network.module_state import Generator
from convscope.engine.network.tensor_contents import TensorContents
from convscope.errors import ModelFailed


@contextmanager
def preserve_state(
    modules: Sequence[nn.Module], *, frozen: bool = True, attributes: AttributeSnapshot | None = None
) -> Iterator[TensorContents]:
    """Put a network, given as all its modules, in eval mode with frozen parameters, and restore its state on exit.

    Restored: training flags, ``requires_grad``, ``.grad``, hooks, the bits and the memory of parameters, buffers and
    tensors in plain attributes; the attributes themselves, with the lists, dicts, sets, arrays, random number
    generators and plain objects in them; the generators of torch, NumPy and Python; the number of threads and the
    default dtype. Gradient recording is on inside the context, also when the caller is under ``no_grad`` or
    ``inference_mode``.

    Not restored: attributes of classes, global variables, what closures and hooks hold (networks in closures are
    restored), objects of installed packages' compiled classes, and what lies deeper than four containers below an
    attribute. A large parameter (of more than `tensor_contents.SMALL` numbers) that the first forward did not write to
    and a later one does cannot be restored: a warning names it, and later calls restore it.

    Args:
        frozen: whether parameters require no gradients inside the context.
        attributes: the attributes of the modules as they are now, if known.
    """
    parameters = [p for m in modules for p in list(m._parameters.values()) if p is not None]
    _check_parameters(parameters)
    training = _TrainingFlags(modules)
    gradients = _GradientState(parameters)
    settings = _ProcessSettings(next((p.device for p in parameters), torch.device("cpu")))
    with torch.inference_mode(False), torch.no_grad():
        contents = _NetworkContents(AttributeSnapshot(modules) if attributes is None else attributes)
    with ExitStack() as stack:
        for saved in (settings, gradients, training, contents):  # restored in the opposite order
            stack.callback(saved.restore)
        training.set_eval()
        if frozen:
            gradients.freeze()
        with torch.inference_mode(False), torch.enable_grad():
            yield contents.tensors
    if contents.lost:
        _warn_of_lost(contents.lost, modules)


def _check_parameters(parameters: list[nn.Parameter]) -> None:
    """Refuse parameters that no gradient can pass through, before anything is changed."""
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in parameters):
        raise ModelFailed("the network has a lazy layer that has no size yet: run it once on an input")
    if any(p.is_inference() for p in parameters):
        raise ModelFailed("the network's parameters were made under torch.inference_mode: build it outside of it")


def _warn_of_lost(lost: list[Tensor], modules: Sequence[nn.Module]) -> None:
    """Name the tensors that were written to and could not be restored."""
    names = {id(t): name for m in modules[:1] for name, t in (*m.named_parameters(), *m.named_buffers())}
    listed = ", ".join(names.get(id(t), f"a tensor of shape {tuple(t.shape)}") for t in lost)
    warnings.warn(
        f"the network wrote to its own weights in eval mode ({listed}), which its first forward had not done, so they "
        "could not be restored; from now on they will be",
        stacklevel=2,
    )


def backward_hooks(modules: Sequence[nn.Module]) -> tuple[int, ...]:
    """The ids of the hooks that see gradients in the backward pass; torch uses each id only once."""
    tables = (m.__dict__.get(name) for m in modules for name in ("_backward_hooks", "_backward_pre_hooks"))
    return tuple(hook_id for table in tables if table for hook_id in table)


class _TrainingFlags:
    """The training flags of modules."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.flags = [(m, self._is_training(m)) for m in modules]

    def set_eval(self) -> None:
        for module, training in self.flags:
            if training:
                module.training = False

    def restore(self) -> None:
        """Restore what differs: the flags of scripted modules, which are stored outside Python attributes."""
        for module, training in self.flags:
            if self._is_training(module) != training:
                module.training = training

    @staticmethod
    def _is_training(module: nn.Module) -> bool:
        """Whether a module is in training mode; frozen scripts (torch.jit.freeze) no longer have modes."""
        return bool(getattr(module, "training", False))


class _GradientState:
    """``requires_grad`` and ``grad`` of parameters."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.saved = [(p, p.requires_grad, p.grad) for p in parameters]

    def freeze(self) -> None:
        for parameter, _, _ in self.saved:
            if parameter.requires_grad:
                parameter.requires_grad_(False)

    def restore(self) -> None:
        for parameter, requires_grad, grad in self.saved:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
            if parameter.grad is not grad:
                parameter.grad = grad


class _NetworkContents:
    """The values of a network's attributes, containers, arrays, generators and tensors."""

    def __init__(self, attributes: AttributeSnapshot) -> None:
        self.attributes, state = attributes, attributes.state
        self.arrays = [(a, a.copy()) for a in state.arrays.values() if not a.dtype.hasobject]
        self.generators = [(g, _generator_state(g)) for g in state.generators.values()]
        self.tensors = TensorContents(state.tensors.values(), always=state.buffers)
        self.lost: list[Tensor] = []
        """The tensors that could not be restored."""

    def restore(self) -> None:
        with torch.inference_mode(False), torch.no_grad():
            self.attributes.restore()
            for array, before in self.arrays:
                if array.tobytes() != before.tobytes():
                    array[...] = before
            for generator, generator_state in self.generators:
                _set_generator_state(generator, generator_state)
            self.lost = self.tensors.restore()


class _ProcessSettings:
    """Global random number generators and settings of the process that a forward may change."""

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


def _generator_state(generator: Generator) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.getstate() if isinstance(generator, random.Random) else generator.get_state()


def _set_generator_state(generator: Generator, generator_state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = generator_state
    elif isinstance(generator, random.Random):
        generator.setstate(generator_state)
    else:
        generator.set_state(generator_state)
