"""How much each unit of one layer speaks for an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Cost, Value

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerAttribution(Value):
    """How much each unit of one layer speaks for the target on one input, as raw signed numbers.

    Attributes:
        values: float32, one number per unit and position of the layer's map, (units, height, width); (units,) where the
            layer has no map, as a linear layer behind the pooling.
        layer: the layer's address.
        over_input: float32, the sum over units brought to the input's extent, zero where the layer shows none of it;
            None where the layer has no map.
        photo: the input as people see it.
        target: the explained number in words; ``target_index`` the class, where it is one.
        score: the explained number itself.
        notes: facts measured in passing; ``"beside the map"`` is the sum at class tokens and registers, which lie at no
            position.
    """

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
        """The lens that made this, as the command line calls it."""
        return self.record.lens

    @property
    def cost(self) -> Cost:
        """What it cost."""
        return self.record.cost

    @property
    def layers(self) -> tuple[str, ...]:
        """The address it was read at, as every explanation has it."""
        return (self.layer,)

    @property
    def units(self) -> Tensor:
        """One number per unit (units,): the sum over the positions of its map."""
        return self.values.reshape(len(self.values), -1).sum(1)

    @property
    def map(self) -> Tensor | None:
        """The sum over units (height, width), at the layer's own resolution; None where the layer has no map."""
        return self.values.sum(0) if self.values.ndim > 1 else None

    def strongest(self, count: int = 10) -> list[tuple[str, float]]:
        """The units of largest magnitude, each as ``layer[unit]`` with its number, the strongest first."""
        units = self.units
        order = units.abs().argsort(descending=True, stable=True)[:count].tolist()
        return [(f"{self.layer}[{unit}]", float(units[unit])) for unit in order]

    def lines(self) -> list[str]:
        """What is explained, the layer, and its strongest units."""
        score = "" if self.score is None else f", score {self.score:.3g}"
        said = [f"explains {self.target}{score}"] if self.target else []
        extent = "×".join(str(side) for side in self.values.shape[1:])
        said += [f"at layer {self.layer}: {len(self.values)} units" + (f" of {extent}" if extent else "")]
        said += ["strongest " + ", ".join(f"{unit} {number:+.3g}" for unit, number in self.strongest(5))]
        return said

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        tensors: dict[str, Any] = {
            name: torch.from_numpy(stored[name]) for name in ("values", "over_input") if name in stored
        }
        return {**stored, **tensors}

    def __repr__(self) -> str:
        shape = "×".join(str(side) for side in self.values.shape)
        return f"LayerAttribution({self.method}: {self.target!r}, {self.layer} {shape})"
