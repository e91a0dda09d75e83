"""The distribution of the activations, or of the parameter gradients, of every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LayerStatistics:
    """Summary statistics of one layer.

    Attributes:
        layer, kind, shape: the address, the class of the module, the output shape for one input.
        count: the number of values behind the shares and quantiles.
        mean, spread, low, high: mean, standard deviation, minimum and maximum.
        quantiles: ``"5 %"`` … ``"95 %"`` → the quantile.
        zeros: the share of values that are exactly zero; ``not_positive`` of those that are zero or negative.
        channels: the number of channels. Of these, ``dead`` ones are never positive or never change, ``saturated`` ones
            are at the limit of their activation function for 95 % of the values or more, ``duplicates`` repeat another
            channel; None if this cannot be determined.
        norm: for gradients, the L2 norm of all values; ``ratio`` is the norm relative to that of the parameters.
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
    """The values of every layer as a histogram and summary statistics, by layer and by channel.

    Attributes:
        of: ``"activations"`` or ``"gradients"``.
        layers: one `LayerStatistics` per layer, in execution order.
        images: the number of images.
        histograms: layer → counts (bins,); ``edges``: layer → bin edges (bins + 1,). Each doubling of the magnitude is
            divided into 32 bins; zero has a bin of its own.
        channels: layer → one row per channel with the statistics named in ``columns``.
        class_means: layer → (classes, channels), the mean of each channel over the images of each of ``classes``.
        twins: layer → pairs of nearly identical channels as (channel, other channel, correlation), the highest
            correlation first.
    """

    arrays: ClassVar[tuple[str, ...]] = ("histograms", "edges", "channels", "class_means")

    of: str
    layers: tuple[LayerStatistics, ...]
    images: int
    histograms: Mapping[str, Tensor]
    edges: Mapping[str, Tensor]
    columns: tuple[str, ...] = ()
    channels: Mapping[str, Tensor] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    class_means: Mapping[str, Tensor] = field(default_factory=dict)
    twins: Mapping[str, tuple[tuple[int, int, float], ...]] = field(default_factory=dict)

    def __getitem__(self, layer: str) -> LayerStatistics:
        """The statistics of a layer, by its address."""
        return next(statistics for statistics in self.layers if statistics.layer == layer)

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in cls.arrays:
            stored[name] = {key: torch.from_numpy(array) for key, array in stored.get(name, {}).items()}
        for name in ("columns", "classes"):
            stored[name] = tuple(stored[name])
        stored["layers"] = tuple(
            LayerStatistics(**{**layer, "shape": tuple(layer["shape"])}) for layer in stored["layers"]
        )
        stored["twins"] = {layer: tuple((a, b, c) for a, b, c in pairs) for layer, pairs in stored["twins"].items()}
        return stored

    def lines(self) -> list[str]:
        """A table with one row per layer: shape, mean, standard deviation, range, and counts of faulty channels."""
        head = ("layer", "shape", "mean", "spread", "min", "max", "zeros", *_LAST_COLUMNS[self.of])
        rows = [head, *(self._row(layer) for layer in self.layers)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        return ["  ".join(_padded(row, widths)).rstrip() for row in rows]

    def _row(self, layer: LayerStatistics) -> tuple[str, ...]:
        shape = "×".join(str(side) for side in layer.shape)
        common = (layer.layer, shape, *(f"{n:.3g}" for n in (layer.mean, layer.spread, layer.low, layer.high)))
        gradients = (_format(layer.norm, ".3g"), _format(layer.ratio, ".2e"))
        units = (_format(layer.dead), _format(layer.saturated), _format(layer.duplicates))
        last = gradients if self.of == "gradients" else units
        return (*common, f"{layer.zeros:.1%}", *last)

    def __repr__(self) -> str:
        return f"Distribution({self.of} of {len(self.layers)} layers over {self.images} images)"


_LAST_COLUMNS = {"activations": ("dead", "saturated", "duplicate"), "gradients": ("norm", "norm/weights")}


def _format(number: float | None, specification: str = "d") -> str:
    return "–" if number is None else format(number, specification)


def _padded(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """The cells of a row, names aligned left and numbers aligned right."""
    return [
        cell.ljust(w) if column < 2 else cell.rjust(w) for column, (cell, w) in enumerate(zip(row, widths, strict=True))
    ]
