"""Shared code of the methods that weight the channels of a layer by scores of masked images (the Score-CAM family)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from convscope.engine.context.chunking import in_chunks
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import Layers
from convscope.engine.network.batchnorm_folding import folded_batchnorms
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import layer_evidence, score, settle
from convscope.engine.targets.target import Target
from convscope.runtime.layer_maps import maps_to_values, over_input
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact

Channels = Annotated[
    int,
    Param(
        help="number of channels to use, those with the largest variance over the map; 0 uses all", min=0, max=100_000
    ),
]

MakeInputs = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(rows, masks, copies) -> inputs``: copy ``copies[i]`` of image ``rows[i]``, masked by ``masks[i]`` (1, …)."""


def score_cam_maps(
    model: Model,
    images: Images,
    target: Target,
    layers: Layers,
    make_inputs: MakeInputs,
    *,
    copies: int = 1,
    channels: int = 0,
    relu: bool = False,
) -> list[Attribution]:
    """The Score-CAM of every layer: channels weighted by the softmax of the scores of the image masked by them."""
    settle(model, images, target)
    maps = {}
    for address, evidence in layer_evidence(model, images, None, layers).items():
        scores = scores_through(
            model, images, target, address, evidence.activation, make_inputs, copies=copies, max_channels=channels
        )
        weights = torch.softmax(scores, 1).nan_to_num(0)  # NaN if all channels of an image are constant
        maps[address] = weighted_sum(weights, evidence.activation)
    reason = Fact("every channel of this layer is constant, so that none gives a mask")
    return maps_to_values(model, images, target, maps, relu=relu, why_blank=reason)


def scores_through(
    model: Model,
    images: Images,
    target: Target,
    layer: str,
    maps: Tensor,
    make_inputs: MakeInputs,
    *,
    copies: int = 1,
    max_channels: int = 0,
) -> Tensor:
    """The scores (N, K) of each image masked by each of its maps (N, K, …) of a layer, averaged over ``copies``.

    A map is upsampled to the size of the image and scaled to 0 … 1 to make a mask. Constant maps make no mask: their
    score is minus infinity. With ``max_channels`` only the maps with the largest variance are used; the score of the
    others is minus infinity too.
    """
    selected = _selected_channels(maps, max_channels)
    totals = torch.zeros(len(selected), dtype=torch.float64, device="cpu")

    def step(indices: Tensor) -> None:
        pairs = indices // copies
        rows, channels = selected[pairs].unbind(1)
        channel_maps = maps[rows.to(maps.device), channels.to(maps.device)]
        masks = min_max_masks(over_input(model, images, layer, channel_maps)).to(images.tensor)
        inputs = model.input_copy(make_inputs(rows, masks, indices % copies))
        with torch.no_grad():
            chunk_scores = score(model, inputs, target, rows, clean=False)
        totals.index_add_(0, pairs, chunk_scores.cpu().double())

    passes = len(selected) * copies
    with folded_batchnorms(model, images.tensor[:1], passes if target.layer is None else 0):
        in_chunks(passes, images.tensor[0], step, light=True)
    scores = torch.full(maps.shape[:2], -torch.inf, dtype=torch.float64, device="cpu")
    scores[selected[:, 0], selected[:, 1]] = totals / copies
    return scores


def _selected_channels(maps: Tensor, max_channels: int) -> Tensor:
    """The indices (image, channel) of the maps to use, one pair per row."""
    flat = maps.flatten(2)
    variance = torch.where(flat.amax(2) > flat.amin(2), flat.var(2), -1.0)
    if 0 < max_channels < variance.shape[1]:
        threshold = variance.topk(max_channels, 1).values[:, -1:]
        variance = torch.where(variance >= threshold, variance, -1.0)
    return (variance >= 0).nonzero().cpu()


def min_max_masks(maps: Tensor) -> Tensor:
    """Maps (B, …) scaled to 0 … 1, with a channel axis."""
    flat = maps.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    return ((flat - low) / (high - low).clamp_min(torch.finfo(flat.dtype).tiny)).view(-1, 1, *maps.shape[1:])


def weighted_sum(weights: Tensor, activation: Tensor) -> Tensor:
    """The sum over channels of (N, C, …) weighted by ``weights`` (N, C), as maps (N, …)."""
    shape = (*weights.shape, *[1] * (activation.ndim - 2))
    return (weights.to(activation).view(shape) * activation).sum(1)


def merge_notes(notes_of_layers: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Merge the notes of several layers for each image."""
    return [
        {key: value for note in notes for key, value in note.items()} for notes in zip(*notes_of_layers, strict=True)
    ]
