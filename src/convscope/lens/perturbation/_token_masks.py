"""Shared code of methods that can hide tokens of a transformer instead of pixels: windows, random masks, groups."""

import math
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from convscope.engine.incremental import WindowPositions, mean_over_windows, window_starts
from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.masking.confidence import WeightedMasks, stability_note
from convscope.engine.masking.masks import SAME_SCORE, EndpointScores, image_scores
from convscope.engine.masking.segments import Segmentation
from convscope.engine.masking.token_dropping import scores_of_kept_tokens, token_sequence
from convscope.engine.network.model import Model
from convscope.engine.targets.target import Target
from convscope.errors import CapabilityError, NotFinite, ParameterError
from convscope.runtime.declaration import attributions
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact

Hide = Annotated[
    Literal["pixels", "tokens"],
    Param(
        help="what is hidden: pixels, which are filled, or tokens of a transformer, which are left out of its sequence"
    ),
]


def refuse_pixel_options(given: dict[str, tuple[Any, Any]]) -> None:
    """Refuse options of hidden pixels that differ from their defaults where tokens are hidden.

    Args:
        given: by name, the value and the default.

    Raises:
        ParameterError: one differs.
    """
    for name, (value, default) in given.items():
        if isinstance(value, Tensor) or value != default:
            raise ParameterError(f"{name} is about pixels, and hide='tokens' leaves tokens out: leave {name} out too")


def token_occlusion(model: Model, images: Images, target: Target, patch: int, stride: int) -> list[Attribution]:
    """Leave windows of tokens out, and give every token the mean drop of the score over the windows that cover it.

    Args:
        patch, stride: in pixels, rounded to whole tokens; 0 for one token.
    """
    grid = token_sequence(model, images.tensor).tokens.grid
    sides = [length / size for length, size in zip(images.extent, grid, strict=True)]
    size = tuple(min(n, max(1, round(patch / side))) for n, side in zip(grid, sides, strict=True))
    steps = tuple(max(1, round(stride / side)) if stride else 1 for side in sides)
    windows = WindowPositions(window_starts(grid, size, steps), size, grid)
    mask = torch.ones(size, dtype=torch.float32, device="cpu")
    covered = torch.stack([_covered(start, size, grid) for start in windows.starts.tolist()])
    of_images, notes = image_scores(model, images, target)
    drops = [of_images[row] - scores_of_kept_tokens(model, images, target, row, ~covered) for row in range(len(images))]
    maps = mean_over_windows(torch.stack(drops), windows, mask)
    return attributions(
        model,
        images,
        target,
        _over_pixels(maps, images.extent),
        notes=[_notes_with_grid(each, grid) for each in notes],
        why_blank=Fact("covering any patch leaves the score unchanged"),
    )


def token_rise(
    model: Model, images: Images, target: Target, samples: int, keep: float, *, centred: bool, seed: int
) -> list[Attribution]:
    """Average random sets of tokens, each of the same size, weighted by the score of the network that gets only these.

    Args:
        keep: the share of the tokens that a set has.
    """
    grid = token_sequence(model, images.tensor).tokens.grid
    cells = math.prod(grid)
    count = min(max(1, round(keep * cells)), cells - 1)
    _, notes = image_scores(model, images, target)  # which also settles the target
    numbers = torch.arange(samples, device="cpu")
    like = torch.zeros((), dtype=torch.float32, device="cpu")
    order = noise.uniform((cells,), seed=seed, copies=numbers, like=like).argsort(1).argsort(1)
    kept = order < count
    maps: list[Tensor] = []
    bands: list[Tensor] = []
    all_notes: list[dict[str, Any]] = []
    for row in range(len(images)):
        estimate = WeightedMasks(cells, count / cells, centred=centred, like=like)
        estimate.add(numbers, kept.float(), scores_of_kept_tokens(model, images, target, row, kept))
        for numbers_of_map, parts in zip(estimate.estimate(), (maps, bands), strict=True):
            parts.append(numbers_of_map.view(grid))
        stability = stability_note(*estimate.halves())
        of_row = {"masks": samples, "mean score": estimate.mean_score, **stability, **notes[row]}
        all_notes.append(_notes_with_grid(of_row, grid))
    return attributions(
        model,
        images,
        target,
        _over_pixels(torch.stack(maps), images.extent),
        uncertainty={"band": _over_pixels(torch.stack(bands), images.extent)},
        notes=all_notes,
        why_blank=SAME_SCORE,
    )


def token_endpoints(model: Model, images: Images, target: Target) -> EndpointScores:
    """The scores of the images, and of the network that gets none of their tokens.

    Raises:
        CapabilityError: the network has no score without tokens.
    """
    cells = token_sequence(model, images.tensor).tokens.cells
    of_images, notes = image_scores(model, images, target)
    nothing = torch.zeros(1, cells, dtype=torch.bool, device="cpu")
    try:
        without = [scores_of_kept_tokens(model, images, target, row, nothing)[0] for row in range(len(images))]
    except NotFinite as error:
        raise CapabilityError(
            f"{model.name} has no score without any token, since it averages over its patches: hide='pixels' or rise "
            "with hide='tokens' works with it"
        ) from error
    return EndpointScores(of_images, torch.stack(without), notes)


def token_groups(model: Model, images: Images, segments: int) -> tuple[list[Segmentation], Tensor]:
    """About so many rectangles of tokens, as segments of the input; and the segment of each cell of the grid."""
    grid = token_sequence(model, images.tensor).tokens.grid
    per_axis = (segments / math.prod(grid)) ** (1 / len(grid))
    labels = torch.zeros(grid, dtype=torch.long, device="cpu")
    for axis, size in enumerate(grid):
        parts = min(size, max(1, round(size * per_axis)))
        along = torch.arange(size, device="cpu") * parts // size
        labels = labels * parts + along.view([-1 if a == axis else 1 for a in range(len(grid))])
    count = int(labels.max()) + 1
    if count < 2:
        raise ParameterError(f"segments must leave 2 or more groups of the {'×'.join(map(str, grid))} tokens")
    of_pixels = _over_pixels(labels[None], images.extent)[0]
    return [Segmentation(of_pixels, count)] * len(images), labels.flatten()


def _covered(start: list[int], size: tuple[int, ...], grid: tuple[int, ...]) -> Tensor:
    """Which cells of the grid a window covers (cells,)."""
    cells = torch.zeros(grid, dtype=torch.bool, device="cpu")
    cells[tuple(slice(first, first + n) for first, n in zip(start, size, strict=True))] = True
    return cells.flatten()


def _over_pixels(maps: Tensor, extent: tuple[int, ...]) -> Tensor:
    """Numbers (N, cells …) as maps of the input in which every pixel has the number of its token."""
    for axis, length in enumerate(extent, start=1):
        index = torch.arange(length, device=maps.device) * maps.shape[axis] // length
        maps = maps.index_select(axis, index)
    return maps


def _notes_with_grid(notes: dict[str, Any], grid: tuple[int, ...]) -> dict[str, Any]:
    """Notes, and what is hidden."""
    sides = "×".join(map(str, grid))
    return notes | {"hidden": Fact("tokens of a grid of {grid}, left out of the sequence", grid=sides)}
