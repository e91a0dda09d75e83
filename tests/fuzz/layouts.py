"""Where the batch, the channels and the places of a layer's output are: what the generator knows of what it built."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

PLACES = "XYZ"
"""The spatial axes of a map, in the order of the input's."""


TURNS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "": (lambda x: x, lambda x: x),
    "flip": (lambda x: x.flip(-1), lambda x: x.flip(-1)),
    "roll": (lambda x: x.roll(2, -1), lambda x: x.roll(-2, -1)),
    "turn": (lambda x: x.flip(*range(2, x.ndim)), lambda x: x.flip(*range(2, x.ndim))),
}
"""Ways to turn a map (N, C, places …), and back."""


@dataclass(frozen=True)
class Layout:
    """The axes of a layer's output, one letter each.

    Attributes:
        axes: ``N`` the images, ``C`` the channels, ``X`` ``Y`` ``Z`` the spatial axes, ``T`` all places in one axis.
        grid: how the places of ``T`` lie; empty where there is no such axis.
        prefix: how many tokens come before those of the places.
        frames: how many frames of each image lie one behind the other along ``N``.
        turned: how the places lie the other way round than in the input: a name of `TURNS`, or nothing.
    """

    axes: str
    grid: tuple[int, ...] = ()
    prefix: int = 0
    frames: int = 1
    turned: str = ""

    def to_map(self, output: Tensor) -> Tensor:
        """The output as (N, C, places …); tokens that are no places are left out."""
        moved = output.permute(*(self.axes.index(axis) for axis in self._map_axes()))
        if "T" in self.axes:
            moved = moved[..., self.prefix :].unflatten(2, self.grid)
        return TURNS[self.turned][1](moved)

    def to_output(self, maps: Tensor, output: Tensor) -> Tensor:
        """A map in the layer's own axes, with the other tokens of ``output``."""
        import torch

        order, maps = self._map_axes(), TURNS[self.turned][0](maps)
        if "T" in self.axes:
            whole = output.permute(*(self.axes.index(axis) for axis in order))
            maps = torch.cat([whole[..., : self.prefix], maps.flatten(2)], 2)
        return maps.permute(*(order.index(axis) for axis in self.axes))

    @property
    def positions(self) -> int:
        """How many tokens of ``T`` are places."""
        return math.prod(self.grid)

    def _map_axes(self) -> str:
        return "NC" + "".join(sorted(set(self.axes) - set("NC")))


def map_layout(axes: int, turned: str = "") -> Layout:
    """(N, C, places …)."""
    return Layout("NC" + PLACES[:axes], turned=turned)


def last_layout(axes: int) -> Layout:
    """(N, places …, C)."""
    return Layout("N" + PLACES[:axes] + "C")
