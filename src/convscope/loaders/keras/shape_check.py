"""A network run once before it is used, to name the layer whose weights do not fit or whose output is too large.

It runs on zeros, if no tensor is larger than its weights explain; otherwise on shapes alone. For these PyTorch imports
several seconds of Python, which the networks of most files do not need.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import LoadError
from convscope.loaders.size_guard import bounded_sizes

_MAX_ELEMENTS = 2**30
"""The largest output of a layer for one input."""
_MAX_INPUT_ELEMENTS = 2**19
"""Larger inputs are not computed with only to see whether the network takes them."""


def check_shapes(module: nn.Module, *shapes: tuple[int, ...]) -> None:
    """Run a network on inputs of these shapes, without allocating more than its weights explain.

    Args:
        module: the network.
        shapes: the shape of a batch of each input.

    Raises:
        LoadError: a layer does not accept what the one before it gives, or gives more than fits in memory.
    """
    if sum(map(math.prod, shapes)) <= _MAX_INPUT_ELEMENTS:
        zeros = [torch.zeros(shape, dtype=torch.float32, device="cpu") for shape in shapes]
        if bounded_outputs(module, *zeros) is not None:
            return
    states = {name: tensor.to("meta") for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
    for shape in shapes:
        if not math.prod(shape) <= _MAX_ELEMENTS:
            raise LoadError(f"the network takes inputs of the shape {shape}, which is more than fits in memory")
    inputs = tuple(torch.empty(shape, dtype=torch.float32, device="meta") for shape in shapes)
    with torch.no_grad(), _observed(module) as running:
        try:
            torch.func.functional_call(module, states, inputs)
        except LoadError:
            raise
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            NotImplementedError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            reason = " ".join(str(error).split())[:200]
            where = f"layer {running[-1]!r}" if running else "the network"
            raise LoadError(f"the weights do not fit: {where} fails on its input: {reason}") from error


def bounded_outputs(module: nn.Module, *inputs: Tensor) -> list[Tensor] | None:
    """The outputs of a network for a batch of each input, if no tensor is larger than its weights explain; else None.

    None, too, for inputs that are large themselves, and where the network fails: `check_shapes` says why.
    """
    if sum(part[:1].numel() for part in inputs) > _MAX_INPUT_ELEMENTS:
        return None
    stored = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    try:
        with torch.no_grad(), bounded_sizes(stored, 0):
            outputs = module(*inputs)
    except Exception:  # the run on shapes names the layer
        return None
    return list(outputs.values()) if isinstance(outputs, dict) else [outputs]


@contextmanager
def _observed(module: nn.Module) -> Iterator[list[str]]:
    """While it is open, the list holds the layers that are running, the innermost last; outputs are measured."""
    running: list[str] = []
    handles = []

    def enter(address: str) -> Any:
        return lambda module, inputs: running.append(address)

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.numel() > _MAX_ELEMENTS:
            raise LoadError(
                f"layer {running[-1]!r} gives {output.numel():,} numbers for one input, which is more than fits in "
                "memory"
            )
        running.pop()

    for address, layer in module.named_modules():
        if address:
            handles += [layer.register_forward_pre_hook(enter(address)), layer.register_forward_hook(leave)]
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()
