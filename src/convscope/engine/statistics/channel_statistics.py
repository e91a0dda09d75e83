"""Statistics of the channels of one layer, to which the numbers of a few images at a time are added.

Partial sums are combined by the formula of Chan et al.; histograms have logarithmic bins. Saturation is judged by the
limits of the layer's activation function.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from convscope.engine.data.sources import Label
from convscope.engine.network.parametrized import class_name
from convscope.engine.statistics.log_histogram import LogGrid

FIRST_IMAGES = 128
"""For how many images, the first ones, the mean of every channel is kept, to find channels that correlate."""

MOST_CLASSES = 64
"""Class-wise channel means are kept for at most this many classes, those that occur first."""

_RECTIFIERS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, nn.Threshold,
)  # fmt: skip
"""Activation functions after which a channel that is never above zero is dead."""


def is_rectifier(module: nn.Module) -> bool:
    """Whether a channel of the output of a module is dead if it is never above zero."""
    return isinstance(module, _RECTIFIERS)


CHANNEL_GRID = {"octaves": 12, "bits": 3}
LAYER_GRID = {"octaves": 16, "bits": 5}
_LAYER_SAMPLES = 2**14
"""How many of the sampled numbers of an update go into the finer histogram of the whole layer."""


@dataclass(frozen=True)
class SaturationLimits:
    """The bounds of an activation function, and how close to them counts as saturated."""

    low: float | None
    high: float | None
    near: float = 0.0

    def reached(self, values: Tensor) -> Tensor:
        """Whether each value is at a limit."""
        at_limit = torch.zeros_like(values, dtype=torch.bool)
        if self.low is not None:
            at_limit |= values <= self.low + self.near
        if self.high is not None:
            at_limit |= values >= self.high - self.near
        return at_limit


def saturation_limits(module: nn.Module) -> SaturationLimits | None:
    """The limits of a saturating activation function; zero is no limit of a rectifier, but sparsity."""
    if isinstance(module, nn.Hardtanh):  # ReLU6 is a subclass
        return SaturationLimits(None if isinstance(module, nn.ReLU6) else module.min_val, module.max_val)
    known: dict[type[nn.Module], SaturationLimits] = {
        nn.Sigmoid: SaturationLimits(0.0, 1.0, 0.05),
        nn.Tanh: SaturationLimits(-1.0, 1.0, 0.05),
        nn.Softsign: SaturationLimits(-1.0, 1.0, 0.05),
        nn.Hardsigmoid: SaturationLimits(0.0, 1.0),
        nn.Hardswish: SaturationLimits(None, None),
    }
    limits = next((limits for kind, limits in known.items() if isinstance(module, kind)), None)
    return None if limits is None or (limits.low is None and limits.high is None) else limits


class _Moments:
    """Count, mean and sum of squared deviations of the sampled numbers of each channel."""

    def __init__(self, zeros: Tensor) -> None:
        self.count = 0
        self.mean = self.squared_deviations = zeros

    def add(self, sample: Tensor) -> None:
        """Add numbers (n, C) by the formula of Chan, Golub & LeVeque, which combines the sums of two parts."""
        count, mean = len(sample), sample.mean(0)
        deviations = sample - mean
        squares, mean = (deviations * deviations).sum(0).double(), mean.double()
        difference, total = mean - self.mean, self.count + count
        self.squared_deviations = (
            self.squared_deviations + squares + difference * difference * (self.count * count / total)
        )
        self.mean = self.mean + difference * (count / total)
        self.count = total

    @property
    def standard_deviation(self) -> Tensor:
        """The standard deviation of each channel."""
        return (self.squared_deviations / max(1, self.count)).sqrt()


class _Histograms:
    """Histograms of the sampled numbers: one for each channel, and a finer one for the layer as a whole."""

    def __init__(self, largest: float, channels: int, device: torch.device) -> None:
        self.channel_grid = LogGrid.reaching(largest, **CHANNEL_GRID)
        self.layer_grid = LogGrid.reaching(largest, **LAYER_GRID)
        self.channel_counts = torch.zeros(channels * self.channel_grid.size, dtype=torch.int32, device=device)
        self.layer_counts = torch.zeros(self.layer_grid.size, dtype=torch.int64, device=device)

    def add(self, sample: Tensor) -> None:
        """Add numbers (n, C)."""
        offsets = torch.arange(sample.shape[1], device=sample.device, dtype=torch.int32) * self.channel_grid.size
        bins = self.channel_grid.bin_indices(sample).add_(offsets).reshape(-1)
        self.channel_counts.scatter_add_(0, bins.long(), torch.ones_like(bins))
        step = coprime_step(sample.shape[1], sample.numel() // _LAYER_SAMPLES)  # all channels in turn
        subsample = sample.reshape(-1)[::step]
        self.layer_counts += torch.bincount(self.layer_grid.bin_indices(subsample), minlength=self.layer_grid.size)

    def channel_quantiles(self, shares: Sequence[float], low: Tensor, high: Tensor) -> Tensor:
        """The quantiles (C, S) of each channel."""
        counts = self.channel_counts.view(-1, self.channel_grid.size)
        levels = torch.tensor(shares, dtype=torch.float64, device=low.device).expand(len(low), -1)
        return self.channel_grid.quantiles(counts, levels, low, high)

    def layer_quantiles(self, shares: Sequence[float], low: Tensor, high: Tensor) -> Tensor:
        """The quantiles (S,) of the whole layer."""
        levels = torch.tensor(shares, dtype=torch.float64, device=self.layer_counts.device)
        return self.layer_grid.quantiles(self.layer_counts, levels, low, high)

    def zero_and_negative(self) -> tuple[Tensor, Tensor]:
        """How many sampled numbers of each channel are zero, and how many are negative."""
        counts = self.channel_counts.view(-1, self.channel_grid.size)
        return counts[:, self.channel_grid.side], counts[:, : self.channel_grid.side].sum(1)


class _ClassMeans:
    """The sums of channel means over the images of each class.

    Attributes:
        sums: label → (number of images, sum of their channel means).
        left_out: the labels beyond `MOST_CLASSES`.
    """

    def __init__(self) -> None:
        self.sums: dict[Any, tuple[int, Tensor]] = {}
        self.left_out: set[Any] = set()

    def add(self, means: Tensor, labels: Sequence[Label]) -> None:
        """Add the channel means (N, C) of images with these labels."""
        for label in dict.fromkeys(label for label in labels if label is not None):
            if label not in self.sums and len(self.sums) == MOST_CLASSES:
                self.left_out.add(label)
                continue
            rows = [row for row, row_label in enumerate(labels) if row_label == label]
            images, total = self.sums.get(label, (0, torch.zeros_like(means[0])))
            self.sums[label] = (images + len(rows), total + means[rows].sum(0))


class StatisticsAccumulator:
    """The statistics of one layer so far, per channel.

    Attributes:
        images: the number of images.
        positions: the number of positions in the map of one image.
        mean: the mean of each channel; ``low`` the smallest sampled number, ``high`` the largest of all numbers.
        moments, histograms: of the sampled numbers.
        at_limit: how many sampled numbers are at a limit of the activation function.
        first_means: the channel means (n, C) of the first images.
        class_means: the channel means of each class.
    """

    def __init__(self, address: str, first: "ChunkSummary") -> None:
        """Empty statistics of the layer at ``address``, whose grids of bins suit the ``first`` summary."""
        self.address, self.kind, self.shape = address, class_name(first.module), first.shape
        self.limits, self.rectifies = saturation_limits(first.module), isinstance(first.module, _RECTIFIERS)
        self.images, self.positions = 0, first.positions
        sample, channels = first.sample, first.sample.shape[1]
        self.low, self.high = sample.amin(0), first.high
        zeros = torch.zeros(channels, dtype=torch.float64, device=sample.device)
        self.mean, self.at_limit = zeros, torch.zeros_like(zeros)
        self.moments = _Moments(zeros)
        largest = float(torch.maximum(self.low.abs().max(), self.high.abs().max()))
        self.histograms = _Histograms(largest, channels, sample.device)
        self.first_means: list[Tensor] = []
        self.class_means = _ClassMeans()

    def add(self, summary: "ChunkSummary", labels: Sequence[Label]) -> None:
        """Add the summary of some images with these labels."""
        sample, means = summary.sample, summary.means.double()
        self.mean = self.mean + (means.mean(0) - self.mean) * (len(means) / (self.images + len(means)))
        self.moments.add(sample)
        self.low, self.high = torch.minimum(self.low, sample.amin(0)), torch.maximum(self.high, summary.high)
        self.histograms.add(sample)
        if self.limits is not None:
            self.at_limit += self.limits.reached(sample).sum(0)
        if self.images < FIRST_IMAGES:
            self.first_means.append(summary.means[: FIRST_IMAGES - self.images])
        self.class_means.add(means, labels)
        self.images += len(means)

    def table(self, shares: Sequence[float]) -> Tensor:
        """One row per channel (C, 6 + quantiles), float64.

        The columns are mean, standard deviation, minimum, the quantiles at ``shares``, maximum, and the shares of
        zeros, of numbers that are not positive, and of numbers at a limit.
        """
        low, high = self.low.double(), self.high.double()
        quantiles = self.histograms.channel_quantiles(shares, low, high)
        zeros, negative = self.histograms.zero_and_negative()
        parts = torch.stack([zeros, zeros + negative, self.at_limit], 1).double() / self.count
        moments = torch.stack([self.mean, self.moments.standard_deviation, low], 1)
        return torch.cat([moments, quantiles, high[:, None], parts], 1).cpu()

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The quantiles of the layer as a whole."""
        levels: list[float] = self.histograms.layer_quantiles(shares, self.low.min(), self.high.max()).tolist()
        return levels

    @property
    def count(self) -> int:
        """How many numbers of each channel were sampled."""
        return self.moments.count

    @property
    def layer_counts(self) -> Tensor:
        """The histogram of the whole layer, on `layer_grid`."""
        return self.histograms.layer_counts

    @property
    def layer_grid(self) -> LogGrid:
        """The bins of the histogram of the whole layer."""
        return self.histograms.layer_grid

    @property
    def classes(self) -> dict[Any, tuple[int, Tensor]]:
        """Label → (number of images, sum of their channel means)."""
        return self.class_means.sums

    @property
    def classes_left_out(self) -> set[Any]:
        """The labels beyond `MOST_CLASSES`."""
        return self.class_means.left_out


@dataclass(frozen=True)
class ChunkSummary:
    """What is recorded of one layer's output for some images.

    Attributes:
        means: (N, C), over many positions.
        high: (C,), the maximum over all numbers.
        sample: (n, C), the numbers at a few positions of every image.
        positions: the number of positions in the map.
    """

    module: nn.Module
    shape: tuple[int, ...]
    means: Tensor
    high: Tensor
    sample: Tensor
    positions: int

    def moved_to(self, buffer: "ChunkSummary") -> "ChunkSummary":
        """The same numbers in the memory of another summary, as far as the shapes agree."""
        pairs = {part: (getattr(self, part), getattr(buffer, part)) for part in ("means", "high", "sample")}
        fitting = {part: (own, memory) for part, (own, memory) in pairs.items() if own.shape == memory.shape}
        return replace(self, **{part: memory.copy_(own) for part, (own, memory) in fitting.items()})

    @classmethod
    def joined(cls, summaries: Sequence["ChunkSummary"]) -> "ChunkSummary":
        """One summary of all the images."""
        high = torch.stack([summary.high for summary in summaries]).amax(0)
        means, sample = (torch.cat([getattr(summary, part) for summary in summaries]) for part in ("means", "sample"))
        return replace(summaries[0], means=means, high=high, sample=sample)


def coprime_step(positions: int, least: int) -> int:
    """The smallest step of at least ``least`` that visits each position once before any twice."""
    step = max(1, least)
    while math.gcd(step, positions) != 1:
        step += 1
    return step
