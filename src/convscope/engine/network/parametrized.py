"""Parametrized and pruned weights: which modules only compute a weight, and how many of its values are masked.

``torch.nn.utils.parametrize`` (weight norm, spectral norm, orthogonal weights, LoRA) adds modules to a layer that
compute its weight at every forward. They are not layers: their output is a weight, not an activation.
"""

from torch import nn
from torch.nn.utils import parametrize


def weight_modules(module: nn.Module) -> frozenset[str]:
    """The addresses of all modules in a network that only compute a weight."""
    addresses: set[str] = set()
    for address, layer in module.named_modules():
        if parametrize.is_parametrized(layer):
            prefix = f"{address}.parametrizations" if address else "parametrizations"
            inner_addresses = (inner for inner, _ in layer.parametrizations.named_modules())
            addresses |= {f"{prefix}.{inner}" if inner else prefix for inner in inner_addresses}
    return frozenset(addresses)


def owning_layer(address: str, weights: frozenset[str]) -> str:
    """The address of the layer that a module belongs to: for a module in ``weights``, the layer with that weight."""
    while address in weights:
        address = address.rpartition(".")[0]
    return address


def class_name(module: nn.Module) -> str:
    """The original class of a layer: ``Conv2d`` also if its weight is parametrized or the layer is scripted."""
    kind = parametrize.type_before_parametrizations(module).__name__
    return str(getattr(module, "original_name", kind))


def pruned_counts(module: nn.Module) -> tuple[int, int]:
    """The number of weights of a layer that pruning has masked to zero, and of all weights with a pruning mask."""
    masks = [
        mask
        for name, mask in module._buffers.items()
        if mask is not None and name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in module._parameters
    ]
    return sum(int((mask == 0).sum()) for mask in masks), sum(mask.numel() for mask in masks)
