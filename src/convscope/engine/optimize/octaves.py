"""Optimization of a photograph at several sizes (octaves), coarse to fine: detail added at one size is carried over."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.context.metering import progress_of_part
from convscope.engine.network.model import Model
from convscope.engine.optimize.loop import AscentResult, maximize
from convscope.engine.optimize.objectives import Objective
from convscope.engine.optimize.parametrizations import pixels
from convscope.engine.optimize.picture_space import picture_space_of
from convscope.engine.optimize.transforms import jitter

_MIN_SIDE = 24
"""The smallest shorter side of an octave, unless the photograph itself is smaller."""


def octave_sizes(extent: Sequence[int], octaves: int, ratio: float) -> list[tuple[int, ...]]:
    """The sizes to optimize at, from the smallest to the photograph's own."""
    sizes = [tuple(round(side / ratio**octave) for side in extent) for octave in range(octaves)]
    return [size for size in reversed(sizes) if min(size) >= _MIN_SIDE] or [tuple(extent)]


def maximize_octaves(
    model: Model, objective: Objective, photos: Tensor, *, octaves: int, ratio: float, steps: int, **options: Any
) -> AscentResult:
    """Maximize ``objective``, starting from the photographs (N, C, …), at each of several sizes.

    Args:
        options: passed to `maximize`.
    """
    sizes = octave_sizes(photos.shape[2:], octaves, ratio)
    results: list[AscentResult] = []
    detail: Tensor | None = None
    for index, size in enumerate(sizes):
        base = resize(photos.cpu().float(), size)
        start = base if detail is None else base + resize(detail, size)
        space = picture_space_of(model, size, inputs=photos)
        with progress_of_part(index, len(sizes)):
            results.append(
                maximize(
                    model,
                    objective,
                    pixels(space, start=start),
                    len(photos),
                    steps=steps,
                    transform=jitter(max(1, min(size) // 14)),
                    **options,
                )
            )
        detail = results[-1].pictures - base
        if results[-1].stopped:
            break
    return _merge(results, tuple(photos.shape[2:]))


def resize(pictures: Tensor, extent: Sequence[int]) -> Tensor:
    """Pictures (N, C, …) interpolated to another extent."""
    if tuple(pictures.shape[2:]) == tuple(extent):
        return pictures
    if pictures.ndim == 4:
        return F.interpolate(pictures, size=tuple(extent), mode="bicubic", align_corners=False, antialias=True)
    return F.interpolate(pictures, size=tuple(extent), mode={3: "linear", 5: "trilinear"}[pictures.ndim])


def _merge(results: Sequence[AscentResult], extent: tuple[int, ...]) -> AscentResult:
    """One result for all sizes: the pictures of the last size, the curves and frames of all."""
    last = results[-1]
    frames = [resize(frame, extent) for result in results for frame in result.frames]
    return replace(
        last,
        pictures=resize(last.pictures, extent),
        importance=resize(last.importance[:, None], extent)[:, 0],
        scores=torch.cat([result.scores for result in results], 1),
        reached=torch.cat([result.reached for result in results], 1),
        frames=torch.stack(frames) if frames else last.frames,
    )
