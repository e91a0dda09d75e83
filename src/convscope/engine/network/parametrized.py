"""Weights that are computed from others: which modules only compute one, and how many of a weight's numbers are masked.

``torch.nn.utils.parametrize`` (weight norm, spectral norm, orthogonal weights, LoRA) puts modules inside a layer that
make its weight anew at every forward. They are no layers: what they give is a weight and no activation.
"""

from torch import nn
from torch.nn.utils import parametrize


def weight_modules(module: nn.Module) -> frozenset[str]:
    """The addresses of all modules within a network that only compute a weight."""
    found: set[str] = set()
    for address, layer in module.named_modules():
        if parametrize.is_parametrized(layer):
            prefix = f"{address}.parametrizations" if address else "parametrizations"
            found |= {f"{prefix}.{inner}" if inner else prefix for inner, _ in layer.parametrizations.named_modules()}
    return frozenset(found)


def layer_of(address: str, weights: frozenset[str]) -> str:
    """The layer to which a module belongs: of one that only computes a weight, the layer whose weight that is."""
    while address in weights:
        address = address.rpartition(".")[0]
    return address


def kind_of(module: nn.Module) -> str:
    """A layer's class as people know it: ``Conv2d`` also of one whose weight is parametrised or that is scripted."""
    kind = parametrize.type_before_parametrizations(module).__name__
    return str(getattr(module, "original_name", kind))


def masked_weights(module: nn.Module) -> tuple[int, int]:
    """How many weights of a layer itself pruning has masked to zero, and of how many that are prunable."""
    masks = [
        mask
        for name, mask in module._buffers.items()
        if mask is not None and name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in module._parameters
    ]
    return sum(int((mask == 0).sum()) for mask in masks), sum(mask.numel() for mask in masks)
