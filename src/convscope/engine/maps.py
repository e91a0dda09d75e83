"""What of a layer's output is a map: channels first, channels last, or tokens laid out on a grid.

Convolutional networks give (N, C, h, w). Hierarchical transformers give (N, h, w, C), plain ones (N, tokens, C) with a
class token or registers before the patches. Which it is follows from the shapes of a run, not from class names: a map
has the proportions of the input, and patch tokens are as many as the places of the patch embedding before them.
"""

from dataclasses import dataclass

from torch import Tensor

from convscope.errors import LayerError

Shape = tuple[int, ...]
Trace = list[tuple[str, Shape]]
"""Each layer's output shape, in the order in which they finished."""

MOST_PREFIX_TOKENS = 8


@dataclass(frozen=True)
class Tokens:
    """Patch tokens: (N, prefix + h·w, C) with the patches in rows of a grid."""

    prefix: int
    grid: Shape


def channels_last(shape: Shape, extent: Shape) -> bool:
    """Whether (N, a, b, c) is (N, h, w, C): its first two axes have the input's proportions, the last two have not."""
    return len(shape) == 4 and _alike(shape[1:3], extent) and not _alike(shape[2:4], extent)


def tokens_of(address: str, trace: Trace, extent: Shape) -> Tokens | None:
    """How the tokens of a layer lie on the grid of the patch embedding that ran before it."""
    grid: Shape | None = None
    for name, shape in trace:
        if len(shape) == 4 and len(extent) == 2:
            places = shape[1:3] if channels_last(shape, extent) else shape[2:]
            grid = places if _alike(places, extent) and max(places) > 1 else grid
        if name == address and len(shape) == 3 and grid is not None:
            prefix = shape[1] - grid[0] * grid[1]
            return Tokens(prefix, grid) if 0 <= prefix <= MOST_PREFIX_TOKENS else None
    return None


def as_map(tensor: Tensor, extent: Shape, tokens: Tokens | None) -> Tensor:
    """A layer's output as (N, C, …) with the spatial axes last; a view."""
    if tokens is not None:
        patches = tensor[:, tokens.prefix :].transpose(1, 2)
        return patches.reshape(len(tensor), -1, *tokens.grid)
    return tensor.permute(0, 3, 1, 2) if channels_last(tuple(tensor.shape), extent) else tensor


def is_map(shape: Shape, extent: Shape) -> bool:
    """Whether (N, C, …) keeps more than one position along some spatial axis."""
    return len(shape) == len(extent) + 2 and len(extent) > 0 and max(shape[2:]) > 1


def require_map(tensor: Tensor, address: str, extent: Shape) -> Tensor:
    """``tensor`` if it is a map, else a refusal that says what it is instead."""
    if not is_map(tuple(tensor.shape), extent):
        raise LayerError(
            f"layer {address!r} gives shape {tuple(tensor.shape)}, which has no spatial extent: "
            "choose an earlier layer, or leave layer out for the last one that has"
        )
    return tensor


def _alike(places: Shape, extent: Shape) -> bool:
    """Whether two axes have the input's proportions, give or take the rounding of strides."""
    if len(extent) != 2:
        return False
    (height, width), (rows, columns) = extent, places
    return abs(rows * width - columns * height) <= max(height, width)
