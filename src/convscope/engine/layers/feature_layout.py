"""How a layer's output lies in memory: which dimension is the batch, which follow the input's axes, which are channels.

Nothing is guessed from sizes. One recorded forward of two images (`engine/graph`) carries, for every number of every
tensor, which image and which place of the input it belongs to; `read_layout` turns that into a `FeatureLayout`, with
which every lens brings an output to the same form: images, channels, then places.

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
"""What the axes of an input are called, by how many there are."""


RESAMPLED = "lies over an image that the network has sampled anew (grid_sample), and not over its input"


class UnknownLayout(Exception):
    """Why a layer's output cannot be read as channels and places; the message is a clause."""


@dataclass(frozen=True, eq=False)
class FeatureLayout:
    """How the output of one layer is made of images, channels and places.

    Attributes:
        shape: the output's shape for one image, ``batch`` its batch dimension, which holds ``outer`` blocks of all
            images, each image ``inner`` times in a row: (1, 1) for an ordinary batch, frames for a folded one.
        channels: the dimensions that are channels, ``places`` those on which the input's axes lie.
        frames: how many maps each image has, folded into the batch or among the places; 1 for one.
        grid: the number of places along each axis of the input, 1 along axes that are gone.
        order: which of the numbers along ``places`` (and a folded batch) make the map, row by row; None for all in
            their order.
        flat: channels and places share a dimension (``(N, T, C·W)``): what lies at one place are the channels.
        no_map: why its places make no map, where they do not.
        words: the layout in words, one for each dimension, as `engine/layers/described_layout.py` reads them.
        region: along each axis of the input, the first position that the map shows and the one behind the last; empty
            where it shows the whole input, but for less than a step of its own at the ends.
        unbatched: whether the network gives it for one image at a time without a dimension for the batch, which
            ``shape`` has none the less.
    """

    shape: Shape
    batch: int
    outer: int
    inner: int
    channels: Shape
    places: Shape
    frames: int
    grid: Shape
    order: Tensor | None = None
    flat: bool = False
    no_map: str = ""
    words: str = ""
    region: tuple[tuple[int, int], ...] = ()
    unbatched: bool = False

    @property
    def has_places(self) -> bool:
        """Whether more than one position is left along some axis of the input."""
        return not self.no_map and any(size > 1 for size in self.grid)

    @property
    def folded(self) -> bool:
        """Whether an image has several rows of the batch."""
        return self.outer * self.inner > 1

    @cached_property
    def count(self) -> int:
        """How many channels there are."""
        return self.frames if self.flat else math.prod(self.shape[d] for d in self.channels)

    @cached_property
    def extent(self) -> Shape:
        """The shape of one channel: frames, where there are several, then the grid."""
        return (*((self.frames,) if self.frames > 1 and not self.flat else ()), *self.grid)

    def by_image(self, output: Tensor) -> Tensor:
        """An output for N images as (N, …), the rest as for a single one."""
        output = output[None] if self.unbatched else output
        images = output.shape[self.batch] // (self.outer * self.inner)
        split = _split(output, self.batch, (self.outer, images, self.inner)).movedim(self.batch + 1, 0)
        return split.flatten(self.batch + 1, self.batch + 2)

    def joined(self, outputs: Tensor) -> Tensor:
        """The inverse of `by_image`: outputs (N, …) as the network gives them for N images."""
        if self.unbatched:
            return outputs[0, 0]
        split = _split(outputs, self.batch + 1, (self.outer, self.inner))
        return split.movedim(0, self.batch + 1).flatten(self.batch, self.batch + 2)

    def to_map(self, output: Tensor) -> Tensor:
        """An output for N images as (N, C, places …), the axes of the input last; a view where its layout allows."""
        if self._plain:
            return output[None] if self.unbatched else output
        return self._map_by_image(self.by_image(output))

    def _map_by_image(self, numbers: Tensor) -> Tensor:
        numbers = self._channels_then_places(numbers)
        if self.order is not None:
            numbers = self._ordered(numbers.flatten(2), self.order)
        return numbers.reshape(len(numbers), self.count, *self.extent)

    def from_map(self, maps: Tensor, output: Tensor) -> Tensor:
        """Maps (B, C, places …) as so many outputs for one image each, (B, …); what no map shows is as in ``output``.

        Args:
            output: the layer's output for one image.
        """
        if self._plain:
            return maps if self.unbatched else maps[:, None]
        template = self.by_image(output)
        target = self._channels_then_places(template.expand(len(maps), *template.shape[1:]).clone())
        if self.order is None:
            return self._in_place_of(target, maps.reshape(target.shape))
        flat = target.flatten(2)  # a copy where the layout does not allow a view
        flat = flat.index_copy(2, self.order.to(flat.device), maps.reshape(*flat.shape[:2], -1))
        return self._in_place_of(target, flat.reshape(target.shape))

    def from_channels(self, numbers: Tensor, like: Tensor) -> Tensor:
        """Numbers (N, C), one per channel, spread over a tensor of the shape of the output ``like`` for N images."""
        return self.joined(self.channels_by_image(numbers, self.by_image(like)))

    def channels_by_image(self, numbers: Tensor, like: Tensor) -> Tensor:
        """Numbers (N, C), one per channel, spread over outputs image by image, as `by_image` gives them."""
        zeros = torch.zeros_like(like)
        if self.flat:
            maps = numbers.to(like).view(*numbers.shape, *[1] * len(self.grid)).expand(*numbers.shape, *self.grid)
            return self.from_map(maps, self.joined(zeros[:1]))
        target = self._channels_then_places(zeros)
        spread = numbers.to(like).reshape(*target.shape[:2], *[1] * (target.ndim - 2)).expand(target.shape)
        return self._in_place_of(target, spread)

    def by_channel(self, output: Tensor) -> Tensor:
        """An output for N images as (N, C, P): all its numbers, class tokens and registers among them."""
        return self._channels_of(self.by_image(output))

    def _channels_of(self, numbers: Tensor) -> Tensor:
        numbers = self._channels_then_places(numbers)
        return numbers.reshape(*numbers.shape[:2], -1)

    def positions(self, output: Tensor) -> Tensor:
        """An output for N images as (N, C, P): the positions of its map where it has one, else all its numbers."""
        return self.to_map(output).flatten(2) if self.has_places else self.by_channel(output)

    def units(self, output: Tensor) -> Tensor:
        """An output for N images with its units second: its map, or (N, C) where it has no places."""
        return self.to_map(output) if self._makes_a_map else self.units_by_image(self.by_image(output))

    def units_by_image(self, numbers: Tensor) -> Tensor:
        """The same of outputs image by image, as `by_image` gives them."""
        if self._makes_a_map:
            return self._map_by_image(numbers)
        numbers = self._channels_of(numbers)
        return numbers.flatten(1) if numbers.shape[2] == 1 else numbers

    @property
    def _makes_a_map(self) -> bool:
        """Whether it is a map, also one of a single position."""
        of_one_position = not self.no_map and len(self.shape) == len(self.grid) + 2
        return self.has_places or self.frames > 1 or of_one_position

    @cached_property
    def _plain(self) -> bool:
        """Whether an output by image is its map already."""
        last = len(self.shape) - len(self.grid)
        standard = self.channels == (1,) and self.places == tuple(range(2, len(self.shape))) and last == 2
        return standard and self.order is None and self.frames == 1 and self.shape[2:] == self.grid

    def _ordered(self, numbers: Tensor, order: Tensor) -> Tensor:
        """The numbers (N, C, P) that make the map, row by row; a view where they lie one after the other."""
        first, last = int(order[0]), int(order[-1])
        if last - first + 1 == len(order) and torch.equal(order, torch.arange(first, last + 1, device="cpu")):
            return numbers[:, :, first : last + 1]
        return numbers.index_select(2, order.to(numbers.device))

    def _channels_then_places(self, numbers: Tensor) -> Tensor:
        """(N, …) as (N, C, …) with every dimension of places after the channels, in their order."""
        rest = [d for d in range(len(self.shape)) if d not in (*self.channels, *self.places) and self.shape[d] == 1]
        ordered = numbers.permute(0, *(1 + d for d in (*self.channels, *rest, *self.places)))
        return ordered.reshape(
            len(numbers), math.prod(self.shape[d] for d in self.channels), *(self.shape[d] for d in self.places)
        )

    def _in_place_of(self, target: Tensor, numbers: Tensor) -> Tensor:
        """Numbers (N, C, …), laid as `_channels_then_places` lays them, back in the order of an output by image."""
        rest = [d for d in range(len(self.shape)) if d not in (*self.channels, *self.places) and self.shape[d] == 1]
        dims = (*self.channels, *rest, *self.places)
        unflat = numbers.reshape(len(target), *(self.shape[d] for d in dims))
        return unflat.permute(0, *(1 + dims.index(d) for d in range(len(self.shape))))


def read_layout(shape: Shape, axes: Sequence[Dependence], batch: Dependence, images: int) -> FeatureLayout:
    """The layout of an output of that shape, for ``images`` images, from what each of its numbers depends on.

    Args:
        axes: what is known of each axis of the input, ``batch`` of the images.

    Raises:
        UnknownLayout: it is not made of one part for each image, or its places do not fill a grid.
    """
    dim, outer, inner = _batch_of(shape, batch, images)
    own = (*shape[:dim], outer * inner, *shape[dim + 1 :])
    places = [_own_places(axis, shape, dim, (outer, images, inner)) for axis in axes]
    along = [tuple(d for d in range(len(own)) if place.shape[d] > 1) for place in places]
    on_axes = sorted({d for dims in along for d in dims} | _second_dims(axes))
    if dim not in on_axes and own[dim] > 1:
        on_axes = [dim, *on_axes]  # frames, views or heads: several maps for each image
    if len(on_axes) == 1 and len(own) == 2 and dim not in on_axes:  # a vector, as flattening makes of a map
        return FeatureLayout(own, dim, outer, inner, tuple(on_axes), (), 1, (1,) * len(axes), words="N C")
    channels = tuple(d for d in range(len(own)) if d not in on_axes and own[d] > 1)
    if not channels:  # a single channel: any dimension of size one that is not the batch
        channels = tuple(d for d in range(len(own)) if d not in on_axes and d != dim)[:1]
    flat = not channels and dim not in on_axes
    words = _in_words(own, (dim, outer, inner), along, channels)
    layout = FeatureLayout(own, dim, outer, inner, channels, tuple(on_axes), 1, (1,) * len(axes), words=words)
    if any(axis.across is not None for axis in axes):
        return replace(
            layout,
            no_map="has positions along two dimensions at once, as attention weights or a sum with its transpose do",
        )
    if any(axis.resampled and axis.place.numel() > 1 for axis in axes):
        return replace(layout, no_map=RESAMPLED)
    if any(_leaves_gaps(axis) for axis in axes):
        return replace(layout, no_map="leaves gaps between the parts of the input that it shows")
    try:
        grid, frames, order = _grid(places, own, on_axes, flat=flat)
    except UnknownLayout as error:
        return replace(layout, no_map=str(error))
    if order is not None and len(on_axes) == 1 and (beside := own[on_axes[0]] - len(order)):
        words = " ".join(f"{beside}+{word}" if d == on_axes[0] else word for d, word in enumerate(words.split()))
    return replace(layout, grid=grid, frames=frames, order=order, flat=flat and frames > 1, words=words)


def region_of(axes: Sequence[Dependence], grid: Shape, extent: Shape) -> tuple[tuple[int, int], ...]:
    """The part of an input of that extent that a map shows, as where the network crops it; empty for all of it."""
    ends = [axis.ends() or (0, size - 1) for axis, size in zip(axes, extent, strict=True)]
    steps = [size / cells for size, cells in zip(extent, grid, strict=True)]
    beyond = [
        cells > 1 and (first >= step or size - 1 - last >= step)
        for (first, last), cells, step, size in zip(ends, grid, steps, extent, strict=True)
    ]
    if not any(beyond):
        return ()
    return tuple(
        (first, last + 1) if crops else (0, size)
        for (first, last), crops, size in zip(ends, beyond, extent, strict=True)
    )


def _in_words(own: Shape, fold: tuple[int, int, int], along: Sequence[Shape], channels: Shape) -> str:
    """``N C H W``, ``T N C``, ``N H*W C``: what lies along each dimension."""
    letters = LETTERS.get(len(along), [f"axis{a}" for a in range(len(along))])
    batch, outer, inner = fold
    words = []
    for d, size in enumerate(own):
        axes = "*".join(letter for letter, dims in zip(letters, along, strict=True) if d in dims)
        if d == batch:
            folded = axes or "F"
            words.append(folded + "*N" if outer > 1 else "N*" + folded if inner > 1 else "N")
        else:
            words.append(axes or ("C" if d in channels or size > 1 else "1"))
    return " ".join(words)


def _second_dims(axes: Sequence[Dependence]) -> set[int]:
    """The dimensions along which positions are compared with those on another one."""
    pairs = [axis.across for axis in axes if axis.across is not None]
    return {d for across in pairs for d, size in enumerate(across.shape) if size > 1}


def _batch_of(shape: Shape, batch: Dependence, images: int) -> tuple[int, int, int]:
    """The batch's dimension, how many blocks of images it holds, and how often each image comes in a row."""
    if not shape:
        raise UnknownLayout("is a single number")
    if images == 1:
        return 0, 1, shape[0]
    if batch.across is not None:
        raise UnknownLayout("compares the images of a batch with each other")
    dims = [d for d in range(len(shape)) if batch.place.shape[d] > 1]
    if not dims:
        raise UnknownLayout("does not belong to single images: it mixes the batch, or does not depend on the input")
    if len(dims) > 1:
        raise UnknownLayout("has the images of the batch spread over several of its dimensions")
    (dim,) = dims
    rows = batch.place.flatten().long()
    for inner in (n for n in range(1, len(rows) // images + 1) if len(rows) % (n * images) == 0):
        outer = len(rows) // (n_images := images * inner)
        expected = torch.arange(images, device="cpu").repeat_interleave(inner).repeat(outer)
        if torch.equal(rows, expected) and len(rows) == outer * n_images:
            return dim, outer, inner
    raise UnknownLayout("has the images of the batch in an order that is not the same for each")


def _own_places(axis: Dependence, shape: Shape, dim: int, fold: tuple[int, int, int]) -> Tensor:
    """The places along one axis for the numbers of the first image, of size 1 along dimensions where they are alike."""
    outer, images, inner = fold
    place = axis.place
    if place.shape[dim] > 1:
        split = _split(place, dim, (outer, images, inner))
        first = split.select(dim + 1, 0)
        if any(not torch.equal(first, split.select(dim + 1, image)) for image in range(1, images)):
            raise UnknownLayout("has other places for one image than for another")
        place = first.flatten(dim, dim + 1)
    for d, size in enumerate(place.shape):
        if size > 1 and bool((place == place.narrow(d, 0, 1)).all()):
            place = place.narrow(d, 0, 1)
    return place


def _grid(places: list[Tensor], own: Shape, on_axes: Sequence[int], *, flat: bool) -> tuple[Shape, int, Tensor | None]:
    """The places along each axis, how many maps share them, and which numbers make the maps, row by row."""
    sizes = [own[d] for d in on_axes]
    laid = [place.expand([n if d in on_axes else 1 for d, n in enumerate(own)]).flatten() for place in places]
    total = math.prod(sizes)
    varying = [axis for axis, place in enumerate(places) if place.numel() > 1]
    kept = torch.arange(total, device="cpu")
    if varying:  # class tokens and registers lie at no place
        kept = kept[torch.stack([laid[axis] >= 0 for axis in varying]).any(0)]
    ranks: list[Tensor] = []
    grid = [1] * len(places)
    for axis in varying:
        dims = [d for d in on_axes if places[axis].shape[d] > 1]
        shared = any(other != axis and places[other].shape[d] > 1 for other in varying for d in dims)
        whole = len(dims) == 1 and not shared and len(kept) == total and not flat
        whole = whole and not _side_by_side(places[axis].flatten())
        positions, rank = _along(dims[0], places[axis], own, on_axes) if whole else _distinct(laid[axis][kept])
        grid[axis], ranks = positions, [*ranks, rank]
    cells = torch.zeros(len(kept), dtype=torch.long, device="cpu")
    for axis, rank in zip(varying, ranks, strict=True):
        cells = cells * grid[axis] + rank
    frames, left = divmod(len(kept), math.prod(grid))
    counts = torch.bincount(cells, minlength=math.prod(grid))
    if left or not frames or bool((counts != frames).any()):
        overlap = bool((counts > 1).any())
        raise UnknownLayout(
            "shows some positions of the input more often than others, as overlapping crops or segments do"
            if overlap
            else "has places that fill no grid"
        )
    within = torch.argsort(cells, stable=True)  # cell by cell, the frames of one in their order
    order = kept[within].view(math.prod(grid), frames).t().reshape(-1)
    plain = len(order) == total and torch.equal(order, torch.arange(total, device="cpu"))
    return tuple(grid), frames, None if plain else order


def _leaves_gaps(axis: Dependence) -> bool:
    """Whether neighbouring places lie much further apart here than elsewhere, as segments with gaps between them do.

    Parts that follow each other without a gap lose to convolutions without padding what the map loses at its ends.
    """
    places = torch.unique(axis.place[axis.place >= 0])
    ends = axis.ends()
    if len(places) < 4 or ends is None:
        return False
    steps = places.diff()
    usual = float(steps.median())
    lost = max(0.0, float(places[0]) - ends[0]) + max(0.0, ends[1] - float(places[-1]))
    return float(steps.max()) - usual - lost > 2 * usual


def _side_by_side(places: Tensor) -> bool:
    """Whether whole copies of an axis follow each other, as they are or mirrored: these are several maps.

    A map that was enlarged by copying holds its places in order, and a border of copies is narrower than the map.
    """
    steps = places.diff()
    ends = (float(places.min()), float(places.max()))
    turns_back = bool((steps > 0).any() and (steps < 0).any())
    if not turns_back or float(places[0]) not in ends or float(places[-1]) not in ends:
        return False
    counts = torch.unique(places, return_counts=True)[1]
    return bool(counts[0] > 1 and (counts == counts[0]).all())


def _along(dim: int, place: Tensor, own: Shape, on_axes: Sequence[int]) -> tuple[int, Tensor]:
    """The positions of an axis that alone lies along one dimension: those of the dimension, in the axis's order.

    Where a map was enlarged by copying, several of them have one place.
    """
    places = place.flatten()
    if len(torch.unique(places)) == len(places) or bool((places.diff() <= 0).all()):
        order = torch.argsort(places, stable=True)
    else:  # copies of positions, as enlarging or padding around makes them, lie in the order of the map
        order = torch.arange(len(places), device="cpu")
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device="cpu")
    laid = rank.view([own[d] if d == dim else 1 for d in on_axes])
    return own[dim], laid.expand([own[d] for d in on_axes]).flatten()


def _split(tensor: Tensor, dim: int, sizes: tuple[int, ...]) -> Tensor:
    """One dimension as several; a view."""
    return tensor.view(*tensor.shape[:dim], *sizes, *tensor.shape[dim + 1 :])


def _distinct(values: Tensor) -> tuple[int, Tensor]:
    """How many different places there are, and which of them each number has."""
    distinct, rank = torch.unique(values, return_inverse=True)
    return len(distinct), rank
