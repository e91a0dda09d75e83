"""The layout of the output of a layer: its batch, channel and spatial axes, as known to the generator."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

SPATIAL_AXES = "XYZ"
"""The spatial axes of a map, in the order of those of the input."""


TRANSFORMS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "": (lambda x: x, lambda x: x),
    "flip": (lambda x: x.flip(-1), lambda x: x.flip(-1)),
    "roll": (lambda x: x.roll(2, -1), lambda x: x.roll(-2, -1)),
    "turn": (lambda x: x.flip(*range(2, x.ndim)), lambda x: x.flip(*range(2, x.ndim))),
}
"""Name → (transform of a map (N, C, positions …), its inverse)."""


@dataclass(frozen=True)
class Layout:
    """The axes of a layer's output, one letter each.

    Attributes:
        axes: ``N`` is the batch, ``C`` the channels, ``X`` ``Y`` ``Z`` spatial axes, ``T`` all positions in one axis.
        grid: the spatial extent of ``T``; empty if there is no such axis.
        prefix: the number of tokens before those of positions.
        frames: the number of frames of each image along ``N``.
        transform: the name of the transform in `TRANSFORMS` between the input and this layer.
    """

    axes: str
    grid: tuple[int, ...] = ()
    prefix: int = 0
    frames: int = 1
    transform: str = ""

    def to_map(self, output: Tensor) -> Tensor:
        """The output as (N, C, positions …), without tokens that have no position."""
        moved = output.permute(*(self.axes.index(axis) for axis in self._map_axes()))
        if "T" in self.axes:
            moved = moved[..., self.prefix :].unflatten(2, self.grid)
        return TRANSFORMS[self.transform][1](moved)

    def to_output(self, maps: Tensor, output: Tensor) -> Tensor:
        """A map in the axes of the layer, with the other tokens taken from ``output``."""
        import torch

        order, maps = self._map_axes(), TRANSFORMS[self.transform][0](maps)
        if "T" in self.axes:
            tokens = output.permute(*(self.axes.index(axis) for axis in order))
            maps = torch.cat([tokens[..., : self.prefix], maps.flatten(2)], 2)
        return maps.permute(*(order.index(axis) for axis in self.axes))

    def _map_axes(self) -> str:
        return "NC" + "".join(sorted(set(self.axes) - set("NC")))


def map_layout(axes: int, transform: str = "") -> Layout:
    """(N, C, positions …)."""
    return Layout("NC" + SPATIAL_AXES[:axes], transform=transform)


def last_layout(axes: int) -> Layout:
    """(N, positions …, C)."""
    return Layout("N" + SPATIAL_AXES[:axes] + "C")
