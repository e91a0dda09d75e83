"""Read the outputs of layers during a forward, start a graph at them, replace them, or stop the forward there.

This does two things more than a forward hook. The next operation may overwrite a layer's output in place
(``vgg16.features.29`` is an in-place ReLU on ``features.28``), so the layer's own output is kept here and the network
continues with a copy. And gradients to a layer need no graph before it, so the forward runs without one up to the first
captured layer, whose output becomes a leaf.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from convscope.engine.context.ports import on_port, port_of
from convscope.engine.network.quantized import dequantized, quantized_like
from convscope.engine.network.scripted_modules import scripted_layer_message, unreached_message
from convscope.engine.network.vmap import UNDER_VMAP, under_vmap
from convscope.errors import LayerError, OutputError


class _StopForward(BaseException):
    """Raised to end a forward early; not an `Exception`, so that no ``except Exception`` in a network catches it."""


class Capture:
    """The outputs of captured layers by address; of a layer that runs several times, the output of the last call."""

    def __init__(self, module: nn.Module, addresses: Iterable[str]) -> None:
        self.module = module
        self.addresses = tuple(dict.fromkeys(addresses))
        self.outputs: dict[str, Tensor] = {}
        self.unreached_reason = " (a branch not taken)"
        """Why a layer may not have run, for the error message."""

    def __getitem__(self, address: str) -> Tensor:
        if address not in self.outputs:
            raise LayerError(unreached_message(self.module, address, self.unreached_reason))
        return self.outputs[address]


@contextmanager
def capture(module: nn.Module, addresses: Iterable[str], *, differentiable: bool = False) -> Iterator[Capture]:
    """Capture the outputs of the layers at ``addresses`` while the network runs inside the context.

    Args:
        differentiable: start a graph at the first of these layers that runs, so that gradients reach all of them.
            The caller runs the network under ``no_grad``; recording is switched on at that layer.
    """
    captured = Capture(module, addresses)

    def hook_for(address: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            tensor = _float_tensor(output, address)
            if differentiable:
                if under_vmap():
                    raise LayerError(f"layer {address!r} {UNDER_VMAP}")
                torch.set_grad_enabled(True)
                if not tensor.requires_grad:
                    tensor = tensor.detach().requires_grad_(True)
            captured.outputs[address] = tensor
            return _with_tensor(output, tensor.clone())  # quantised again, so that the lost gradient is noticed

        return hook

    handles = [on_forward(module, address, hook_for(address)) for address in captured.addresses]
    try:
        yield captured
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replace_output(
    module: nn.Module, address: str, edit: Callable[[Tensor], Tensor], *, call: int = 1
) -> Iterator[None]:
    """Replace the output of the ``call``-th call of the layer at ``address`` by ``edit(output)``."""
    calls = 0

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        return _with_tensor(output, edit(_float_tensor(output, address))) if calls == call else None

    handle = on_forward(module, address, hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def stop_at(module: nn.Module, address: str, *, call: int = 1) -> Iterator[None]:
    """End the forward inside the context as soon as the layer at ``address`` has run ``call`` times."""
    calls = 0

    def stop(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise _StopForward

    handle = on_forward(module, address, stop)
    try:
        with suppress(_StopForward):
            yield
    finally:
        handle.remove()


def on_forward(module: nn.Module, address: str, hook: Any) -> Any:
    """Register ``hook`` to run after the layer at ``address``, or on one of its inputs or further outputs.

    Returns a handle that removes the hook.
    """
    port = port_of(address)
    try:
        if port is not None:
            return on_port(module, port, hook)
        return module.get_submodule(address).register_forward_hook(hook)
    except RuntimeError as error:  # torch refuses hooks on scripted modules
        raise LayerError(scripted_layer_message(address)) from error


def first_tensor(output: Any) -> Tensor | None:
    """A layer's output, or the first tensor in it if that is a tuple, a list or a dict."""
    if isinstance(output, Tensor):
        return output
    members = output.values() if isinstance(output, dict) else output if isinstance(output, (tuple, list)) else ()
    return next((member for member in members if isinstance(member, Tensor)), None)


def _float_tensor(output: Any, address: str) -> Tensor:
    """The floating-point tensor of a layer's output."""
    tensor = first_tensor(output)
    if tensor is None:
        raise OutputError(f"layer {address!r} gives {type(output).__name__}, not a tensor: choose another layer")
    refuse_complex(tensor, address)
    tensor = dequantized(tensor)
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise LayerError(
            f"layer {address!r} gives whole numbers ({kind}), which have no gradient: choose another layer"
        )
    return tensor


def refuse_complex(tensor: Tensor, address: str) -> None:
    """Refuse a complex layer output: maps have real values, and neither part may be dropped silently.

    Raises:
        LayerError: the output is complex.
    """
    if tensor.is_complex():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise LayerError(
            f"layer {address!r} gives complex numbers ({kind}), which cannot be shown as a map of real values: choose "
            "the layer after the inverse transform, or the layer before the transform"
        )


def _with_tensor(output: Any, tensor: Tensor) -> Any:
    """``output`` with its first tensor replaced."""
    original = first_tensor(output)
    assert original is not None, "callers have found a tensor in this output"
    tensor = quantized_like(tensor, original)
    if isinstance(output, Tensor):
        return tensor
    if isinstance(output, dict):
        return type(output)({key: tensor if value is original else value for key, value in output.items()})
    members = [tensor if member is original else member for member in output]
    return type(output)(*members) if hasattr(output, "_fields") else type(output)(members)
