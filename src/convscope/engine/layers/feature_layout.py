"""The layout of a layer's output: which dimension is the batch, which follow the input's axes, which are channels.

Nothing is guessed from sizes. One recorded forward pass of two images (`engine/graph`) carries, for every element of
every tensor, which image and which position of the input it belongs to; `read_layout` turns that into a
`FeatureLayout`, with which every lens brings an output to the same form: images, channels, then positions.

    (N, C, H, W)            images and channels first
    (N, H, W, C)            channels last, of any rank
    (T, N, C)               steps of a recurrent network first
    (N, 1 + H·W, C)         tokens, with a class token or registers among them
    (N·windows, h·w, C)     windows cut from the image
    (N·frames, C, H, W)     frames, views or heads folded into the batch
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from convscope.engine.graph.dependence import Dependence

Shape = tuple[int, ...]

LETTERS = {1: ["T"], 2: ["H", "W"], 3: ["D", "H", "W"]}
"""The letters of the axes of an input, by their number."""


RESAMPLED = "is a map of an image that the network has resampled (grid_sample), and not of its input"


class UnknownLayout(Exception):
    """A layer's output cannot be read as channels and positions; the message is a clause that says why."""


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
        split = _split_dim(output, self.batch, (self.outer, images, self.inner)).movedim(self.batch + 1, 0)
        return split.flatten(self.batch + 1, self.batch + 2)

    def from_images(self, outputs: Tensor) -> Tensor:
        """The inverse of `by_image`: outputs (N, …) in the layout that the network produces for N images."""
        if self.unbatched:
            return outputs[0, 0]
        split = _split_dim(outputs, self.batch + 1, (self.outer, self.inner))
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

    @property
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


def read_layout(shape: Shape, axes: Sequence[Dependence], batch: Dependence, images: int) -> FeatureLayout:
    """The layout of an output for ``images`` images, from what each of its elements depends on.

    Args:
        shape: the shape of the output.
        axes: the dependence of the elements on each spatial axis of the input.
        batch: their dependence on the images.

    Raises:
        UnknownLayout: the output has no separate part for each image, or images differ in their positions.
    """
    dim, outer, inner = _find_batch(shape, batch, images)
    image_shape = (*shape[:dim], outer * inner, *shape[dim + 1 :])
    positions = [_positions_of_one_image(axis, shape, dim, (outer, images, inner)) for axis in axes]
    dims_of_axis = [tuple(d for d in range(len(image_shape)) if position.shape[d] > 1) for position in positions]
    spatial = sorted({d for dims in dims_of_axis for d in dims} | _cross_dims(axes))
    if dim not in spatial and image_shape[dim] > 1:
        spatial = [dim, *spatial]  # frames, views or heads: several maps for each image
    if len(spatial) == 1 and len(image_shape) == 2 and dim not in spatial:  # a vector, as flattening makes of a map
        return FeatureLayout(image_shape, dim, outer, inner, tuple(spatial), (), 1, (1,) * len(axes), notation="N C")
    channels = tuple(d for d in range(len(image_shape)) if d not in spatial and image_shape[d] > 1)
    if not channels:  # a single channel: any dimension of size one that is not the batch
        channels = tuple(d for d in range(len(image_shape)) if d not in spatial and d != dim)[:1]
    shared = not channels and dim not in spatial
    notation = _write_notation(image_shape, (dim, outer, inner), dims_of_axis, channels)
    layout = FeatureLayout(
        image_shape, dim, outer, inner, channels, tuple(spatial), 1, (1,) * len(axes), notation=notation
    )
    if any(axis.second_position is not None for axis in axes):
        return replace(
            layout,
            no_map="has positions along two dimensions at once, as attention weights or a sum with its transpose do",
        )
    if any(axis.resampled and axis.position.numel() > 1 for axis in axes):
        return replace(layout, no_map=RESAMPLED)
    if any(_has_gaps(axis) for axis in axes):
        return replace(layout, no_map="leaves gaps between the parts of the input that it shows")
    try:
        grid, frames, order = _find_grid(positions, image_shape, spatial, channels_shared=shared)
    except UnknownLayout as error:
        return replace(layout, no_map=str(error))
    if order is not None and len(spatial) == 1 and (tokens := image_shape[spatial[0]] - len(order)):
        notation = " ".join(f"{tokens}+{word}" if d == spatial[0] else word for d, word in enumerate(notation.split()))
    return replace(layout, grid=grid, frames=frames, order=order, flat=shared and frames > 1, notation=notation)


def region_of(axes: Sequence[Dependence], grid: Shape, extent: Shape) -> tuple[tuple[int, int], ...]:
    """The part of an input that a map covers, which is smaller where the network crops; empty for all of it.

    Args:
        axes: the dependence of the layer's output on each spatial axis.
        grid: the number of positions along each axis of the map.
        extent: the spatial shape of the input.
    """
    bounds = [axis.bounds() or (0, size - 1) for axis, size in zip(axes, extent, strict=True)]
    step_sizes = [size / cells for size, cells in zip(extent, grid, strict=True)]
    cropped = [
        cells > 1 and (first >= step or size - 1 - last >= step)
        for (first, last), cells, step, size in zip(bounds, grid, step_sizes, extent, strict=True)
    ]
    if not any(cropped):
        return ()
    return tuple(
        (first, last + 1) if is_cropped else (0, size)
        for (first, last), is_cropped, size in zip(bounds, cropped, extent, strict=True)
    )


def _write_notation(
    image_shape: Shape, fold: tuple[int, int, int], dims_of_axis: Sequence[Shape], channels: Shape
) -> str:
    """The layout in the notation of `engine/layers/described_layout.py`: ``N C H W``, ``T N C``, ``N H*W C``."""
    letters = LETTERS.get(len(dims_of_axis), [f"axis{axis}" for axis in range(len(dims_of_axis))])
    batch, outer, inner = fold
    words = []
    for d, size in enumerate(image_shape):
        joined_letters = "*".join(letter for letter, dims in zip(letters, dims_of_axis, strict=True) if d in dims)
        if d == batch:
            folded = joined_letters or "F"
            words.append(folded + "*N" if outer > 1 else "N*" + folded if inner > 1 else "N")
        else:
            words.append(joined_letters or ("C" if d in channels or size > 1 else "1"))
    return " ".join(words)


def _cross_dims(axes: Sequence[Dependence]) -> set[int]:
    """The dimensions along which positions are paired with positions along another dimension."""
    pairs = [axis.second_position for axis in axes if axis.second_position is not None]
    return {d for across in pairs for d, size in enumerate(across.shape) if size > 1}


def _find_batch(shape: Shape, batch: Dependence, images: int) -> tuple[int, int, int]:
    """The batch dimension, how many blocks of images it holds, and how often each image is repeated in a row."""
    if not shape:
        raise UnknownLayout("is a single number")
    if images == 1:
        return 0, 1, shape[0]
    if batch.second_position is not None:
        raise UnknownLayout("compares the images of a batch with each other")
    dims = [d for d in range(len(shape)) if batch.position.shape[d] > 1]
    if not dims:
        raise UnknownLayout("does not belong to single images: it mixes the batch, or does not depend on the input")
    if len(dims) > 1:
        raise UnknownLayout("has the images of the batch spread over several of its dimensions")
    (dim,) = dims
    rows = batch.position.flatten().long()
    for inner in (n for n in range(1, len(rows) // images + 1) if len(rows) % (n * images) == 0):
        outer = len(rows) // (n_images := images * inner)
        expected = torch.arange(images, device="cpu").repeat_interleave(inner).repeat(outer)
        if torch.equal(rows, expected) and len(rows) == outer * n_images:
            return dim, outer, inner
    raise UnknownLayout("has the images of the batch in an order that is not the same for each")


def _positions_of_one_image(axis: Dependence, shape: Shape, dim: int, fold: tuple[int, int, int]) -> Tensor:
    """The positions of the first image's elements along one axis; size 1 along dimensions where they are constant."""
    outer, images, inner = fold
    position = axis.position
    if position.shape[dim] > 1:
        split = _split_dim(position, dim, (outer, images, inner))
        first_image = split.select(dim + 1, 0)
        if any(not torch.equal(first_image, split.select(dim + 1, image)) for image in range(1, images)):
            raise UnknownLayout("has different positions for different images")
        position = first_image.flatten(dim, dim + 1)
    for d, size in enumerate(position.shape):
        if size > 1 and bool((position == position.narrow(d, 0, 1)).all()):
            position = position.narrow(d, 0, 1)
    return position


def _find_grid(
    positions: list[Tensor], image_shape: Shape, spatial: Sequence[int], *, channels_shared: bool
) -> tuple[Shape, int, Tensor | None]:
    """The grid size along each axis, how many maps share the grid, and the indices that form the maps, row by row."""
    sizes = [image_shape[d] for d in spatial]
    flattened = [
        position.expand([n if d in spatial else 1 for d, n in enumerate(image_shape)]).flatten()
        for position in positions
    ]
    total = math.prod(sizes)
    varying = [axis for axis, position in enumerate(positions) if position.numel() > 1]
    indices = torch.arange(total, device="cpu")
    if varying:  # class tokens and registers have no position
        indices = indices[torch.stack([flattened[axis] >= 0 for axis in varying]).any(0)]
    ranks: list[Tensor] = []
    grid = [1] * len(positions)
    for axis in varying:
        dims = [d for d in spatial if positions[axis].shape[d] > 1]
        shares_dim = any(other != axis and positions[other].shape[d] > 1 for other in varying for d in dims)
        alone_on_dim = len(dims) == 1 and not shares_dim and len(indices) == total and not channels_shared
        alone_on_dim = alone_on_dim and not _repeats_axis(positions[axis].flatten())
        size, rank = (
            _positions_along(dims[0], positions[axis], image_shape, spatial)
            if alone_on_dim
            else _rank_distinct(flattened[axis][indices])
        )
        grid[axis], ranks = size, [*ranks, rank]
    cells = torch.zeros(len(indices), dtype=torch.long, device="cpu")
    for axis, rank in zip(varying, ranks, strict=True):
        cells = cells * grid[axis] + rank
    frames, remainder = divmod(len(indices), math.prod(grid))
    counts = torch.bincount(cells, minlength=math.prod(grid))
    if remainder or not frames or bool((counts != frames).any()):
        overlap = bool((counts > 1).any())
        raise UnknownLayout(
            "shows some positions of the input more often than others, as overlapping crops or segments do"
            if overlap
            else "has positions that form no grid"
        )
    by_cell = torch.argsort(cells, stable=True)  # cell by cell, the frames of each cell in their order
    order = indices[by_cell].view(math.prod(grid), frames).t().reshape(-1)
    identity = len(order) == total and torch.equal(order, torch.arange(total, device="cpu"))
    return tuple(grid), frames, None if identity else order


def _has_gaps(axis: Dependence) -> bool:
    """Whether some neighbouring positions are much further apart than the others, as between segments with gaps.

    Between adjacent parts, convolutions without padding lose as much as the map loses at its ends.
    """
    positions = torch.unique(axis.position[axis.position >= 0])
    bounds = axis.bounds()
    if len(positions) < 4 or bounds is None:
        return False
    steps = positions.diff()
    typical = float(steps.median())
    trimmed = max(0.0, float(positions[0]) - bounds[0]) + max(0.0, bounds[1] - float(positions[-1]))
    return float(steps.max()) - typical - trimmed > 2 * typical


def _repeats_axis(positions: Tensor) -> bool:
    """Whether complete copies of an axis follow each other, mirrored or not: these are several maps.

    A map that was enlarged by repetition has its positions in order, and a padded border is narrower than the map.
    """
    steps = positions.diff()
    extremes = (float(positions.min()), float(positions.max()))
    changes_direction = bool((steps > 0).any() and (steps < 0).any())
    if not changes_direction or float(positions[0]) not in extremes or float(positions[-1]) not in extremes:
        return False
    counts = torch.unique(positions, return_counts=True)[1]
    return bool(counts[0] > 1 and (counts == counts[0]).all())


def _positions_along(dim: int, position: Tensor, image_shape: Shape, spatial: Sequence[int]) -> tuple[int, Tensor]:
    """Size and ranks of an axis that has a dimension to itself: the indices along it, in the order of the axis.

    Where a map was enlarged by repetition, several indices have the same position.
    """
    flattened = position.flatten()
    if len(torch.unique(flattened)) == len(flattened) or bool((flattened.diff() <= 0).all()):
        order = torch.argsort(flattened, stable=True)
    else:  # repeated positions, as enlarging or padding makes them, are in the order of the map
        order = torch.arange(len(flattened), device="cpu")
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device="cpu")
    shaped = rank.view([image_shape[d] if d == dim else 1 for d in spatial])
    return image_shape[dim], shaped.expand([image_shape[d] for d in spatial]).flatten()


def _split_dim(tensor: Tensor, dim: int, sizes: tuple[int, ...]) -> Tensor:
    """Split one dimension into several; a view."""
    return tensor.view(*tensor.shape[:dim], *sizes, *tensor.shape[dim + 1 :])


def _rank_distinct(values: Tensor) -> tuple[int, Tensor]:
    """The number of distinct values and the rank of each element among them."""
    distinct, rank = torch.unique(values, return_inverse=True)
    return len(distinct), rank
