"""The attention weights of every layer and head from or to one token of one input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.errors import CannotWrite
from convscope.values.backends import get_renderer
from convscope.values.base import Value

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionMaps(Value):
    """Raw attention weights for one input, in the order in which the layers attend.

    Attributes:
        maps: layer → float32 (heads, positions …): the weight of each position of the grid of tokens.
        beside: layer → float32 (heads,): the weight of all tokens without a position (class token, registers).
        matrices: layer → float32 (heads, tokens that attend, tokens attended to), where they were kept: the tokens
            without a position first, then those of the grid row by row.
        token: the token whose weights these are: ``class token``, ``patch 3x4`` or ``mean over all tokens``.
        direction: ``from``: the weights with which it attends to others; ``to``: with which they attend to it.
        heads: ``each``, or how the heads of a layer were made one.
        place: of a patch, its center as a share of the input's extent along each axis; empty for other tokens.
        photo: the input as displayed.
    """

    is_batched = True
    writers: ClassVar[Mapping[str, str]] = {**Value.writers, ".gif": "_save_gif"}
    arrays: ClassVar[tuple[str, ...]] = ("maps", "beside", "matrices", "photo")

    maps: Mapping[str, Tensor]
    beside: Mapping[str, Tensor] = field(default_factory=dict)
    matrices: Mapping[str, Tensor] = field(default_factory=dict)
    token: str = ""
    direction: str = "from"
    heads: str = "each"
    place: tuple[float, ...] = ()
    photo: np.ndarray[Any, Any] | None = None

    @property
    def has_film(self) -> bool:
        """Whether it holds maps over an image at several layers, which a .gif shows one after the other."""
        return sum(layer.ndim == 3 for layer in self.maps.values()) > 1

    def lines(self) -> list[str]:
        """Each layer with its grid and the largest weight in it."""
        lines = [f"attention {self.direction} the {self.token}"]
        for layer, maps in self.maps.items():
            grid = "×".join(str(n) for n in maps.shape[1:])
            peaks = maps.flatten(1).amax(1)
            head = int(peaks.argmax())
            share = (
                f", {float(self.beside[layer].mean()):.0%} beside the grid" if bool(self.beside[layer].any()) else ""
            )
            each = self.heads == "each"
            heads, place = (f"{len(maps)} heads", f" in head {head}") if each else (f"the {self.heads} over heads", "")
            lines.append(f"{layer}: {heads} of {grid}, peak {float(peaks[head]):.3g}{place}{share}")
        return lines

    def _save_gif(self, path: Path) -> None:
        if not self.has_film:
            raise CannotWrite("a .gif shows the maps of several layers over an image, and this has one: write a .png")
        path.write_bytes(get_renderer().animated_gif(self))

    def __repr__(self) -> str:
        shapes = (f"{layer} {'×'.join(str(n) for n in maps.shape)}" for layer, maps in self.maps.items())
        return f"AttentionMaps({self.direction} the {self.token}: {', '.join(shapes)})"

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in ("maps", "beside", "matrices"):
            stored[name] = {key: torch.from_numpy(array) for key, array in stored.get(name, {}).items()}
        return {**stored, "place": tuple(stored["place"])}
