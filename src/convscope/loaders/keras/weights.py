"""The arrays of a network by layer, whichever file they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convscope.errors import LoadError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LayerWeights:
    """The arrays of a layer in the order in which Keras creates them, and those of the layers in it.

    Attributes:
        children: the layers of a nested network by name, or the layers that a wrapper wraps by their role.
    """

    arrays: tuple[Array, ...] = ()
    children: Mapping[str, "LayerWeights"] = field(default_factory=dict)


class WeightQueue:
    """Hands the arrays of one layer out in order, and names what is missing or left over."""

    def __init__(self, layer: str, arrays: tuple[Array, ...]) -> None:
        self._layer, self._arrays, self._taken = layer, list(arrays), list[str]()

    def take(self, name: str, axes: int | None = None) -> Array:
        """The next array, as float32.

        Args:
            name: what Keras calls it.
            axes: the number of axes that it has.

        Raises:
            LoadError: there is none left, or it has another number of axes or holds no numbers.
        """
        if not self._arrays:
            present = f"only {' and '.join(self._taken)}" if self._taken else "no weights"
            raise LoadError(f"the weights do not fit: layer {self._layer!r} needs a {name}, and has {present}")
        array = self._arrays.pop(0)
        self._taken.append(name)
        if array.dtype.kind not in "fiub":
            raise LoadError(f"the {name} of layer {self._layer!r} holds {array.dtype} and no numbers")
        if axes is not None and array.ndim != axes:
            raise LoadError(
                f"the weights do not fit: the {name} of layer {self._layer!r} has the shape {array.shape}, "
                f"where {axes} {'axis is' if axes == 1 else 'axes are'} needed"
            )
        return np.asarray(array, dtype=np.float32)

    def take_all(self) -> tuple[Array, ...]:
        """All arrays that are left, for a layer inside this one."""
        arrays, self._arrays = tuple(self._arrays), []
        return arrays

    @property
    def remaining(self) -> int:
        """How many arrays have not been taken."""
        return len(self._arrays)

    def check_empty(self) -> None:
        """Raise `LoadError` if arrays are left over."""
        if self._arrays:
            count, shapes = len(self._arrays), ", ".join(str(array.shape) for array in self._arrays[:3])
            raise LoadError(
                f"the weights do not fit: layer {self._layer!r} has {count} array{'s' * (count > 1)} ({shapes}) more "
                "than its configuration uses"
            )
