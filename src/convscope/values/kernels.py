"""The weights of convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value
from convscope.values.formatting import format_list

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class KernelLayer:
    """The filters of one layer: how they are displayed, and which are degenerate.

    Attributes:
        kind: a description of the layer, such as ``Conv2d, 3 → 64 channels, 7×7``.
        view: how each filter is displayed: color, channels, norm, component or spectrum.
        shown: the indices of the displayed filters, in display order.
        total: the number of filters.
        near_zero: filters whose norm is below 1 % of the median norm of the layer.
        near_duplicate: (filter, the earlier filter it nearly equals, their cosine similarity).
        noise_like: filters whose neighbouring weights are as uncorrelated as white noise.
        groups: the number of channel groups; a filter reads only the channels of its group.
        judged: whether the kernels are large enough to test for noise.
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
        """The filters that nearly equal an earlier one."""
        return tuple(duplicate for duplicate, _, _ in self.near_duplicate)


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernels(Value):
    """The filters of one or several layers: all weights, and the patterns displayed for them.

    Attributes:
        weights: address → float32 (filters, input channels per group, kernel positions …), all filters of the layer.
        patterns: address → the displayed pattern of each filter in ``layers[address].shown``, in that order: its
            kernels (color and channels), one pattern (norm, component), or its frequency response with frequency zero
            in the center (spectrum).
        shares: address → the share of the energy of each displayed filter in its first principal component.
        layers: address → `KernelLayer`.
        scale: ``shared`` for one color scale per layer or ``each`` for one per filter.
    """

    arrays: ClassVar[tuple[str, ...]] = ("weights", "patterns", "shares")

    weights: Mapping[str, Tensor]
    patterns: Mapping[str, Tensor]
    layers: Mapping[str, KernelLayer]
    shares: Mapping[str, Tensor] = field(default_factory=dict)
    scale: str = "shared"

    def lines(self) -> list[str]:
        """Each layer with its degenerate filters."""
        lines = []
        for address, layer in self.layers.items():
            lines.append(f"{address}: {layer.kind}, {layer.total} filters, shown by {layer.view}")
            degenerate = {
                "near zero": layer.near_zero,
                "near duplicates": layer.repeating,
                "like noise": layer.noise_like,
            }
            lines += [f"  {name}: {format_list(numbers)}" for name, numbers in degenerate.items() if numbers]
        return lines

    def __repr__(self) -> str:
        shapes = (f"{address} {'×'.join(str(n) for n in w.shape)}" for address, w in self.weights.items())
        return f"Kernels({', '.join(shapes)})"

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in cls.arrays:
            stored[name] = {key: torch.from_numpy(array) for key, array in stored.get(name, {}).items()}
        return {**stored, "layers": {address: _layer(layer) for address, layer in stored["layers"].items()}}


def _layer(stored: dict[str, Any]) -> KernelLayer:
    pairs = tuple((filter_, earlier, float(cosine)) for filter_, earlier, cosine in stored["near_duplicate"])
    tuples = {name: tuple(stored[name]) for name in ("shown", "near_zero", "noise_like")}
    return KernelLayer(**{**stored, **tuples, "near_duplicate": pairs})
