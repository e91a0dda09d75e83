"""Reading the layout of a layer's output from what each of its elements depends on: `read_layout`.

Nothing is guessed from sizes. One recorded forward pass of two images (`engine/graph`) carries, for every element of
every tensor, which image and which position of the input it belongs to.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from convscope.engine.graph.dependence import Dependence
from convscope.engine.layers.feature_layout import FeatureLayout, Shape, split_dim

LETTERS = {1: ["T"], 2: ["H", "W"], 3: ["D", "H", "W"]}
"""The letters of the axes of an input, by their number."""


RESAMPLED = "is a map of an image that the network has resampled (grid_sample), and not of its input"


class UnknownLayout(Exception):
    """A layer's output cannot be read as channels and positions; the message is a clause that says why."""


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
        split = split_dim(position, dim, (outer, images, inner))
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


def _rank_distinct(values: Tensor) -> tuple[int, Tensor]:
    """The number of distinct values and the rank of each element among them."""
    distinct, rank = torch.unique(values, return_inverse=True)
    return len(distinct), rank
