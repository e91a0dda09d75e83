"""The activations of layers for one input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureMaps(Value):
    """Activations of one or several layers for one input, in the order in which the layers finished.

    Attributes:
        maps: address → float32 (selected channels, positions …), the largest mean magnitude first; (selected channels,)
            for a layer without positions.
        channels: address → the indices of these channels.
        strengths: address → the mean magnitude of every channel of the layer, by which channels are selected and
            sorted.
        colours: address → float32 (up to 3, positions …): all channels projected on their first principal components.
        shares: address → the share of the variance over positions that each of these components explains.
        read: address → the tensor that was read, if it is not the output of the layer.
        photo: the input as displayed.
        scale: ``shared`` for one color scale per layer or ``each`` for one per map; ``view`` is how they are drawn.
    """

    arrays: ClassVar[tuple[str, ...]] = ("maps", "strengths", "colours", "photo")

    maps: Mapping[str, Tensor]
    channels: Mapping[str, tuple[int, ...]]
    strengths: Mapping[str, Tensor]
    colours: Mapping[str, Tensor] = field(default_factory=dict)
    shares: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    read: Mapping[str, str] = field(default_factory=dict)
    photo: np.ndarray[Any, Any] | None = None
    scale: str = "shared"
    view: str = "mosaic"

    def lines(self) -> list[str]:
        """Each layer with its strongest channels."""
        lines = []
        for address, maps in self.maps.items():
            shape = "×".join(str(n) for n in maps.shape[1:]) or "no positions"
            source = f", {self.read[address]}" if address in self.read else ""
            lines.append(f"{address}{source}: {len(self.strengths[address])} channels of {shape}")
            strongest = self.channels[address][:6]
            means = ", ".join(f"{c} ({float(self.strengths[address][c]):.3g})" for c in strongest)
            lines.append(f"  largest mean magnitude: {means}")
        return lines

    def __repr__(self) -> str:
        shapes = (f"{address} {'×'.join(str(n) for n in m.shape)}" for address, m in self.maps.items())
        return f"FeatureMaps({', '.join(shapes)})"

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in ("maps", "strengths", "colours"):
            stored[name] = {key: torch.from_numpy(array) for key, array in stored.get(name, {}).items()}
        for name in ("channels", "shares"):
            stored[name] = {key: tuple(items) for key, items in stored[name].items()}
        return stored
