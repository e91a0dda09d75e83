"""Networks that PyTorch has packaged, which hides their layers: scripted, traced or exported ones.

A layer within a scripted network takes hooks and never calls them. An exported program runs as one graph of operations;
what is left of its layers holds their weights and does not run.
"""

import torch
from torch import fx, nn

from convscope.engine.context.ports import layer_of

_SCRIPTED = (
    "layer {0!r} is scripted or traced (TorchScript) and cannot be watched: open the network from its source; "
    "lenses of the input's gradient work as it is"
)
_EXPORTED = (
    "layer {0!r} holds weights of an exported program (torch.export) and does not run as a layer: open the network "
    "from its source, or its program as layers, torch.export.unflatten(program)"
)


def scripted(module: nn.Module) -> bool:
    """Whether a module is scripted or traced (torch.jit)."""
    return isinstance(module, torch.jit.ScriptModule)


def exported(network: nn.Module) -> bool:
    """Whether a network is the module of an exported program: one graph of PyTorch's lowest operations."""
    if not isinstance(network, fx.GraphModule):
        return False
    operations = (node.target for node in network.graph.nodes if node.op == "call_function")
    return any(isinstance(one, torch._ops.OpOverload) and str(one).startswith("aten.") for one in operations)


def unflattened(module: nn.Module) -> bool:
    """Whether a module is a part of an exported program that was turned into layers again."""
    return type(module).__module__ == "torch.export.unflatten"


def unreached(network: nn.Module, address: str, why: str = " (a branch not taken)") -> str:
    """In words: why nothing was seen of a layer."""
    if scripted(dict(network.named_modules()).get(layer_of(address), network)):
        return watched_in_vain(address)
    if _in_exported(network, layer_of(address)):
        return _EXPORTED.format(address)
    return f"layer {address!r} was never reached in this forward{why}: choose another layer"


def watched_in_vain(address: str) -> str:
    """In words: a scripted layer runs out of sight."""
    return _SCRIPTED.format(address)


def hidden_layers(network: nn.Module, what: str) -> str:
    """In words, behind a refusal: that a part of the network is packaged and hides its ``what``; nothing if none is."""
    if any(map(scripted, network.modules())):
        return (
            f"; parts of it are traced or scripted (torch.jit), which hides their {what}: open the network from its "
            "source, or use a lens that looks at no layer"
        )
    if any(map(exported, network.modules())):
        return (
            f"; it is an exported program (torch.export), which hides its {what}: open the network from its source, "
            "or its program as layers, torch.export.unflatten(program)"
        )
    if any(map(unflattened, network.modules())):
        return f"; it comes from an exported program (torch.export), which hides its {what}: open it from its source"
    return ""


def why_it_failed(network: nn.Module, error: Exception) -> str:
    """What a network said as it failed: a script's own last line, and what to do where an export fixed a size."""
    said = str(error)
    if "TorchScript" in said:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        said = lines[-1].removeprefix("RuntimeError: ")
    sized = "Guard failed" in said or "dynamic_shapes" in said
    if sized and any(exported(m) or unflattened(m) for m in network.modules()):
        said = said.partition(". If you meant")[0]
        said += "; it was exported (torch.export) for inputs of that size alone: export it with dynamic_shapes"
    return said


def _in_exported(network: nn.Module, address: str) -> bool:
    """Whether an address lies in an exported program and so never runs."""
    parts = address.split(".")
    modules = dict(network.named_modules())
    return any(exported(modules[above]) for n in range(len(parts)) if (above := ".".join(parts[:n])) in modules)
