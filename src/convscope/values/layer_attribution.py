"""How much each unit of one layer contributes to a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Cost, Value

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerAttribution(Value):
    """How much each unit of one layer contributes to the target for one input, as raw signed numbers.

    Attributes:
        values: float32, one number per unit and position of the layer's map, (units, height, width); (units,) for a
            layer without a map, such as a linear layer after global pooling.
        layer: the address of the layer.
        over_input: float32, the sum over units resized to the input, zero where the layer does not cover it; None for
            a layer without a map.
        photo: the input as displayed.
        target: a description of the explained score; ``target_index`` is the class, if it is one.
        score: the explained score.
        notes: facts measured along the way; ``"beside the map"`` is the sum over class tokens and registers, which
            have no position.
    """

    attributes = is_batched = True
    arrays: ClassVar[tuple[str, ...]] = ("values", "over_input", "photo")

    values: Tensor
    layer: str
    over_input: Tensor | None = None
    photo: np.ndarray[Any, Any] | None = None
    target: str = ""
    target_index: int | None = None
    score: float | None = None

    @property
    def method(self) -> str:
        """The name of the lens that computed this value, as on the command line."""
        return self.record.lens

    @property
    def cost(self) -> Cost:
        """The cost of this value."""
        return self.record.cost

    @property
    def layers(self) -> tuple[str, ...]:
        """The address of the layer as a tuple, as in `Attribution`."""
        return (self.layer,)

    @property
    def units(self) -> Tensor:
        """One number per unit (units,): the sum over its positions."""
        return self.values.reshape(len(self.values), -1).sum(1)

    @property
    def map(self) -> Tensor | None:
        """The sum over units (height, width), at the resolution of the layer; None for a layer without a map."""
        return self.values.sum(0) if self.values.ndim > 1 else None

    def strongest(self, count: int = 10) -> list[tuple[str, float]]:
        """The units of largest magnitude as (``layer[unit]``, value), in descending order."""
        units = self.units
        order = units.abs().argsort(descending=True, stable=True)[:count].tolist()
        return [(f"{self.layer}[{unit}]", float(units[unit])) for unit in order]

    def lines(self) -> list[str]:
        """The target with its score, the layer, and its strongest units."""
        score = "" if self.score is None else f", score {self.score:.3g}"
        lines = [f"explains {self.target}{score}"] if self.target else []
        extent = "×".join(str(side) for side in self.values.shape[1:])
        lines += [f"at layer {self.layer}: {len(self.values)} units" + (f" of {extent}" if extent else "")]
        lines += ["strongest " + ", ".join(f"{unit} {number:+.3g}" for unit, number in self.strongest(5))]
        return lines

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        tensors: dict[str, Any] = {
            name: torch.from_numpy(stored[name]) for name in ("values", "over_input") if name in stored
        }
        return {**stored, **tensors}

    def __repr__(self) -> str:
        shape = "×".join(str(side) for side in self.values.shape)
        return f"LayerAttribution({self.method}: {self.target!r}, {self.layer} {shape})"
