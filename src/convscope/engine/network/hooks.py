"""Read layers during one forward, make them the start of a graph, edit them, or stop there.

Two facts make this more than a forward hook. The next operation may overwrite a layer's output in place
(``vgg16.features.29`` is an in-place ReLU on ``features.28``): what is kept here is the layer's own output, and the
network goes on with a copy. And gradients to a layer need no graph below it: the forward runs without one until the
first watched layer, whose output becomes a leaf.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from convscope.engine.context.ports import on_port, port_of
from convscope.engine.network.packaged import unreached, watched_in_vain
from convscope.engine.network.quantized import dequantized, quantized_like
from convscope.engine.network.vmap import UNDER_VMAP, under_vmap
from convscope.errors import LayerError, OutputError


class _Stop(BaseException):
    """Raised to leave a forward once everything asked for was seen; no ``except Exception`` catches it."""


class Capture:
    """What was seen at each watched layer: address → tensor, the layer's last call where it is used several times."""

    def __init__(self, module: nn.Module, addresses: Iterable[str]) -> None:
        self.module = module
        self.addresses = tuple(dict.fromkeys(addresses))
        self.seen: dict[str, Tensor] = {}
        self.ended = " (a branch not taken)"
        """Why a layer may not have been reached."""

    def __getitem__(self, address: str) -> Tensor:
        if address not in self.seen:
            raise LayerError(unreached(self.module, address, self.ended))
        return self.seen[address]


@contextmanager
def capture(module: nn.Module, addresses: Iterable[str], *, differentiable: bool = False) -> Iterator[Capture]:
    """Watch the layers at ``addresses`` while the network runs within.

    Args:
        differentiable: start a graph at the first watched layer that runs, so that gradients reach all of them.
            The caller runs the network under ``no_grad``; recording is switched on at that layer.
    """
    caught = Capture(module, addresses)

    def watch(address: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            tensor = _the_tensor(output, address)
            if differentiable:
                if under_vmap():
                    raise LayerError(f"layer {address!r} {UNDER_VMAP}")
                torch.set_grad_enabled(True)
                if not tensor.requires_grad:
                    tensor = tensor.detach().requires_grad_(True)
            caught.seen[address] = tensor
            return _put_back(output, tensor.clone())  # quantised again, so that a gradient is seen to be lost there

        return hook

    handles = [on_forward(module, a, watch(a)) for a in caught.addresses]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def editing(module: nn.Module, address: str, edit: Callable[[Tensor], Tensor], *, call: int = 1) -> Iterator[None]:
    """Have the network go on with ``edit(output)`` when the layer at ``address`` runs for the ``call``-th time."""
    calls = 0

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        return _put_back(output, edit(_the_tensor(output, address))) if calls == call else None

    handle = on_forward(module, address, hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def stopping_at(module: nn.Module, address: str, *, call: int = 1) -> Iterator[None]:
    """Leave the forward within as soon as the layer at ``address`` has run ``call`` times."""
    calls = 0

    def stop(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise _Stop

    handle = on_forward(module, address, stop)
    try:
        with suppress(_Stop):
            yield
    finally:
        handle.remove()


def on_forward(module: nn.Module, address: str, hook: Any) -> Any:
    """Have ``hook`` called when the layer at ``address`` has run, or with one of the tensors it takes or gives.

    The handle removes it.
    """
    port = port_of(address)
    try:
        if port is not None:
            return on_port(module, port, hook)
        return module.get_submodule(address).register_forward_hook(hook)
    except RuntimeError as error:  # torch's word that a scripted module takes no hooks
        raise LayerError(watched_in_vain(address)) from error


def first_tensor(output: Any) -> Tensor | None:
    """The tensor of a layer's output, which may be a tuple, a list or a dict whose first tensor counts."""
    if isinstance(output, Tensor):
        return output
    members = output.values() if isinstance(output, dict) else output if isinstance(output, (tuple, list)) else ()
    return next((member for member in members if isinstance(member, Tensor)), None)


def _the_tensor(output: Any, address: str) -> Tensor:
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
    """Refuse a layer whose numbers are complex: a map is of real numbers, and neither part may be dropped in silence.

    Raises:
        LayerError: the layer gives complex numbers.
    """
    if tensor.is_complex():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise LayerError(
            f"layer {address!r} gives complex numbers ({kind}), which are no map of real values: choose the layer "
            "behind the inverse transform, or the one before the transform"
        )


def _put_back(output: Any, tensor: Tensor) -> Any:
    """``output`` with its first tensor replaced."""
    old = first_tensor(output)
    assert old is not None, "the layer was seen to give a tensor"
    tensor = quantized_like(tensor, old)
    if isinstance(output, Tensor):
        return tensor
    if isinstance(output, dict):
        return type(output)({key: tensor if value is old else value for key, value in output.items()})
    members = [tensor if member is old else member for member in output]
    return type(output)(*members) if hasattr(output, "_fields") else type(output)(members)
