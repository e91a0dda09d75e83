"""How much each place of an input speaks for an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Cost, Value

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution(Value):
    """How much each place of one input speaks for the target, as raw signed numbers.

    Attributes:
        values: float32, the spatial shape of the input (height, width): the map, signed and unnormalised.
        layer_values: address → float32 map at that layer's own resolution (CAM methods).
        channels: float32 (channels, height, width): the map before its channels were pooled, where there is one.
        uncertainty: float32 maps of how sure the values are, where a lens measures that: ``"spread"`` (standard
            deviation over copies), ``"band"`` (half-width of the 95 % confidence interval), ``"sign agreement"``
            (share of copies with the value's sign).
        signed: whether negative numbers mean "speaks against"; unsigned maps are never below zero.
        target: the explained number in words; ``target_index`` the class, where it is one.
        score: the explained number itself, as the network gives it: before softmax, unless the network itself ends in
            one (or in a sigmoid): then it is that probability, which ``notes["output"]`` says.
        layers: the addresses the map was read at.
        input: the prepared input (channels, height, width) and ``picture_of_input`` how to show it.
        notes: facts measured in passing, such as ``"completeness gap"``; ``"output"`` says how the network's output
            was understood.
    """

    arrays: ClassVar[tuple[str, ...]] = ("values", "layer_values", "channels", "uncertainty", "photo")

    values: Tensor
    layer_values: Mapping[str, Tensor] = field(default_factory=dict)
    channels: Tensor | None = None
    uncertainty: Mapping[str, Tensor] = field(default_factory=dict)
    photo: np.ndarray[Any, Any] | None = None
    signed: bool = True
    target: str = ""
    target_index: int | None = None
    score: float | None = None
    layers: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The lens that made this, as the command line calls it."""
        return self.record.lens

    @property
    def cost(self) -> Cost:
        """What this map cost."""
        return self.record.cost

    @property
    def blank(self) -> bool:
        """Whether the map is zero everywhere."""
        return not bool(self.values.any())

    def lines(self) -> list[str]:
        """What is explained, where it was looked at, and the ends of the map."""
        score = "" if self.score is None else f", score {self.score:.3g}"
        said = [f"explains {self.target}{score}"] if self.target else []
        said += [f"at layer {', '.join(self.layers)}"] if self.layers else []
        return [*said, f"values {float(self.values.min()):.3g} to {float(self.values.max()):.3g}"]

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in ("values", "channels"):
            if stored.get(name) is not None:
                stored[name] = torch.from_numpy(stored[name])
        for name in ("layer_values", "uncertainty"):
            stored[name] = {key: torch.from_numpy(found) for key, found in stored.get(name, {}).items()}
        return {**stored, "layers": tuple(stored["layers"])}

    def __repr__(self) -> str:
        low, high = float(self.values.min()), float(self.values.max())
        shape = "×".join(str(side) for side in self.values.shape)
        return f"Attribution({self.method}: {self.target!r}, {shape}, {low:.3g} … {high:.3g})"
