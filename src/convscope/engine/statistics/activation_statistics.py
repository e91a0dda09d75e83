"""Statistics of the activations of every layer, collected in one pass over any number of images, in constant memory.

Each layer's output is read as soon as it is computed. Maxima are over all elements, so that a unit reported as dead is
dead; means are over at most `MEAN_POSITIONS` evenly spaced positions per image; spread, shares and histograms are over
a few positions per image, which move over the map so that all positions are used in turn. The summary of a chunk is
buffered once its forward pass has succeeded, and added to the statistics a few chunks at a time; partial sums are
combined by the formula of Chan et al.
"""

import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.engine.data.data_set import Chunk, Dataset
from convscope.engine.data.sources import Label
from convscope.engine.layers.trace import call_count, layout_at_call, require_all_images, trace_layers
from convscope.engine.network.hooks import first_tensor, on_forward, stop_at
from convscope.engine.network.packaged import hidden_layers_hint, unreached_message
from convscope.engine.network.parametrized import class_name
from convscope.engine.network.quantized import dequantized
from convscope.engine.statistics.largest_channels import channel_maxima
from convscope.engine.statistics.log_histogram import LogGrid
from convscope.errors import LayerError, NotFinite
from convscope.values.facts import Fact

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

FIRST_IMAGES = 128
"""For how many images, the first ones, the mean of every channel is kept, to find channels that correlate."""

MEAN_POSITIONS, FEWEST_POSITIONS = 1024, 4
_ASSUMED_IMAGES = 256
"""The assumed number of images in a stream of unknown length."""

_IMAGES_PER_UPDATE = 32
"""How many images are added to the statistics at once, which turns many small operations into few."""

MOST_CLASSES = 64
"""Class-wise channel means are kept for at most this many classes, those that occur first."""

_RECTIFIERS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, nn.Threshold,
)  # fmt: skip
"""Activation functions after which a channel that is never above zero is dead."""

_CLAMPS: dict[type[nn.Module], tuple[float | None, ...]] = {nn.ReLU: (0, None), nn.ReLU6: (0, 6)}
"""Activation functions that only clamp their input: the maximum of the output follows from that of the input."""

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
        step = _coprime(sample.shape[1], sample.numel() // _LAYER_SAMPLES)  # all channels in turn
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


class StatisticsCollector:
    """Records the outputs of layers while the network runs on one chunk after another.

    Args:
        samples: how many numbers of each channel are wanted over all ``images``.
    """

    def __init__(self, model: "Model", addresses: Iterable[str], *, samples: int, images: int | None) -> None:
        self.model, self.addresses = model, tuple(dict.fromkeys(addresses))
        self.per_image = max(FEWEST_POSITIONS, -(-samples // (images or _ASSUMED_IMAGES)))
        self.layers: dict[str, StatisticsAccumulator] = {}
        self._buffered: dict[str, list[ChunkSummary]] = {}
        self._reusable: dict[str, list[ChunkSummary]] = {}
        """Summaries already added to the statistics: reusing their memory avoids fragmentation."""
        self._last_output: tuple[Any, int, Tensor] | None = None
        """A reference to the last layer's output, its version counter, and the maximum of each channel."""
        self._labels: list[Label] = []
        self.unreadable: dict[str, str] = {}
        """Layers that cannot be read channel by channel, with the reason."""

    def run(self, chunk: Chunk) -> None:
        """Run the network on one chunk and record the outputs of its layers."""
        summaries: dict[str, ChunkSummary] = {}
        last, calls = self._last_layer(chunk.tensor)
        with ExitStack() as hooks, torch.no_grad():
            for address in self.addresses:
                handle = on_forward(self.model.module, address, self._hook(address, chunk, summaries))
                hooks.callback(handle.remove)
            hooks.enter_context(stop_at(self.model.module, last, call=calls))
            self.model.run(self.model.input_copy(chunk.tensor))
        if summaries:
            self._check_finite(summaries, chunk)
        for name, summary in summaries.items():
            self._buffered.setdefault(name, []).append(summary)
        self._labels += chunk.labels or (None,) * len(chunk)
        if len(self._labels) >= _IMAGES_PER_UPDATE:
            self.update()

    def update(self) -> None:
        """Add the buffered summaries to the statistics."""
        for name, summaries in self._buffered.items():
            summary = ChunkSummary.joined(summaries)
            if name not in self.layers:
                self.layers[name] = StatisticsAccumulator(name, summary)
            self.layers[name].add(summary, self._labels)
        self._reusable, self._buffered, self._labels = self._buffered, {}, []

    def _hook(self, address: str, chunk: Chunk, summaries: dict[str, ChunkSummary]) -> Any:
        calls = 0

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal calls
            calls += 1
            tensor = first_tensor(output)
            name = address if calls == 1 else f"{address}, call {calls}"
            if tensor is None or not (tensor.is_floating_point() or tensor.is_quantized):
                self.unreadable[name] = _not_real_message(tensor)
                return
            layout = layout_at_call(self.model, address, chunk.tensor, calls)
            if layout is None or tensor.numel() == 0 or tensor.ndim != len(layout.shape) - layout.unbatched:
                self.unreadable[name] = Fact("what these give is not made of one part per image")
                return
            tensor = require_all_images(layout, address, len(chunk), dequantized(tensor.detach()))
            numbers = layout.by_channel(tensor)
            high = self._clamped_maxima(module, inputs, tensor)
            high = channel_maxima(numbers).amax(0).float() if high is None else high
            self._last_output = None if tensor.is_inference() else (weakref.ref(tensor), tensor._version, high)
            index, reusable = len(self._buffered.get(name, ())), self._reusable.get(name, ())
            summary = self._summarize(module, tensor, numbers, high, chunk.indices)
            summaries[name] = summary.moved_to(reusable[index]) if index < len(reusable) else summary

        return hook

    def _clamped_maxima(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        """The channel maxima after a clamping activation function, where those of its input are known."""
        limits = _CLAMPS.get(type(module))
        if limits is None or self._last_output is None or not inputs:
            return None
        reference, version, high = self._last_output
        if reference() is not inputs[0] or inputs[0]._version != version + (output is inputs[0]):
            return None
        return high.clamp(*limits)

    def _summarize(
        self, module: nn.Module, tensor: Tensor, numbers: Tensor, high: Tensor, indices: tuple[int, ...]
    ) -> ChunkSummary:
        positions = numbers.shape[2]
        step = _coprime(positions, positions // MEAN_POSITIONS) if positions > MEAN_POSITIONS else 1
        means = numbers[:, :, step // 2 :: step].mean(2, dtype=torch.float32)
        sample = _sample_positions(numbers, self.per_image, indices)
        return ChunkSummary(module, tuple(tensor.shape[1:]), means, high, sample, positions)

    def _last_layer(self, tensor: Tensor) -> tuple[str, int]:
        """The requested layer that finishes last, and how often it runs."""
        order = trace_layers(self.model, tensor).order
        reached = [address for address in self.addresses if address in order]
        if not self.addresses:
            raise LayerError(
                f"{self.model.name} has no layers within it whose outputs could be described"
                + hidden_layers_hint(self.model.module, "layers")
            )
        if not reached:
            raise LayerError(unreached_message(self.model.module, self.addresses[0]))
        last = max(reached, key=lambda address: len(order) - order[::-1].index(address))
        return last, call_count(self.model, last, tensor)

    def _check_finite(self, summaries: Mapping[str, ChunkSummary], chunk: Chunk) -> None:
        """Raise for the first layer with NaN or infinite outputs; synchronizes with the device once for all layers."""
        sums = torch.stack([(summary.high.sum() + summary.means.sum()).double() for summary in summaries.values()])
        finite = torch.isfinite(sums).tolist()
        if not all(finite):
            name = list(summaries)[finite.index(False)]
            raise NotFinite(f"layer {name!r} gives NaN or infinite numbers, the first layer that does", images=chunk)


def _not_real_message(tensor: Tensor | None) -> str:
    """Why a layer has no statistics: it returns no tensor, or one of numbers that are not real."""
    if tensor is None:
        return Fact("these give no tensor")
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_complex():
        return Fact("these give complex numbers ({kind})", kind=kind)
    return Fact("these give whole numbers ({kind})", kind=kind)


def collect_statistics(
    model: "Model", images: Dataset, addresses: Iterable[str], *, samples: int
) -> StatisticsCollector:
    """Collect the statistics of layers over a data set.

    Args:
        samples: how many numbers of each channel are sampled in all.

    Raises:
        LayerError: none of the layers can be described.
    """
    collector = StatisticsCollector(model, addresses, samples=samples, images=images.size)
    images.for_each_chunk(collector.run)
    collector.update()
    if not collector.layers:
        raise LayerError(f"no layer can be described: {list_reasons(collector.unreadable)}; choose another layer")
    return collector


def list_reasons(unreadable: Mapping[str, str]) -> Fact:
    """Which layers are left out, grouped by reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in unreadable.items():
        by_reason.setdefault(reason, []).append(name)
    parts = [Fact("{layers}: {why}", layers=names, why=reason) for reason, names in by_reason.items()]
    return Fact("{parts:; }", parts=parts)


def _sample_positions(numbers: Tensor, count: int, indices: tuple[int, ...]) -> Tensor:
    """``count`` positions of each image (n, C), a copy; over many images all positions are used in turn."""
    images, channels, positions = numbers.shape
    if count >= positions:
        return numbers.transpose(1, 2).reshape(-1, channels).clone().float()
    stride = _coprime(positions, round(0.618 * positions))
    first = torch.tensor(indices, device=numbers.device)[:, None] * count
    selected = (first + torch.arange(count, device=numbers.device)) * stride % positions
    rows = torch.arange(images, device=numbers.device)[:, None]
    return numbers.transpose(1, 2)[rows, selected].reshape(-1, channels).float()


def _coprime(positions: int, least: int) -> int:
    """The smallest step of at least ``least`` that visits each position once before any twice."""
    step = max(1, least)
    while math.gcd(step, positions) != 1:
        step += 1
    return step
