"""Addresses of the inputs and outputs of a layer.

``conv2`` is the first output of ``conv2``, ``conv2:input`` its first input, ``add:input1`` the second input of ``add``,
``lstm:output1`` the second output of ``lstm``. Tensors in tuples, lists and dicts are counted in their order.
"""

import re
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.hooks import RemovableHandle

from convscope.errors import LayerError

_ADDRESS = re.compile(r"^(?P<layer>.+):(?P<side>input|output)(?P<number>\d*)$")


class Port(NamedTuple):
    """One of the input or output tensors of a layer."""

    layer: str
    side: str
    number: int


def port_of(address: str) -> Port | None:
    """Parse ``layer:input``, ``layer:input1`` or ``layer:output1``; None for the address of a layer itself."""
    match = _ADDRESS.match(address)
    return None if match is None else Port(match["layer"], match["side"], int(match["number"] or 0))


def layer_of(address: str) -> str:
    """The layer of an address, without its port."""
    port = port_of(address)
    return address if port is None else port.layer


def tensors_of(nested: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts, in their order."""
    return [leaf for leaf in tree_flatten(nested)[0] if isinstance(leaf, Tensor)]


def on_port(module: nn.Module, port: Port, hook: Any) -> RemovableHandle:
    """Call ``hook(layer, inputs, tensor)`` with the tensor at a port; a tensor that it returns replaces it."""
    layer = module.get_submodule(port.layer)

    def before_forward(layer: nn.Module, args: Any, named: Any) -> Any:
        return _with_hook(port, (args, named), lambda tensor: hook(layer, (), tensor))

    def after_forward(layer: nn.Module, inputs: Any, output: Any) -> Any:
        return _with_hook(port, output, lambda tensor: hook(layer, inputs, tensor))

    if port.side == "input":
        return layer.register_forward_pre_hook(before_forward, with_kwargs=True)
    return layer.register_forward_hook(after_forward)


def _with_hook(port: Port, nested: Any, hook: Any) -> Any:
    leaves, structure = tree_flatten(nested)
    indices = [index for index, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    if port.number >= len(indices):
        raise LayerError(no_such_port(port, len(indices)))
    replacement = hook(leaves[indices[port.number]])
    if replacement is None:
        return None
    leaves[indices[port.number]] = replacement
    return tree_unflatten(leaves, structure)


def no_such_port(port: Port, count: int) -> str:
    """The message for a port that a layer does not have."""
    verb = "takes" if port.side == "input" else "gives"
    last = f"the last is {port.layer}:{port.side}{count - 1 or ''}" if count else "choose another layer"
    return f"layer {port.layer!r} {verb} {count} tensor{'s' * (count != 1)}: {last}"
