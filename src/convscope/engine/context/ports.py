"""Addresses of what goes into a layer and of what comes out of it.

``conv2`` is the first tensor that ``conv2`` gives. ``conv2:input`` is the first one it takes, ``add:input1`` the
second, ``lstm:output1`` the second one it gives; the tensors within tuples, lists and dicts are counted in their order.
"""

import re
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.hooks import RemovableHandle

from convscope.errors import LayerError

_WRITTEN = re.compile(r"^(?P<layer>.+):(?P<side>input|output)(?P<number>\d*)$")


class Port(NamedTuple):
    """One of the tensors that a layer takes or gives."""

    layer: str
    side: str
    number: int


def port_of(address: str) -> Port | None:
    """Read ``layer:input``, ``layer:input1`` or ``layer:output1``; None where ``address`` is that of a layer."""
    written = _WRITTEN.match(address)
    return None if written is None else Port(written["layer"], written["side"], int(written["number"] or 0))


def layer_of(address: str) -> str:
    """The layer that an address names, whichever of its tensors is meant."""
    port = port_of(address)
    return address if port is None else port.layer


def tensors_of(things: Any) -> list[Tensor]:
    """The tensors within nested tuples, lists and dicts, in their order."""
    return [leaf for leaf in tree_flatten(things)[0] if isinstance(leaf, Tensor)]


def on_port(module: nn.Module, port: Port, hook: Any) -> RemovableHandle:
    """Have ``hook(layer, inputs, tensor)`` called with the tensor at a port; a tensor it returns takes its place."""
    layer = module.get_submodule(port.layer)

    def entering(layer: nn.Module, args: Any, named: Any) -> Any:
        return _with_hook(port, (args, named), lambda tensor: hook(layer, (), tensor))

    def leaving(layer: nn.Module, inputs: Any, output: Any) -> Any:
        return _with_hook(port, output, lambda tensor: hook(layer, inputs, tensor))

    if port.side == "input":
        return layer.register_forward_pre_hook(entering, with_kwargs=True)
    return layer.register_forward_hook(leaving)


def _with_hook(port: Port, things: Any, hook: Any) -> Any:
    leaves, structure = tree_flatten(things)
    numbers = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    if port.number >= len(numbers):
        raise LayerError(no_such_port(port, len(numbers)))
    changed = hook(leaves[numbers[port.number]])
    if changed is None:
        return None
    leaves[numbers[port.number]] = changed
    return tree_unflatten(leaves, structure)


def no_such_port(port: Port, count: int) -> str:
    """The refusal of a tensor that a layer does not have."""
    verb = "takes" if port.side == "input" else "gives"
    last = f"the last is {port.layer}:{port.side}{count - 1 or ''}" if count else "choose another layer"
    return f"layer {port.layer!r} {verb} {count} tensor{'s' * (count != 1)}: {last}"
