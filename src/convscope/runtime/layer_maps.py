"""Maps at layers: resized to the input, averaged over layers, and turned into values."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.layer_trace import layout_of
from convscope.engine.network.model import Model
from convscope.engine.targets.target import Target
from convscope.runtime.declaration import attributions
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact

Relu = Annotated[bool, Param(help="keep only what speaks for the target")]

ONE_WEIGHT_PER_CHANNEL = (
    "a channel has one weight for all positions, so that other objects with its features are marked too"
)
"""Why the map of a method that averages gradients over the layer does not keep to one place: ``fails["place"]``."""

NOTHING_POSITIVE = Fact("no position of this layer speaks for the target; relu=False shows what speaks against it")
"""Why a map is blank of which only the positive part is kept."""


def maps_to_values(
    model: Model,
    images: Images,
    target: Target | None,
    layer_values: dict[str, Tensor],
    *,
    relu: bool = False,
    signed: bool = True,
    notes: Sequence[Mapping[str, Any]] | None = None,
    why_blank: str | Sequence[str | None] | None = None,
    otherwise: str | None = None,
) -> list[Attribution]:
    """Values from one map (N, …) per layer; ``why_blank`` and ``otherwise`` as in `attributions`.

    Of several layers the notes say how their maps are joined, since the map is no longer in units of the score.
    """
    if len(layer_values) > 1:
        joined = Fact("the mean of {layers} layers, each map divided by its peak", layers=len(layer_values))
        notes = [{**row, "joined layers": joined} for row in notes or [{}] * len(images)]
    if relu:
        nonzero = [any(bool(values[row].any()) for values in layer_values.values()) for row in range(len(images))]
        stated = [why_blank] * len(images) if why_blank is None or isinstance(why_blank, str) else why_blank
        why_blank = [NOTHING_POSITIVE if negative else why for negative, why in zip(nonzero, stated, strict=True)]
        layer_values = {address: torch.relu(values) for address, values in layer_values.items()}
    return attributions(
        model,
        images,
        target,
        combined(model, images, layer_values),
        layer_values=layer_values,
        layer_regions=covered_regions(model, images, layer_values),
        signed=signed and not relu,
        notes=notes,
        why_blank=why_blank,
        otherwise=otherwise,
    )


def combined(model: Model, images: Images, layer_values: Mapping[str, Tensor]) -> Tensor:
    """The maps of layers at the input's extent; of several layers the mean, each map divided by its peak."""
    resized = [over_input(model, images, address, values) for address, values in layer_values.items()]
    return resized[0] if len(resized) == 1 else torch.stack([divided_by_peak(v) for v in resized]).mean(0)


def covered_regions(model: Model, images: Images, addresses: Iterable[str]) -> dict[str, tuple[tuple[int, int], ...]]:
    """The parts of the input that the maps of layers cover, of those that do not cover the whole input."""
    regions = {address: layout_of(model, address, images.tensor).region for address in addresses}
    return {address: region for address, region in regions.items() if region}


def over_input(model: Model, images: Images, address: str, maps: Tensor) -> Tensor:
    """Maps (N, …) of a layer resized to the part of the input that it covers, and zero outside."""
    region = layout_of(model, address, images.tensor).region
    if not region:
        return resize(maps, images.extent)
    resized = resize(maps, tuple(last - first for first, last in region))
    result = resized.new_zeros(len(resized), *images.extent)
    result[(slice(None), *(slice(*ends) for ends in region))] = resized
    return result


def resize(maps: Tensor, extent: tuple[int, ...]) -> Tensor:
    """Maps (N, …) linearly interpolated to ``extent``, along any number of axes; those of several frames are added."""
    if maps.ndim > len(extent) + 1:
        maps = maps.flatten(1, maps.ndim - len(extent) - 1).sum(1)
    if tuple(maps.shape[1:]) == tuple(extent):
        return maps
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}.get(len(extent))
    if mode is not None:
        return F.interpolate(maps[:, None], size=extent, mode=mode, align_corners=False)[:, 0]
    for axis, length in enumerate(extent, start=1):  # linear interpolation is separable
        lines = maps.movedim(axis, -1)
        flat = F.interpolate(lines.reshape(1, -1, lines.shape[-1]), size=length, mode="linear", align_corners=False)
        maps = flat.view(*lines.shape[:-1], length).movedim(-1, axis)
    return maps


def divided_by_peak(maps: Tensor) -> Tensor:
    """Each map divided by its largest magnitude, so that layers of different scale can be averaged."""
    peak = maps.reshape(len(maps), -1).abs().amax(1).clamp_min(torch.finfo(maps.dtype).tiny)
    return maps / peak.view(-1, *[1] * (maps.ndim - 1))
