"""Statistics of the activations of every layer, collected in one pass over any number of images, in constant memory.

Each layer's output is read as soon as it is computed. Maxima are over all elements, so that a unit reported as dead is
dead; means are over at most `MEAN_POSITIONS` evenly spaced positions per image; spread, shares and histograms are over
a few positions per image, which move over the map so that all positions are used in turn. The summary of a chunk is
buffered once its forward pass has succeeded, and added to the statistics of its layer (`channel_statistics`) a few
chunks at a time.
"""

import weakref
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.engine.data.data_set import Chunk, Dataset
from convscope.engine.data.sources import Label
from convscope.engine.layers.feature_layout import FeatureLayout
from convscope.engine.layers.layer_trace import call_count, layout_at_call, require_all_images, trace_layers
from convscope.engine.network.hooks import first_tensor, on_forward, stop_at
from convscope.engine.network.quantized import dequantized
from convscope.engine.network.scripted_modules import hidden_layers_hint, unreached_message
from convscope.engine.statistics.channel_statistics import ChunkSummary, StatisticsAccumulator, coprime_step
from convscope.engine.statistics.largest_channels import channel_maxima
from convscope.errors import LayerError, NotFinite
from convscope.values.facts import Fact

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


MEAN_POSITIONS, FEWEST_POSITIONS = 1024, 4
_ASSUMED_IMAGES = 256
"""The assumed number of images in a stream of unknown length."""

_IMAGES_PER_UPDATE = 32
"""How many images are added to the statistics at once, which turns many small operations into few."""


_CLAMPS: dict[type[nn.Module], tuple[float | None, ...]] = {nn.ReLU: (0, None), nn.ReLU6: (0, 6)}
"""Activation functions that only clamp their input: the maximum of the output follows from that of the input."""


@dataclass(frozen=True)
class _LastOutput:
    """The output of the layer that ran last: a weak reference, its version counter, its layout, its summary."""

    reference: weakref.ref[Tensor]
    version: int
    layout: FeatureLayout
    summary: ChunkSummary

    def is_of(self, tensor: Tensor, layout: FeatureLayout, writes: int = 0) -> bool:
        """Whether it is this tensor in this layout, written to as often since then."""
        if self.reference() is not tensor or tensor._version != self.version + writes:
            return False
        if layout.order is not None or self.layout.order is not None:  # tensors, which would have to be compared
            return False
        return all(getattr(layout, part.name) == getattr(self.layout, part.name) for part in fields(layout))


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
        self._last_output: _LastOutput | None = None
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
            whole = require_all_images(layout, address, len(chunk), dequantized(tensor.detach()))
            summary = self._summary_of_last(module, tensor, layout)
            if summary is None:
                numbers = layout.by_channel(whole)
                high = self._clamped_maxima(module, inputs, tensor, layout)
                high = channel_maxima(numbers).amax(0).float() if high is None else high
                summary = self._summarize(module, whole, numbers, high, chunk.indices)
            self._last_output = None
            if not tensor.is_inference():
                self._last_output = _LastOutput(weakref.ref(tensor), tensor._version, layout, summary)
            index, reusable = len(self._buffered.get(name, ())), self._reusable.get(name, ())
            summaries[name] = summary.moved_to(reusable[index]) if index < len(reusable) else summary

        return hook

    def _clamped_maxima(self, module: nn.Module, inputs: Any, output: Tensor, layout: FeatureLayout) -> Tensor | None:
        """The channel maxima after a clamping activation function, where those of its input are known."""
        limits, last = _CLAMPS.get(type(module)), self._last_output
        if limits is None or last is None or not inputs or not last.is_of(inputs[0], layout, output is inputs[0]):
            return None
        return last.summary.high.clamp(*limits)

    def _summary_of_last(self, module: nn.Module, output: Tensor, layout: FeatureLayout) -> ChunkSummary | None:
        """The summary of the last output if this layer returns the same tensor, as a block returns that of its end."""
        last = self._last_output
        if last is None or not last.is_of(output, layout):
            return None
        parts = {part: getattr(last.summary, part).clone() for part in ("means", "high", "sample")}
        return replace(last.summary, module=module, **parts)

    def _summarize(
        self, module: nn.Module, tensor: Tensor, numbers: Tensor, high: Tensor, indices: tuple[int, ...]
    ) -> ChunkSummary:
        positions = numbers.shape[2]
        step = coprime_step(positions, positions // MEAN_POSITIONS) if positions > MEAN_POSITIONS else 1
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
    stride = coprime_step(positions, round(0.618 * positions))
    first = torch.tensor(indices, device=numbers.device)[:, None] * count
    selected = (first + torch.arange(count, device=numbers.device)) * stride % positions
    rows = torch.arange(images, device=numbers.device)[:, None]
    return numbers.transpose(1, 2)[rows, selected].reshape(-1, channels).float()
