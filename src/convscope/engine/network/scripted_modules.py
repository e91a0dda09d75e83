"""Networks whose layers are hidden because PyTorch has packaged them: scripted, traced or exported networks.

A layer inside a scripted network accepts hooks but never calls them. An exported program runs as one graph of
operations; the modules that remain of its layers only hold weights and do not run.
"""

import torch
from torch import fx, nn

from convscope.engine.context.ports import layer_of

_SCRIPTED = (
    "layer {0!r} is scripted or traced (TorchScript), so hooks on it never run: open the network from its source; "
    "lenses that use only the gradient of the input work without that"
)
_EXPORTED = (
    "layer {0!r} holds weights of an exported program (torch.export) and does not run as a layer: open the network "
    "from its source, or its program as layers, torch.export.unflatten(program)"
)

FIXED_SIZE = "it was exported (torch.export) for inputs of that size alone: export it with dynamic_shapes"
"""Why an exported program refuses an input, and what to do."""


def is_scripted(module: nn.Module) -> bool:
    """Whether a module is scripted or traced (torch.jit)."""
    return isinstance(module, torch.jit.ScriptModule)


def is_exported(network: nn.Module) -> bool:
    """Whether a network is the module of an exported program: one graph of ATen operations."""
    if not isinstance(network, fx.GraphModule):
        return False
    targets = (node.target for node in network.graph.nodes if node.op == "call_function")
    return any(isinstance(target, torch._ops.OpOverload) and str(target).startswith("aten.") for target in targets)


def is_unflattened(module: nn.Module) -> bool:
    """Whether a module is a part of an exported program that was converted back to layers."""
    return type(module).__module__ == "torch.export.unflatten"


def unreached_message(network: nn.Module, address: str, why: str = " (a branch not taken)") -> str:
    """The error message for a layer that did not run in a forward."""
    if is_scripted(dict(network.named_modules()).get(layer_of(address), network)):
        return scripted_layer_message(address)
    if _in_exported(network, layer_of(address)):
        return _EXPORTED.format(address)
    return f"layer {address!r} was never reached in this forward{why}: choose another layer"


def scripted_layer_message(address: str) -> str:
    """The error message for a layer on which hooks never run."""
    return _SCRIPTED.format(address)


def hidden_layers_hint(network: nn.Module, noun: str) -> str:
    """The end of an error message if a part of the network is packaged and hides its ``noun``; empty otherwise."""
    if any(map(is_scripted, network.modules())):
        return (
            f"; parts of it are traced or scripted (torch.jit), which hides their {noun}: open the network from its "
            "source, or use a lens that needs no layer"
        )
    if any(map(is_exported, network.modules())):
        return (
            f"; it is an exported program (torch.export), which hides its {noun}: open the network from its source, "
            "or its program as layers, torch.export.unflatten(program)"
        )
    if any(map(is_unflattened, network.modules())):
        return f"; it comes from an exported program (torch.export), which hides its {noun}: open it from its source"
    return ""


def _in_exported(network: nn.Module, address: str) -> bool:
    """Whether a layer belongs to an exported program and so never runs."""
    parts = address.split(".")
    modules = dict(network.named_modules())
    return any(is_exported(modules[parent]) for n in range(len(parts)) if (parent := ".".join(parts[:n])) in modules)
