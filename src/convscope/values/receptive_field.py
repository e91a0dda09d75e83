"""The theoretical and the effective receptive field of one position of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value
from convscope.values.deprecated import deprecated_names
from convscope.values.formatting import format_field

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

MASS = 0.95
"""The share of the gradient magnitude that the effective receptive field contains."""


@deprecated_names(seen="theoretical_area")
@dataclass(frozen=True, kw_only=True, eq=False)
class ReceptiveField(Value):
    """The effective and the theoretical receptive field of one position of a layer.

    Attributes:
        values: float32 with the shape of the input: the mean magnitude of the gradient with respect to each input
            position.
        unit: the unit or layer, ``layer3[12]`` or ``layer3``; ``position`` is the index in its map of size ``extent``.
        box: the theoretical field as the first and last input position along each axis, clipped to the input.
        field: the theoretical size along each axis, ignoring the borders; None is the whole input.
        images: the number of inputs averaged over.
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
        """The smallest number of input positions that contain 95 % of the gradient magnitude."""
        mass = self.values.double().flatten().sort(descending=True).values.cumsum(0)
        return int((mass < MASS * mass[-1]).sum()) + 1

    @property
    def side(self) -> float:
        """The side length of a square (cube, interval) with this area."""
        return float(self.area ** (1 / self.values.ndim))

    @property
    def share(self) -> float:
        """The effective area as a share of the theoretical one."""
        return self.area / self.theoretical_area

    @property
    def theoretical_area(self) -> int:
        """The number of input positions in the theoretical field."""
        count = 1
        for first, last in self.box:
            count *= last - first + 1
        return count

    @cached_property
    def centre(self) -> tuple[float, ...]:
        """The mean input position, weighted by the gradient magnitude."""
        return tuple(self._moments(axis)[0] for axis in range(self.values.ndim))

    @cached_property
    def spread(self) -> tuple[float, ...]:
        """The standard deviation around the center along each axis, in input positions."""
        return tuple(self._moments(axis)[1] for axis in range(self.values.ndim))

    def _moments(self, axis: int) -> tuple[float, float]:
        import torch

        others = [d for d in range(self.values.ndim) if d != axis]
        marginal = self.values.double().sum(others) if others else self.values.double()
        weights = marginal / marginal.sum()
        positions = torch.arange(len(weights), dtype=torch.float64, device="cpu")
        mean = float((weights * positions).sum())
        return mean, float((weights * (positions - mean) ** 2).sum().sqrt())

    def manifest(self) -> dict[str, Any]:
        """The fields of the value, and the measured sizes."""
        measured = {
            "area": self.area,
            "side": self.side,
            "share": self.share,
            "centre": list(self.centre),
            "spread": list(self.spread),
        }
        return {**super().manifest(), "measured": measured}

    def lines(self) -> list[str]:
        """The unit, the theoretical and the effective field, and the spread."""
        extent = "×".join(map(str, self.extent))
        sigmas = " × ".join(f"{sigma:.1f}" for sigma in self.spread)
        return [
            f"{self.unit} at {_format_position(self.position)} of {extent}, {self.images} inputs",
            f"theoretical  {format_field(self.field)}, of which {self.theoretical_area:,} positions lie in the input",
            f"effective    {self.area:,} positions hold {MASS:.0%} of the gradient ({self.share:.1%} of those; "
            f"as many as a side of {self.side:.1f})",
            f"spread       σ {sigmas} about {_format_position(self.centre)}",
        ]

    def __repr__(self) -> str:
        return (
            f"ReceptiveField({self.unit} at {_format_position(self.position)}: theoretical {format_field(self.field)}, "
            f"effective side {self.side:.1f})"
        )

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        stored.pop("measured")
        stored["values"] = torch.from_numpy(stored["values"])
        tuples = {name: tuple(stored[name]) for name in ("position", "extent", "field")}
        return {**stored, **tuples, "box": tuple(tuple(pair) for pair in stored["box"])}


def _format_position(position: tuple[float, ...]) -> str:
    return f"({', '.join(f'{p:.1f}'.removesuffix('.0') for p in position)})"
