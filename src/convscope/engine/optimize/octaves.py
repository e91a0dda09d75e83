"""A photograph drawn over at several sizes, the coarse first: what was added at one size is carried to the next."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.context.metering import progress_of_part
from convscope.engine.network.model import Model
from convscope.engine.optimize.canvas import canvas_of
from convscope.engine.optimize.loop import Ascent, climb
from convscope.engine.optimize.objectives import Objective
from convscope.engine.optimize.parametrizations import pixels
from convscope.engine.optimize.transforms import jitter

_SMALLEST = 24
"""No octave is smaller than this on its shorter side, if the photograph itself is not."""


def extents(extent: Sequence[int], octaves: int, ratio: float) -> list[tuple[int, ...]]:
    """The sizes to draw at, from the smallest to the photograph's own."""
    found = [tuple(round(side / ratio**octave) for side in extent) for octave in range(octaves)]
    return [size for size in reversed(found) if min(size) >= _SMALLEST] or [tuple(extent)]


def dream(
    model: Model, objective: Objective, photos: Tensor, *, octaves: int, ratio: float, steps: int, **how: Any
) -> Ascent:
    """Climb ``objective`` from the photographs (N, C, …), at each of several sizes.

    Args:
        how: as `climb` takes it.
    """
    sizes = extents(photos.shape[2:], octaves, ratio)
    found: list[Ascent] = []
    detail: Tensor | None = None
    for place, size in enumerate(sizes):
        base = resized(photos.cpu().float(), size)
        start = base if detail is None else base + resized(detail, size)
        canvas = canvas_of(model, size, given=photos)
        with progress_of_part(place, len(sizes)):
            found.append(
                climb(
                    model,
                    objective,
                    pixels(canvas, start=start),
                    len(photos),
                    steps=steps,
                    transform=jitter(max(1, min(size) // 14)),
                    **how,
                )
            )
        detail = found[-1].pictures - base
        if found[-1].stopped:
            break
    return _whole(found, tuple(photos.shape[2:]))


def resized(pictures: Tensor, extent: Sequence[int]) -> Tensor:
    """Pictures (N, C, …) brought to another extent, smoothly."""
    if tuple(pictures.shape[2:]) == tuple(extent):
        return pictures
    if pictures.ndim == 4:
        return F.interpolate(pictures, size=tuple(extent), mode="bicubic", align_corners=False, antialias=True)
    return F.interpolate(pictures, size=tuple(extent), mode={3: "linear", 5: "trilinear"}[pictures.ndim])


def _whole(found: Sequence[Ascent], extent: tuple[int, ...]) -> Ascent:
    """All sizes as one climb: the last one's pictures, every one's curve and frames."""
    last = found[-1]
    frames = [resized(frame, extent) for one in found for frame in one.frames]
    return replace(
        last,
        pictures=resized(last.pictures, extent),
        importance=resized(last.importance[:, None], extent)[:, 0],
        scores=torch.cat([one.scores for one in found], 1),
        reached=torch.cat([one.reached for one in found], 1),
        frames=torch.stack(frames) if frames else last.frames,
    )
