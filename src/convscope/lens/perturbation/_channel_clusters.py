"""Joins the channels of layers whose maps over the input are alike, without holding the maps of all at that size."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from convscope.engine.context.free_memory import require_memory
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.errors import OutputError
from convscope.runtime.layer_maps import over_input

ENLARGED_BYTES = 2**25
"""How many bytes of maps at the size of the input are held at a time."""
_BYTES_PER_PAIR = 20
"""What the clustering holds for each two channels: a product, a distance, and half of two lists of them."""


def maps_at_a_time(images: Images) -> int:
    """How many maps are enlarged to the input together."""
    return max(1, ENLARGED_BYTES // (4 * math.prod(images.extent)))


def require_memory_of_clusters(channels: int) -> None:
    """Refuse to join so many channels that their distances need more memory than is free.

    Raises:
        TooLittleMemory: the message says how much is needed, and for how many channels.
    """
    subject = f"comparing {channels:,} channels with each other"
    remedy = "choose fewer layers with layer=, or one with fewer channels"
    require_memory(_BYTES_PER_PAIR * channels**2, torch.device("cpu"), subject, remedy)


def scaled_channels(activation: Tensor) -> Tensor:
    """The channels (C, …) that are not constant, each scaled to 0 … 1.

    Raises:
        OutputError: a number is not finite.
    """
    if not bool(torch.isfinite(activation).all()):
        raise OutputError("the layer's output contains NaN or infinite numbers: the network overflows on this input")
    flat = activation.float().flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    varying = (high > low)[:, 0]
    return ((flat - low) / (high - low))[varying].view(-1, *activation.shape[1:])


def cluster_sums(model: Model, images: Images, maps: Mapping[str, Tensor], distance: float) -> dict[str, Tensor]:
    """The sums (clusters, …) of the channels of each cluster, per layer and on its grid.

    Args:
        maps: layer → its channels (C, …) for one image.
        distance: channels are joined while no two of them are further apart, by the cosine over the input.
    """
    labels = _clusters(_products(model, images, maps), distance)
    count = int(labels.max()) + 1 if len(labels) else 0
    sums = {}
    for (address, of_layer), own in zip(
        maps.items(), torch.split(labels, [len(m) for m in maps.values()]), strict=True
    ):
        empty = of_layer.new_zeros(count, *of_layer.shape[1:])
        sums[address] = empty.index_add(0, own.to(of_layer.device), of_layer)
    return sums


def _products(model: Model, images: Images, maps: Mapping[str, Tensor]) -> Tensor:
    """The inner products (C, C) over the input of the channels of all layers.

        ⟨W a, W b⟩ = ⟨Wᵀ W a, b⟩    W enlarges a map of a layer to the input

    Only a few maps are enlarged at a time; Wᵀ brings them back to the grid of each layer. It runs on the CPU, because
    Wᵀ adds up in no fixed order elsewhere.
    """
    on_cpu = {address: of_layer.detach().cpu() for address, of_layer in maps.items()}
    rows = []
    for address, of_layer in on_cpu.items():
        for few in torch.split(of_layer, maps_at_a_time(images)):
            enlarged = over_input(model, images, address, few)
            products = [_brought_back(model, images, a, enlarged, m) @ m.flatten(1).T for a, m in on_cpu.items()]
            rows.append(torch.cat(products, 1))
    return torch.cat(rows)


def _brought_back(model: Model, images: Images, address: str, enlarged: Tensor, like: Tensor) -> Tensor:
    """The transpose of `over_input`: from maps (n, …) over the input to numbers (n, cells) on the grid of ``like``."""
    with torch.enable_grad():
        grids = like.new_zeros(len(enlarged), *like.shape[1:], requires_grad=True)
        (gradient,) = torch.autograd.grad(over_input(model, images, address, grids), grids, enlarged)
    return gradient.flatten(1)


def _clusters(products: Tensor, distance: float) -> Tensor:
    """The cluster of each channel, by complete linkage of cosine distances; numbered by their first channels.

    Args:
        products: of all pairs of channels (C, C).
    """
    if len(products) < 2:
        return torch.zeros(len(products), dtype=torch.long, device="cpu")
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    lengths = products.diagonal().sqrt()
    between = (1 - products / lengths / lengths[:, None]).clamp_min_(0).double().numpy()
    tree = linkage(squareform(between, checks=False), "complete")
    labels = fcluster(tree, distance, "distance")
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return torch.from_numpy(first.argsort().argsort()[inverse])
