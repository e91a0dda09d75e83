"""Which inputs of a data set excite each channel most, found in one pass with constant memory.

Of every image only the maximum of each channel is taken; where in the map it lies is looked up only for the few images
that enter a channel's list of the best. The forward ends at the last layer asked for.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.engine.data.data_set import Chunk, Dataset
from convscope.engine.layers.addresses import UnitAddress
from convscope.engine.layers.trace import all_images, calls_of, layer_at, traced
from convscope.engine.network.hooks import first_tensor, on_forward, refuse_complex, stopping_at
from convscope.engine.network.packaged import unreached
from convscope.engine.network.quantized import dequantized
from convscope.engine.statistics.largest_channels import largest
from convscope.errors import LayerError, NotFinite, UnknownName

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


@dataclass
class Best:
    """The best of each channel of one layer so far, the best first.

    Attributes:
        values: (k, C); ``places`` in the data set, ``positions`` in the flattened map, -1 where there is none.
    """

    values: Tensor
    places: Tensor
    positions: Tensor

    @classmethod
    def none(cls, k: int, channels: int, like: Tensor) -> "Best":
        """A list with nobody in it."""
        nobody = torch.full((k, channels), -1, dtype=torch.int64, device=like.device)
        return cls(
            torch.full((k, channels), -torch.inf, device=like.device, dtype=torch.float32), nobody, nobody.clone()
        )

    def first(self, count: int) -> "Best":
        """The list without the places that nobody took."""
        return Best(self.values[:count], self.places[:count], self.positions[:count])

    def joined(self, values: Tensor, places: Tensor, positions: Tensor) -> "Best":
        """The best of both; of equals the one that came first stays before."""
        every = torch.cat([self.values, values])
        order = torch.sort(every, dim=0, descending=True, stable=True).indices[: len(self.values)]
        at = torch.cat([self.places, places[:, None].expand_as(values)])
        where = torch.cat([self.positions, positions])
        return Best(every.gather(0, order), at.gather(0, order), where.gather(0, order))


class Contest:
    """Runs a network over chunks and keeps the best of each channel of the layers of some units.

    Args:
        keep: hold the winners' inputs, where a data set passes but once.
        by: what an image counts for: its ``max`` or its ``mean`` over the map.
    """

    def __init__(self, model: "Model", units: Sequence[UnitAddress], k: int, *, by: str, keep: bool) -> None:
        self.model, self.units, self.k, self.by = model, units, k, by
        self.addresses = tuple(dict.fromkeys(one.layer for one in units))
        self.images = 0
        self.grids: dict[str, tuple[int, ...]] = {}
        self.best: dict[str, Best] = {}
        self.names: dict[int, str] = {}
        self.labels: dict[int, Any] = {}
        self.kept: dict[int, Tensor] | None = {} if keep else None
        """The winners' inputs, where they could not be opened again."""

    def look(self, chunk: Chunk) -> None:
        """Run one chunk and let its images into the lists."""
        found: dict[str, Best] = {}
        last, calls = self._last(chunk.tensor)
        with ExitStack() as hooks, torch.no_grad():
            for address in self.addresses:
                hooks.callback(on_forward(self.model.module, address, self._watch(address, chunk, found)).remove)
            hooks.enter_context(stopping_at(self.model.module, last, call=calls))
            self.model.run(self.model.laid_out(chunk.tensor))
        self.best |= found
        self.images += len(chunk)
        self._remember(chunk)

    def _watch(self, address: str, chunk: Chunk, found: dict[str, Best]) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is not None:
                refuse_complex(tensor, address)
                tensor = dequantized(tensor)
            layout = layer_at(self.model, address, chunk.tensor).layout
            numbers = None
            if tensor is not None and layout is not None:
                numbers = layout.positions(all_images(layout, address, len(chunk), tensor))
            if (
                tensor is None
                or layout is None
                or numbers is None
                or not numbers.is_floating_point()
                or not numbers.numel()
            ):
                shape = "no tensor" if tensor is None else f"shape {tuple(tensor.shape)}"
                raise LayerError(f"layer {address!r} gives {shape}, which is not made of units: choose another layer")
            self.grids[address] = layout.extent if layout.has_places else (numbers.shape[2],)
            self._refuse_unknown(address, numbers.shape[1])
            found[address] = self._entered(address, numbers, chunk)

        return hook

    def _refuse_unknown(self, address: str, channels: int) -> None:
        for one in self.units:
            if one.layer == address and one.unit is not None and one.unit >= channels:
                raise UnknownName(f"no unit {one}: {address!r} has units 0 to {channels - 1}")

    def _entered(self, address: str, numbers: Tensor, chunk: Chunk) -> Best:
        """The lists of one layer with this chunk's images in them."""
        values = largest(numbers).float() if self.by == "max" else numbers.float().mean(2)
        if not bool(torch.isfinite(values.sum())):
            raise NotFinite(f"layer {address!r} gives NaN or infinite numbers", images=chunk)
        best = self.best.get(address) or Best.none(self.k, values.shape[1], values)
        positions = torch.full(values.shape, -1, dtype=torch.int64, device=values.device)
        if self.by == "max":
            image, channel = (values > best.values[-1]).nonzero(as_tuple=True)
            positions[image, channel] = numbers[image, channel].argmax(1)
        places = torch.tensor(chunk.places, device=values.device)
        return best.joined(values, places, positions)

    def _remember(self, chunk: Chunk) -> None:
        """The names of those in a list, and where they pass but once their inputs."""
        known = {place for best in self.best.values() for place in best.places.reshape(-1).tolist()}
        for row, place in enumerate(chunk.places):
            if place in known:
                self.names[place], self.labels[place] = chunk.names[row], chunk.labels[row] if chunk.labels else None
                if self.kept is not None:
                    self.kept[place] = chunk.tensor[row].clone()
        for gone in self.names.keys() - known:
            del self.names[gone], self.labels[gone]
            if self.kept is not None:
                del self.kept[gone]

    def _last(self, tensor: Tensor) -> tuple[str, int]:
        order = traced(self.model, tensor).order
        missing = [address for address in self.addresses if address not in order]
        if missing:
            raise LayerError(unreached(self.model.module, missing[0]))
        last = max(self.addresses, key=lambda address: len(order) - order[::-1].index(address))
        return last, calls_of(self.model, last, tensor)


def contest(model: "Model", images: Dataset, units: Sequence[UnitAddress], k: int, *, by: str) -> Contest:
    """The best ``k`` inputs of each channel of the layers of these units over a data set."""
    found = Contest(model, units, k, by=by, keep=not images.reopens)
    images.each(found.look)
    found.best = {address: best.first(found.images) for address, best in found.best.items()}
    return found


def opened(held: Contest, images: Dataset, places: Iterable[int]) -> dict[int, Tensor]:
    """The inputs at these places once more, prepared."""
    if held.kept is not None:
        return {place: held.kept[place] for place in places}
    found: dict[int, Tensor] = {}
    wanted = sorted(set(places))
    for start in range(0, len(wanted), 16):
        chunk = images.again(wanted[start : start + 16])
        found |= dict(zip(chunk.places, chunk.tensor, strict=True))
    return found
