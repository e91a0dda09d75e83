"""Maps at layers brought to the input's extent, fused over layers, and made into values."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.inputs import Images
from convscope.engine.lens import attributions
from convscope.engine.model import Model
from convscope.engine.targets import Aim
from convscope.spec import Param
from convscope.values import Attribution

Relu = Annotated[bool, Param(help="keep only what speaks for the target, as the paper draws it")]


def maps_to_values(
    model: Model,
    images: Images,
    aim: Aim | None,
    layer_values: dict[str, Tensor],
    *,
    relu: bool = False,
    signed: bool = True,
    notes: Sequence[Mapping[str, Any]] | None = None,
    why_blank: str | None = None,
) -> list[Attribution]:
    """Values from one map (N, …) a layer."""
    if relu:
        layer_values = {address: torch.relu(values) for address, values in layer_values.items()}
    return attributions(
        model,
        images,
        aim,
        fused(layer_values, images.extent),
        layer_values=layer_values,
        signed=signed and not relu,
        notes=notes,
        why_blank=why_blank,
    )


def fused(layer_values: Mapping[str, Tensor], extent: tuple[int, ...]) -> Tensor:
    """Maps of layers enlarged to ``extent``; of several the mean, each in units of its peak."""
    resized = [resize(values, extent) for values in layer_values.values()]
    return resized[0] if len(resized) == 1 else torch.stack([in_units_of_peak(v) for v in resized]).mean(0)


def resize(maps: Tensor, extent: tuple[int, ...]) -> Tensor:
    """Maps (N, …) linearly interpolated to ``extent``, along any number of axes."""
    if tuple(maps.shape[1:]) == tuple(extent):
        return maps
    if len(extent) > 3:  # one after the other, which is the same
        for axis, size in enumerate(extent, 1):
            lines = maps.movedim(axis, -1)
            longer = F.interpolate(lines.reshape(-1, 1, lines.shape[-1]), size=size, mode="linear")
            maps = longer.view(*lines.shape[:-1], size).movedim(-1, axis)
        return maps
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(extent)]
    return F.interpolate(maps[:, None], size=extent, mode=mode, align_corners=False)[:, 0]


def in_units_of_peak(maps: Tensor) -> Tensor:
    """Each map divided by its own largest magnitude, so that layers of different scale can be averaged."""
    peak = maps.reshape(len(maps), -1).abs().amax(1).clamp_min(torch.finfo(maps.dtype).tiny)
    return maps / peak.view(-1, *[1] * (maps.ndim - 1))
