"""The inputs of a data set that excite units most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Exemplar:
    """One input that excites a unit.

    Attributes:
        value: what the unit gives for it, at its best position or as the mean over its map.
        place: its number in the data set; ``name`` what it is called, ``label`` its class where that is known.
        position: where in the unit's map; empty for means and for units without a map.
        box: the part of the input that this position can see, from where to where along each axis.
    """

    value: float
    place: int
    name: str
    label: str | None = None
    position: tuple[int, ...] = ()
    box: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Excited:
    """One unit, ``layer4[12]``, with the inputs that excite it most, the best first."""

    unit: str
    exemplars: tuple[Exemplar, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Exemplars(Value):
    """The inputs that excite units most, each with the part of it that the unit saw.

    Attributes:
        units: those that are shown, each with its best inputs.
        images: how many inputs were looked through.
        values: layer → float32 (k, units): the best values of all units of the layer, the best first; fewer than k
            where there were fewer inputs.
        places: layer → int64 (k, units): whose they are, by number in the data set.
        names: number in the data set → what the input is called, for all of ``places``.
        photos: number in the data set → the input as people see it, for those that are shown: uint8 (height, width, 3),
            or the prepared numbers of a signal or volume.
    """

    arrays: ClassVar[tuple[str, ...]] = ("values", "places", "photos")

    units: tuple[Excited, ...]
    images: int
    values: Mapping[str, Tensor]
    places: Mapping[str, Tensor]
    names: Mapping[str, str] = field(default_factory=dict)
    photos: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def __getitem__(self, unit: str) -> tuple[Exemplar, ...]:
        """The exemplars of a unit that is shown."""
        return next(one.exemplars for one in self.units if one.unit == unit)

    def crop(self, exemplar: Exemplar) -> np.ndarray[Any, Any]:
        """The part of an input that the unit saw at its best position; all of it for means."""
        import numpy as np

        whole = np.asarray(self.photos[str(exemplar.place)])
        part = tuple(slice(*ends) for ends in exemplar.box)
        if not part:
            return whole
        return whole[part] if whole.dtype == np.uint8 else whole[(slice(None), *part)]

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in ("values", "places"):
            stored[name] = {key: torch.from_numpy(found) for key, found in stored.get(name, {}).items()}
        stored["photos"] = stored.get("photos", {})
        stored["units"] = tuple(
            Excited(unit=one["unit"], exemplars=tuple(_exemplar(e) for e in one["exemplars"]))
            for one in stored["units"]
        )
        return stored

    def lines(self) -> list[str]:
        """A line a unit: its best values and the names of their inputs."""
        width = max((len(one.unit) for one in self.units), default=0)
        return [
            f"{one.unit:<{width}}  " + ", ".join(f"{e.value:.3g} {e.name}" for e in one.exemplars) for one in self.units
        ]

    def __repr__(self) -> str:
        shown = ", ".join(one.unit for one in self.units[:3]) + (", …" if len(self.units) > 3 else "")
        return f"Exemplars({shown}, from {self.images} inputs)"


def _exemplar(stored: dict[str, Any]) -> Exemplar:
    box = tuple((start, end) for start, end in stored["box"])
    return Exemplar(**{**stored, "position": tuple(stored["position"]), "box": box})
