"""How the numbers of every layer are spread: what it computes, or what flows back to its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The numbers of one layer in a few.

    Attributes:
        layer, kind, shape: its address, the class of its module, the shape for one input.
        count: of how many numbers the shares and quantiles are.
        quantiles: ``"5 %"`` … ``"95 %"``, and the number below which that share lies.
        zeros: the share that is exactly zero; ``not_positive`` that is zero or below.
        channels: how many it has; of them ``dead`` never rise above zero or never change, ``saturated`` lie at the
            limit of their activation 95 % of the time or more, ``duplicates`` say the same as another one; None where
            that cannot be told.
        norm: the length of all numbers together, for gradients; ``ratio`` in units of the parameters' own length.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    count: int
    mean: float
    spread: float
    low: float
    high: float
    quantiles: Mapping[str, float]
    zeros: float
    not_positive: float
    channels: int
    dead: int | None = None
    saturated: int | None = None
    duplicates: int | None = None
    norm: float | None = None
    ratio: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Distribution(Value):
    """The numbers of every layer: a histogram, moments and shares each, by layer and by channel.

    Attributes:
        of: ``"activations"`` or ``"gradients"``.
        layers: one `Spread` a layer, in the order in which they ran.
        images: over how many images.
        histograms: layer → counts (bins,), and ``edges`` layer → the ends of its bins (bins + 1,): each doubling of
            magnitude is cut into 32 bins, zero has a bin of its own.
        channels: layer → one row per channel of the numbers named in ``columns``.
        class_means: layer → (classes, channels), the mean of each channel over the images of each of ``classes``.
        twins: layer → the channels that say nearly the same, as (one, other, correlation), the closest first.
    """

    arrays: ClassVar[tuple[str, ...]] = ("histograms", "edges", "channels", "class_means")

    of: str
    layers: tuple[Spread, ...]
    images: int
    histograms: Mapping[str, Tensor]
    edges: Mapping[str, Tensor]
    columns: tuple[str, ...] = ()
    channels: Mapping[str, Tensor] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    class_means: Mapping[str, Tensor] = field(default_factory=dict)
    twins: Mapping[str, tuple[tuple[int, int, float], ...]] = field(default_factory=dict)

    def __getitem__(self, layer: str) -> Spread:
        """The numbers of the layer at that address."""
        return next(one for one in self.layers if one.layer == layer)

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in cls.arrays:
            stored[name] = {key: torch.from_numpy(found) for key, found in stored.get(name, {}).items()}
        for name in ("columns", "classes"):
            stored[name] = tuple(stored[name])
        stored["layers"] = tuple(Spread(**{**one, "shape": tuple(one["shape"])}) for one in stored["layers"])
        stored["twins"] = {layer: tuple((a, b, c) for a, b, c in pairs) for layer, pairs in stored["twins"].items()}
        return stored

    def lines(self) -> list[str]:
        """A row a layer: shape, mean and spread, the range, and what is wrong with its channels."""
        head = ("layer", "shape", "mean", "spread", "min", "max", "zeros", *_LAST[self.of])
        rows = [head, *(self._row(one) for one in self.layers)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        return ["  ".join(_padded(row, widths)).rstrip() for row in rows]

    def _row(self, one: Spread) -> tuple[str, ...]:
        shape = "×".join(str(side) for side in one.shape)
        common = (one.layer, shape, *(f"{n:.3g}" for n in (one.mean, one.spread, one.low, one.high)))
        gradients = (_said(one.norm, ".3g"), _said(one.ratio, ".2e"))
        units = (_said(one.dead), _said(one.saturated), _said(one.duplicates))
        last = gradients if self.of == "gradients" else units
        return (*common, f"{one.zeros:.1%}", *last)

    def __repr__(self) -> str:
        return f"Distribution({self.of} of {len(self.layers)} layers over {self.images} images)"


_LAST = {"activations": ("dead", "saturated", "duplicate"), "gradients": ("norm", "norm/weights")}


def _said(number: float | None, how: str = "d") -> str:
    return "–" if number is None else format(number, how)


def _padded(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Names to the left, numbers to the right."""
    return [
        cell.ljust(w) if place < 2 else cell.rjust(w) for place, (cell, w) in enumerate(zip(row, widths, strict=True))
    ]
