"""The inputs of a data set that activate each channel most, found in one pass with constant memory.

Of every image only the maximum of each channel is recorded; its position in the map is determined only for the few
images that enter a channel's top k. The forward pass ends at the last requested layer.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.engine.data.data_set import Chunk, Dataset
from convscope.engine.layers.addresses import UnitAddress
from convscope.engine.layers.layer_trace import call_count, require_all_images, trace_layers, traced_layer
from convscope.engine.network.hooks import first_tensor, on_forward, refuse_complex, stop_at
from convscope.engine.network.quantized import dequantized
from convscope.engine.network.scripted_modules import unreached_message
from convscope.engine.statistics.largest_channels import channel_maxima
from convscope.errors import LayerError, NotFinite, UnknownName

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


@dataclass
class ChannelTopK:
    """The top k of each channel of one layer so far, the largest first.

    Attributes:
        values: (k, C), the activations.
        places: (k, C), the indices of the inputs in the data set, -1 where there is none.
        positions: (k, C), the indices in the flattened map, -1 where there is none.
    """

    values: Tensor
    places: Tensor
    positions: Tensor

    @classmethod
    def empty(cls, k: int, channels: int, like: Tensor) -> "ChannelTopK":
        """A top k without entries."""
        missing = torch.full((k, channels), -1, dtype=torch.int64, device=like.device)
        return cls(
            torch.full((k, channels), -torch.inf, device=like.device, dtype=torch.float32), missing, missing.clone()
        )

    def truncated(self, count: int) -> "ChannelTopK":
        """The first ``count`` entries, without those that are empty."""
        return ChannelTopK(self.values[:count], self.places[:count], self.positions[:count])

    def merged(self, values: Tensor, places: Tensor, positions: Tensor) -> "ChannelTopK":
        """The top k of both; among equal values the earlier input comes first."""
        all_values = torch.cat([self.values, values])
        order = torch.sort(all_values, dim=0, descending=True, stable=True).indices[: len(self.values)]
        all_places = torch.cat([self.places, places[:, None].expand_as(values)])
        all_positions = torch.cat([self.positions, positions])
        return ChannelTopK(all_values.gather(0, order), all_places.gather(0, order), all_positions.gather(0, order))


class TopInputs:
    """Runs a network over chunks and keeps the top k of each channel of the layers of some units.

    Args:
        by: how an image is ranked: by the ``max`` or the ``mean`` of its map.
        keep: whether to keep the inputs in the top k, which a stream cannot reopen.
    """

    def __init__(self, model: "Model", units: Sequence[UnitAddress], k: int, *, by: str, keep: bool) -> None:
        self.model, self.units, self.k, self.by = model, units, k, by
        self.addresses = tuple(dict.fromkeys(unit.layer for unit in units))
        self.images = 0
        self.grids: dict[str, tuple[int, ...]] = {}
        self.best: dict[str, ChannelTopK] = {}
        self.names: dict[int, str] = {}
        self.labels: dict[int, Any] = {}
        self.inputs: dict[int, Tensor] | None = {} if keep else None
        """The inputs in the top k by their index in the data set, where they cannot be reopened."""

    def run(self, chunk: Chunk) -> None:
        """Run one chunk and update the top k with its images."""
        updated: dict[str, ChannelTopK] = {}
        last, calls = self._last_layer(chunk.tensor)
        with ExitStack() as hooks, torch.no_grad():
            for address in self.addresses:
                hooks.callback(on_forward(self.model.module, address, self._hook(address, chunk, updated)).remove)
            hooks.enter_context(stop_at(self.model.module, last, call=calls))
            self.model.run(self.model.input_copy(chunk.tensor))
        self.best |= updated
        self.images += len(chunk)
        self._store_members(chunk)

    def _hook(self, address: str, chunk: Chunk, updated: dict[str, ChannelTopK]) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is not None:
                refuse_complex(tensor, address)
                tensor = dequantized(tensor)
            layout = traced_layer(self.model, address, chunk.tensor).layout
            numbers = None
            if tensor is not None and layout is not None:
                numbers = layout.positions(require_all_images(layout, address, len(chunk), tensor))
            if (
                tensor is None
                or layout is None
                or numbers is None
                or not numbers.is_floating_point()
                or not numbers.numel()
            ):
                shape = "no tensor" if tensor is None else f"shape {tuple(tensor.shape)}"
                raise LayerError(f"layer {address!r} gives {shape}, which is not made of units: choose another layer")
            self.grids[address] = layout.extent if layout.has_positions else (numbers.shape[2],)
            self._check_units(address, numbers.shape[1])
            updated[address] = self._updated(address, numbers, chunk)

        return hook

    def _check_units(self, address: str, channels: int) -> None:
        for unit in self.units:
            if unit.layer == address and unit.unit is not None and unit.unit >= channels:
                raise UnknownName(f"no unit {unit}: {address!r} has units 0 to {channels - 1}")

    def _updated(self, address: str, numbers: Tensor, chunk: Chunk) -> ChannelTopK:
        """The top k of one layer, updated with the images of this chunk."""
        values = channel_maxima(numbers).float() if self.by == "max" else numbers.float().mean(2)
        if not bool(torch.isfinite(values.sum())):
            raise NotFinite(f"layer {address!r} gives NaN or infinite numbers", images=chunk)
        top = self.best.get(address) or ChannelTopK.empty(self.k, values.shape[1], values)
        positions = torch.full(values.shape, -1, dtype=torch.int64, device=values.device)
        if self.by == "max":
            image, channel = (values > top.values[-1]).nonzero(as_tuple=True)
            positions[image, channel] = numbers[image, channel].argmax(1)
        indices = torch.tensor(chunk.indices, device=values.device)
        return top.merged(values, indices, positions)

    def _store_members(self, chunk: Chunk) -> None:
        """Store names and labels of the members in a top k, and their inputs where they cannot be reopened."""
        listed = {index for top in self.best.values() for index in top.places.reshape(-1).tolist()}
        for row, index in enumerate(chunk.indices):
            if index in listed:
                self.names[index], self.labels[index] = chunk.names[row], chunk.labels[row] if chunk.labels else None
                if self.inputs is not None:
                    self.inputs[index] = chunk.tensor[row].clone()
        for index in self.names.keys() - listed:
            del self.names[index], self.labels[index]
            if self.inputs is not None:
                del self.inputs[index]

    def _last_layer(self, tensor: Tensor) -> tuple[str, int]:
        order = trace_layers(self.model, tensor).order
        missing = [address for address in self.addresses if address not in order]
        if missing:
            raise LayerError(unreached_message(self.model.module, missing[0]))
        last = max(self.addresses, key=lambda address: len(order) - order[::-1].index(address))
        return last, call_count(self.model, last, tensor)


def find_top_inputs(model: "Model", images: Dataset, units: Sequence[UnitAddress], k: int, *, by: str) -> TopInputs:
    """The top ``k`` inputs over a data set, for each channel of the layers of these units."""
    collector = TopInputs(model, units, k, by=by, keep=not images.can_reopen)
    images.for_each_chunk(collector.run)
    collector.best = {address: top.truncated(collector.images) for address, top in collector.best.items()}
    return collector


def reload_inputs(top_inputs: TopInputs, images: Dataset, indices: Iterable[int]) -> dict[int, Tensor]:
    """The prepared inputs at these indices of the data set."""
    if top_inputs.inputs is not None:
        return {index: top_inputs.inputs[index] for index in indices}
    inputs: dict[int, Tensor] = {}
    sorted_indices = sorted(set(indices))
    for start in range(0, len(sorted_indices), 16):
        chunk = images.reopen(sorted_indices[start : start + 16])
        inputs |= dict(zip(chunk.indices, chunk.tensor, strict=True))
    return inputs
