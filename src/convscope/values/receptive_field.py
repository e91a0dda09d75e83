"""How far a place of a layer sees: what it can see, and what really moves it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value
from convscope.values.formatting import field_words

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

MASS = 0.95
"""The share of the gradient by which the effective field is measured."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReceptiveField(Value):
    """The effective receptive field of one place of a layer, and the theoretical one around it.

    Attributes:
        values: float32, in the input's extent: the mean size of the place's gradient to each input position.
        unit: what was looked at, ``layer3[12]`` or ``layer3``; ``position`` where on its map of size ``extent``.
        box: along each axis the first and last input position that the place can see, cut off at the input's border.
        field: the theoretical size along each axis, of an input without borders; None is the whole input.
        images: how many inputs were averaged over.
    """

    arrays: ClassVar[tuple[str, ...]] = ("values", "photo")

    values: Tensor
    unit: str
    position: tuple[int, ...]
    extent: tuple[int, ...]
    box: tuple[tuple[int, int], ...]
    field: tuple[int | None, ...]
    images: int
    photo: np.ndarray[Any, Any] | None = None

    @cached_property
    def area(self) -> int:
        """How many input positions hold 95 % of the gradient, the strongest first."""
        mass = self.values.double().flatten().sort(descending=True).values.cumsum(0)
        return int((mass < MASS * mass[-1]).sum()) + 1

    @property
    def side(self) -> float:
        """The side of a square (cube, stretch) of that many positions."""
        return float(self.area ** (1 / self.values.ndim))

    @property
    def share(self) -> float:
        """That area as a share of what the place can see."""
        return self.area / self.seen

    @property
    def seen(self) -> int:
        """How many input positions the place can see."""
        count = 1
        for first, last in self.box:
            count *= last - first + 1
        return count

    @cached_property
    def centre(self) -> tuple[float, ...]:
        """The mean input position, weighed by the gradient."""
        return tuple(self._moments(axis)[0] for axis in range(self.values.ndim))

    @cached_property
    def spread(self) -> tuple[float, ...]:
        """The standard deviation about it along each axis, in input positions."""
        return tuple(self._moments(axis)[1] for axis in range(self.values.ndim))

    def _moments(self, axis: int) -> tuple[float, float]:
        import torch

        others = [d for d in range(self.values.ndim) if d != axis]
        along = self.values.double().sum(others) if others else self.values.double()
        weights = along / along.sum()
        places = torch.arange(len(weights), dtype=torch.float64, device="cpu")
        mean = float((weights * places).sum())
        return mean, float((weights * (places - mean) ** 2).sum().sqrt())

    def manifest(self) -> dict[str, Any]:
        """The fields as of any value, and the measured sizes."""
        measured = {
            "area": self.area,
            "side": self.side,
            "share": self.share,
            "centre": list(self.centre),
            "spread": list(self.spread),
        }
        return {**super().manifest(), "measured": measured}

    def lines(self) -> list[str]:
        """The sizes side by side."""
        return [
            f"{self.unit} at {_place(self.position)} of {'×'.join(map(str, self.extent))}, {self.images} inputs",
            f"theoretical  {field_words(self.field)}, of which {self.seen:,} positions lie in the input",
            f"effective    {self.area:,} positions hold {MASS:.0%} of the gradient ({self.share:.1%} of those; "
            f"as many as a side of {self.side:.1f})",
            f"spread       σ {' × '.join(f'{sigma:.1f}' for sigma in self.spread)} about {_place(self.centre)}",
        ]

    def __repr__(self) -> str:
        return (
            f"ReceptiveField({self.unit} at {_place(self.position)}: theoretical {field_words(self.field)}, "
            f"effective side {self.side:.1f})"
        )

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        stored.pop("measured")
        stored["values"] = torch.from_numpy(stored["values"])
        listed = {name: tuple(stored[name]) for name in ("position", "extent", "field")}
        return {**stored, **listed, "box": tuple(tuple(pair) for pair in stored["box"])}


def _place(position: tuple[float, ...]) -> str:
    return f"({', '.join(f'{p:.1f}'.removesuffix('.0') for p in position)})"
