"""The weights of convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value
from convscope.values.formatting import listed

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class KernelLayer:
    """One layer's filters: how they are shown, and which are odd.

    Attributes:
        kind: the layer in words, ``Conv2d, 3 → 64 channels, 7×7``.
        view: how each filter is shown: colour, channels, norm, component or spectrum.
        shown: the filters that are shown, by number, in the order in which they are shown.
        total: how many filters there are.
        near_zero: filters whose norm is below 1 % of the layer's median norm.
        near_duplicate: (filter, the earlier one that it repeats, their cosine).
        noise_like: filters whose neighbouring weights are as uncorrelated as white noise.
        groups: in how many groups the channels are kept apart; a filter reads those of its own group.
        judged: whether the filters have enough weights side by side to be told from noise.
    """

    kind: str
    view: str
    shown: tuple[int, ...]
    total: int
    near_zero: tuple[int, ...] = ()
    near_duplicate: tuple[tuple[int, int, float], ...] = ()
    noise_like: tuple[int, ...] = ()
    judged: bool = True
    groups: int = 1

    @property
    def repeating(self) -> tuple[int, ...]:
        """The filters that nearly repeat an earlier one."""
        return tuple(one for one, _, _ in self.near_duplicate)


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernels(Value):
    """The filters of one or several layers, all of their weights, and what is shown of them.

    Attributes:
        weights: address → float32 (filters, input channels of a group, kernel's places …), every filter of the layer.
        patterns: address → what is shown of each filter in ``layers[address].shown``, in that order: its kernels
            (colour and channels), or one pattern (norm, component), or the frequencies it passes, zero in the middle
            (spectrum).
        shares: address → the share of each shown filter's energy that its first principal component stands for.
        layers: address → `KernelLayer`.
        scale: ``shared``, one scale for a layer, or ``each``, every filter its own.
    """

    arrays: ClassVar[tuple[str, ...]] = ("weights", "patterns", "shares")

    weights: Mapping[str, Tensor]
    patterns: Mapping[str, Tensor]
    layers: Mapping[str, KernelLayer]
    shares: Mapping[str, Tensor] = field(default_factory=dict)
    scale: str = "shared"

    def lines(self) -> list[str]:
        """Each layer with its odd filters."""
        found = []
        for address, layer in self.layers.items():
            found.append(f"{address}: {layer.kind}, {layer.total} filters, shown by {layer.view}")
            odd = {"near zero": layer.near_zero, "near duplicates": layer.repeating, "like noise": layer.noise_like}
            found += [f"  {name}: {listed(numbers)}" for name, numbers in odd.items() if numbers]
        return found

    def __repr__(self) -> str:
        said = (f"{address} {'×'.join(str(n) for n in w.shape)}" for address, w in self.weights.items())
        return f"Kernels({', '.join(said)})"

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in cls.arrays:
            stored[name] = {key: torch.from_numpy(found) for key, found in stored.get(name, {}).items()}
        return {**stored, "layers": {address: _layer(found) for address, found in stored["layers"].items()}}


def _layer(stored: dict[str, Any]) -> KernelLayer:
    pairs = tuple((one, other, float(cosine)) for one, other, cosine in stored["near_duplicate"])
    listed_ = {name: tuple(stored[name]) for name in ("shown", "near_zero", "noise_like")}
    return KernelLayer(**{**stored, **listed_, "near_duplicate": pairs})
