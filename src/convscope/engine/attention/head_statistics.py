"""Statistics of the heads of one site, summed up over images."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.engine.attention.sites import AttentionSite

UNIFORM, BESIDE, COPY, LOCAL = 0.99, 0.9, 0.99, 0.5
"""From which entropy a head is uniform, from which weight beside the grid, from which cosine a copy; below which share
of the distance under equal weights it is local."""


@dataclass(frozen=True, eq=False)
class HeadMeans:
    """Means over images and queries, one per head; `similarity` is (heads, heads)."""

    entropy: Tensor
    distance: Tensor
    reach: Tensor
    beside: Tensor
    similarity: Tensor

    def roles(self) -> tuple[str, ...]:
        """One word per head."""
        return tuple(self._kind(head) for head in range(len(self.entropy)))

    def _kind(self, head: int) -> str:
        if self.entropy[head] > UNIFORM:
            return "uniform"
        if self.beside[head] > BESIDE:
            return "beside"
        copied = (self.similarity[head, :head] > COPY).nonzero()
        if len(copied):
            return f"copy of {int(copied[0])}"
        return "local" if self.reach[head] < LOCAL else "global"


@dataclass(frozen=True, eq=False)
class HeadSums:
    """Sums over images, one number per head; `products` of the unit vectors of weights is (heads, heads)."""

    images: int
    entropy: Tensor
    distance: Tensor
    beside: Tensor
    products: Tensor


class HeadStatistics:
    """Sums over the images that were added."""

    def __init__(self, site: AttentionSite, extent: tuple[int, ...]) -> None:
        self.site, self.images = site, 0
        zeros = torch.zeros(site.heads, dtype=torch.float64, device="cpu")
        self._entropy, self._distance, self._beside = zeros, zeros, zeros
        self._products = torch.zeros(site.heads, site.heads, dtype=torch.float64, device="cpu")
        self._lengths = _distances(site, extent)

    def add(self, sums: HeadSums) -> None:
        """Add the sums over some images."""
        self.images += sums.images
        self._entropy, self._distance = self._entropy + sums.entropy, self._distance + sums.distance
        self._beside, self._products = self._beside + sums.beside, self._products + sums.products

    def sums(self, weights: Tensor) -> HeadSums:
        """The sums over the weights (images, heads, windows, queries, keys) of some images."""
        keys = weights.shape[-1]
        entropy = torch.special.entr(weights).sum(-1) / max(math.log(keys), torch.finfo(weights.dtype).tiny)
        placed = weights * (self.site.keys.index >= self.site.keys.unplaced)[:, None, :].to(weights)
        distance = torch.zeros_like(self._distance)
        if self._lengths is not None:
            total = placed.sum(-1).clamp_min(torch.finfo(weights.dtype).tiny)
            mean = (placed * self._lengths.to(weights)).sum(-1) / total
            distance = _summed(mean[..., self._queries()])
        flat = weights.flatten(2)
        unit = flat / flat.norm(dim=2, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
        beside, products = _summed(weights.sum(-1) - placed.sum(-1)), (unit @ unit.mT).sum(0).double().cpu()
        return HeadSums(len(weights), _summed(entropy), distance, beside, products)

    def means(self) -> HeadMeans:
        """The means over the images that were added."""
        entropy, beside = self._entropy / self.images, self._beside / self.images
        similarity = self._products / self.images
        if self._lengths is None:
            unknown = torch.full_like(entropy, math.nan)
            return HeadMeans(entropy.float(), unknown.float(), unknown.float(), beside.float(), similarity.float())
        distance = self._distance / self.images
        placed = (self.site.keys.index >= self.site.keys.unplaced)[:, None, :].double()
        equal = (self._lengths * placed).sum(-1) / placed.sum(-1).clamp_min(1)
        reach = distance / equal[..., self._queries()].mean().clamp_min(torch.finfo(torch.float64).tiny)
        return HeadMeans(entropy.float(), distance.float(), reach.float(), beside.float(), similarity.float())

    def _queries(self) -> Tensor:
        """Which queries of a window have a place; all where windows do not hold others."""
        return self.site.queries.index[0] >= self.site.queries.unplaced


def _summed(numbers: Tensor) -> Tensor:
    """The sum over images of the mean over windows and queries of numbers (images, heads, windows, queries)."""
    return numbers.double().mean((2, 3)).sum(0).cpu()


def _distances(site: AttentionSite, extent: tuple[int, ...]) -> Tensor | None:
    """The distances (windows, queries, keys) between tokens in positions of the input; None where places are unknown.

    Those of tokens without a place are zero.
    """
    if site.no_grid or not site.queries.cells or not site.keys.cells:
        return None
    queries, keys = (
        _centers(tokens.grid, tokens.unplaced, tokens.index, extent) for tokens in (site.queries, site.keys)
    )
    return torch.cdist(queries, keys)


def _centers(grid: tuple[int, ...], unplaced: int, index: Tensor, extent: tuple[int, ...]) -> Tensor:
    """The center (windows, tokens, axes) of each token in positions of the input."""
    cell = (index - unplaced).clamp_min(0)
    centers = []
    for size, length in zip(reversed(grid), reversed(extent), strict=True):
        centers.append((cell % size + 0.5) * (length / size))
        cell = cell // size
    return torch.stack(centers[::-1], -1).double()
