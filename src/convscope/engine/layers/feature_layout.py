"""The layout of a layer's output: which dimension is the batch, which follow the input's axes, which are channels.

With a `FeatureLayout` every lens brings an output to the same form: images, channels, then positions. `layout_reading`
reads it from a recorded forward pass.

    (N, C, H, W)            images and channels first
    (N, H, W, C)            channels last, of any rank
    (T, N, C)               steps of a recurrent network first
    (N, 1 + H·W, C)         tokens, with a class token or registers among them
    (N·windows, h·w, C)     windows cut from the image
    (N·frames, C, H, W)     frames, views or heads folded into the batch
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class FeatureLayout:
    """The composition of a layer's output of images, channels and positions.

    Attributes:
        shape: the output's shape for one image.
        batch: the batch dimension. It holds ``outer`` blocks of all images, each image ``inner`` times in a row:
            (1, 1) for an ordinary batch, frames for a folded one.
        channels: the dimensions that are channels.
        spatial: the dimensions along which the input's axes lie.
        frames: the number of maps per image, folded into the batch or among the positions; usually 1.
        grid: the number of positions along each axis of the input, 1 along axes that were reduced.
        order: the indices along ``spatial`` (and a folded batch) that form the map, row by row; None for all in order.
        flat: whether channels and positions share a dimension (``(N, T, C·W)``): the values at one position are then
            the channels.
        no_map: why its positions form no map, where they do not.
        notation: the layout in the notation of `engine/layers/described_layout.py`, one word per dimension.
        region: along each axis of the input, start and end (exclusive) of the part that the map covers; empty where it
            covers the whole input but for less than one of its own steps at the ends.
        unbatched: whether the network computes it for one image at a time without a batch dimension, which ``shape``
            has nonetheless.
    """

    shape: Shape
    batch: int
    outer: int
    inner: int
    channels: Shape
    spatial: Shape
    frames: int
    grid: Shape
    order: Tensor | None = None
    flat: bool = False
    no_map: str = ""
    notation: str = ""
    region: tuple[tuple[int, int], ...] = ()
    unbatched: bool = False

    @property
    def has_positions(self) -> bool:
        """Whether it has more than one position along some axis of the input."""
        return not self.no_map and any(size > 1 for size in self.grid)

    @property
    def folded(self) -> bool:
        """Whether an image has several rows of the batch."""
        return self.outer * self.inner > 1

    @cached_property
    def channel_count(self) -> int:
        """The number of channels."""
        return self.frames if self.flat else math.prod(self.shape[d] for d in self.channels)

    @cached_property
    def extent(self) -> Shape:
        """The shape of one channel: the number of frames, where there are several, then the grid."""
        return (*((self.frames,) if self.frames > 1 and not self.flat else ()), *self.grid)

    def by_image(self, output: Tensor) -> Tensor:
        """An output for N images as (N, …), where the rest has the layout for a single image."""
        output = output[None] if self.unbatched else output
        images = output.shape[self.batch] // (self.outer * self.inner)
        split = split_dim(output, self.batch, (self.outer, images, self.inner)).movedim(self.batch + 1, 0)
        return split.flatten(self.batch + 1, self.batch + 2)

    def from_images(self, outputs: Tensor) -> Tensor:
        """The inverse of `by_image`: outputs (N, …) in the layout that the network produces for N images."""
        if self.unbatched:
            return outputs[0, 0]
        split = split_dim(outputs, self.batch + 1, (self.outer, self.inner))
        return split.movedim(0, self.batch + 1).flatten(self.batch, self.batch + 2)

    def to_map(self, output: Tensor) -> Tensor:
        """An output for N images as (N, C, positions …), the axes of the input last; a view where possible."""
        if self._is_standard:
            return output[None] if self.unbatched else output
        return self._map_by_image(self.by_image(output))

    def _map_by_image(self, numbers: Tensor) -> Tensor:
        numbers = self._channels_then_positions(numbers)
        if self.order is not None:
            numbers = self._select_order(numbers.flatten(2), self.order)
        return numbers.reshape(len(numbers), self.channel_count, *self.extent)

    def from_map(self, maps: Tensor, output: Tensor) -> Tensor:
        """The inverse of `to_map` for each of B maps (B, C, positions …): outputs (B, …) for one image each.

        Elements that belong to no position are those of ``output``.

        Args:
            output: the layer's output for one image.
        """
        if self._is_standard:
            return maps if self.unbatched else maps[:, None]
        template = self.by_image(output)
        target = self._channels_then_positions(template.expand(len(maps), *template.shape[1:]).clone())
        if self.order is None:
            return self._undo_permutation(target, maps.reshape(target.shape))
        flat = target.flatten(2)  # a copy where the layout does not allow a view
        flat = flat.index_copy(2, self.order.to(flat.device), maps.reshape(*flat.shape[:2], -1))
        return self._undo_permutation(target, flat.reshape(target.shape))

    def from_channels(self, numbers: Tensor, like: Tensor) -> Tensor:
        """Expand numbers (N, C), one per channel, to the shape of the output ``like`` for N images."""
        return self.from_images(self.channels_by_image(numbers, self.by_image(like)))

    def channels_by_image(self, numbers: Tensor, like: Tensor) -> Tensor:
        """Expand numbers (N, C), one per channel, to the shape of ``like``, an output as `by_image` returns it."""
        zeros = torch.zeros_like(like)
        if self.flat:
            maps = numbers.to(like).view(*numbers.shape, *[1] * len(self.grid)).expand(*numbers.shape, *self.grid)
            return self.from_map(maps, self.from_images(zeros[:1]))
        target = self._channels_then_positions(zeros)
        expanded = numbers.to(like).reshape(*target.shape[:2], *[1] * (target.ndim - 2)).expand(target.shape)
        return self._undo_permutation(target, expanded)

    def by_channel(self, output: Tensor) -> Tensor:
        """An output for N images as (N, C, P) with all its elements, including class tokens and registers."""
        return self._flatten_positions(self.by_image(output))

    def _flatten_positions(self, numbers: Tensor) -> Tensor:
        numbers = self._channels_then_positions(numbers)
        return numbers.reshape(*numbers.shape[:2], -1)

    def positions(self, output: Tensor) -> Tensor:
        """An output for N images as (N, C, P): the positions of its map where it has one, else all its elements."""
        return self.to_map(output).flatten(2) if self.has_positions else self.by_channel(output)

    def units(self, output: Tensor) -> Tensor:
        """An output for N images with units in dimension 1: its map, or (N, C) where it has no positions."""
        return self.to_map(output) if self._is_map else self.units_by_image(self.by_image(output))

    def units_by_image(self, numbers: Tensor) -> Tensor:
        """The same for an output as `by_image` returns it."""
        if self._is_map:
            return self._map_by_image(numbers)
        numbers = self._flatten_positions(numbers)
        return numbers.flatten(1) if numbers.shape[2] == 1 else numbers

    @cached_property
    def _is_map(self) -> bool:
        """Whether it is a map, possibly of a single position."""
        single_position = not self.no_map and len(self.shape) == len(self.grid) + 2
        return self.has_positions or self.frames > 1 or single_position

    @cached_property
    def _is_standard(self) -> bool:
        """Whether an output as `by_image` returns it already is its map."""
        leading_dims = len(self.shape) - len(self.grid)
        channels_first = (
            self.channels == (1,) and self.spatial == tuple(range(2, len(self.shape))) and leading_dims == 2
        )
        return channels_first and self.order is None and self.frames == 1 and self.shape[2:] == self.grid

    def _select_order(self, numbers: Tensor, order: Tensor) -> Tensor:
        """The elements of (N, C, P) that form the map, row by row; a view where they are consecutive."""
        first, last = int(order[0]), int(order[-1])
        if last - first + 1 == len(order) and torch.equal(order, torch.arange(first, last + 1, device="cpu")):
            return numbers[:, :, first : last + 1]
        return numbers.index_select(2, order.to(numbers.device))

    def _channels_then_positions(self, numbers: Tensor) -> Tensor:
        """Permute (N, …) to (N, C, …) with the spatial dimensions after the channels, in their order."""
        size_one = [
            d for d in range(len(self.shape)) if d not in (*self.channels, *self.spatial) and self.shape[d] == 1
        ]
        permuted = numbers.permute(0, *(1 + d for d in (*self.channels, *size_one, *self.spatial)))
        return permuted.reshape(
            len(numbers), math.prod(self.shape[d] for d in self.channels), *(self.shape[d] for d in self.spatial)
        )

    def _undo_permutation(self, target: Tensor, numbers: Tensor) -> Tensor:
        """The inverse of `_channels_then_positions`: (N, C, …) as an output that `by_image` returns."""
        size_one = [
            d for d in range(len(self.shape)) if d not in (*self.channels, *self.spatial) and self.shape[d] == 1
        ]
        dims = (*self.channels, *size_one, *self.spatial)
        unflattened = numbers.reshape(len(target), *(self.shape[d] for d in dims))
        return unflattened.permute(0, *(1 + dims.index(d) for d in range(len(self.shape))))


def split_dim(tensor: Tensor, dim: int, sizes: tuple[int, ...]) -> Tensor:
    """Split one dimension into several; a view."""
    return tensor.view(*tensor.shape[:dim], *sizes, *tensor.shape[dim + 1 :])
