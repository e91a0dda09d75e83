"""What layers computed on one input."""

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
    """Activations of one or several layers on one input, in the order in which the layers finished.

    Attributes:
        maps: address → float32 (channels kept, places …), the largest mean magnitude first; of a layer without places
            (channels kept,).
        channels: address → the numbers of these channels.
        strengths: address → the mean magnitude of every channel of the layer, by which they are chosen and ordered.
        colours: address → float32 (up to 3, places …): all channels projected on their first principal components.
        shares: address → the share of the variance over places that each of these components stands for.
        read: address → where the numbers were read, where that is not the layer's own output.
        scale: ``shared``, one scale for a layer, or ``each``, every map its own; ``view`` how they are drawn.
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
        found = []
        for address, maps in self.maps.items():
            shape = "×".join(str(n) for n in maps.shape[1:]) or "no places"
            where = f", {self.read[address]}" if address in self.read else ""
            found.append(f"{address}{where}: {len(self.strengths[address])} channels of {shape}")
            strongest = self.channels[address][:6]
            means = ", ".join(f"{c} ({float(self.strengths[address][c]):.3g})" for c in strongest)
            found.append(f"  largest mean magnitude: {means}")
        return found

    def __repr__(self) -> str:
        said = (f"{address} {'×'.join(str(n) for n in m.shape)}" for address, m in self.maps.items())
        return f"FeatureMaps({', '.join(said)})"

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in ("maps", "strengths", "colours"):
            stored[name] = {key: torch.from_numpy(found) for key, found in stored.get(name, {}).items()}
        for name in ("channels", "shares"):
            stored[name] = {key: tuple(found) for key, found in stored[name].items()}
        return stored
