"""The inputs of a data set that activate units most strongly."""

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
    """One input that activates a unit strongly.

    Attributes:
        value: the activation of the unit, at its maximum or as the mean over its map.
        place: the index of the input in the data set; ``name`` is its name and ``label`` its class, if known.
        position: the position of the maximum in the map of the unit; empty for means and for units without a map.
        box: the receptive field of this position in the input, as (start, end) along each axis.
    """

    value: float
    place: int
    name: str
    label: str | None = None
    position: tuple[int, ...] = ()
    box: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class UnitExemplars:
    """One unit, such as ``layer4[12]``, with the inputs that activate it most strongly, the strongest first."""

    unit: str
    exemplars: tuple[Exemplar, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Exemplars(Value):
    """The inputs that activate units most strongly, each with the receptive field of the unit.

    Attributes:
        units: the displayed units, each with its top inputs.
        images: the number of inputs that were searched.
        values: layer → float32 (k, units): the largest activations of all units of the layer in descending order;
            fewer than k rows if there were fewer inputs.
        places: layer → int64 (k, units): the indices in the data set of the inputs with these activations.
        names: index in the data set → name of the input, for all of ``places``.
        photos: index in the data set → the input as displayed, for the displayed units: uint8 (height, width, 3), or
            the prepared numbers of a signal or volume.
    """

    arrays: ClassVar[tuple[str, ...]] = ("values", "places", "photos")

    units: tuple[UnitExemplars, ...]
    images: int
    values: Mapping[str, Tensor]
    places: Mapping[str, Tensor]
    names: Mapping[str, str] = field(default_factory=dict)
    photos: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def __getitem__(self, unit: str) -> tuple[Exemplar, ...]:
        """The exemplars of a displayed unit, by its address."""
        return next(shown.exemplars for shown in self.units if shown.unit == unit)

    def crop(self, exemplar: Exemplar) -> np.ndarray[Any, Any]:
        """The part of an input in the receptive field of the unit's maximum; the complete input for means."""
        import numpy as np

        image = np.asarray(self.photos[str(exemplar.place)])
        window = tuple(slice(*ends) for ends in exemplar.box)
        if not window:
            return image
        return image[window] if image.dtype == np.uint8 else image[(slice(None), *window)]

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in ("values", "places"):
            stored[name] = {key: torch.from_numpy(array) for key, array in stored.get(name, {}).items()}
        stored["photos"] = stored.get("photos", {})
        stored["units"] = tuple(
            UnitExemplars(unit=unit["unit"], exemplars=tuple(_exemplar(e) for e in unit["exemplars"]))
            for unit in stored["units"]
        )
        return stored

    def lines(self) -> list[str]:
        """One line per unit: its largest activations and the names of the inputs."""
        width = max((len(shown.unit) for shown in self.units), default=0)
        return [
            f"{shown.unit:<{width}}  " + ", ".join(f"{e.value:.3g} {e.name}" for e in shown.exemplars)
            for shown in self.units
        ]

    def __repr__(self) -> str:
        units = ", ".join(shown.unit for shown in self.units[:3]) + (", …" if len(self.units) > 3 else "")
        return f"Exemplars({units}, from {self.images} inputs)"


def _exemplar(stored: dict[str, Any]) -> Exemplar:
    box = tuple((start, end) for start, end in stored["box"])
    return Exemplar(**{**stored, "position": tuple(stored["position"]), "box": box})
