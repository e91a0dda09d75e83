"""What methods share that weigh the channels of a layer by scores."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from convscope.engine.context.chunking import in_chunks
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import Layers
from convscope.engine.network.batchnorm_folding import fused
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import layer_evidence, score, settle
from convscope.engine.targets.target import Aim
from convscope.runtime.layer_maps import maps_to_values, over_input
from convscope.spec import Param
from convscope.values import Attribution

Channels = Annotated[
    int, Param(help="channels to try, those that vary most over the map; 0 tries all", min=0, max=100_000)
]

Show = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(rows, masks, copies) -> inputs``: copy ``copies[i]`` of image ``rows[i]`` as seen through ``masks[i]`` (1, …)."""


def score_cam_maps(
    model: Model,
    images: Images,
    aim: Aim,
    layers: Layers,
    show: Show,
    *,
    copies: int = 1,
    channels: int = 0,
    relu: bool = False,
) -> list[Attribution]:
    """The Score-CAM of every layer: channels weighed by the softmax of the scores of the image seen through them."""
    settle(model, images, aim)
    maps = {}
    for address, seen in layer_evidence(model, images, None, layers).items():
        found = scores_through(model, images, aim, address, seen.activation, show, copies=copies, most=channels)
        weights = torch.softmax(found, 1).nan_to_num(0)  # of an image all of whose channels are constant
        maps[address] = weighted(weights, seen.activation)
    why = "every channel of this layer is constant, and none makes a mask"
    return maps_to_values(model, images, aim, maps, relu=relu, why_blank=why)


def scores_through(
    model: Model,
    images: Images,
    aim: Aim,
    layer: str,
    maps: Tensor,
    show: Show,
    *,
    copies: int = 1,
    most: int = 0,
) -> Tensor:
    """The score of each image seen through each of its maps (N, K, …) of a layer, the mean over ``copies``; (N, K).

    A map is enlarged to the image and scaled to 0 … 1 to make a mask. A constant map makes none: its score is minus
    infinity, as is that of all but the ``most`` maps that vary most, where these are limited.
    """
    tried = _worth_trying(maps, most)
    totals = torch.zeros(len(tried), dtype=torch.float64, device="cpu")

    def step(numbers: Tensor) -> None:
        which = numbers // copies
        rows, channels = tried[which].unbind(1)
        chosen = maps[rows.to(maps.device), channels.to(maps.device)]
        masks = _mask(over_input(model, images, layer, chosen)).to(images.tensor)
        inputs = model.laid_out(show(rows, masks, numbers % copies))
        with torch.no_grad():
            found = score(model, inputs, aim, rows, clean=False)
        totals.index_add_(0, which, found.cpu().double())

    passes = len(tried) * copies
    with fused(model, images.tensor[:1], passes if aim.layer is None else 0):
        in_chunks(passes, images.tensor[0], step, light=True)
    scores = torch.full(maps.shape[:2], -torch.inf, dtype=torch.float64, device="cpu")
    scores[tried[:, 0], tried[:, 1]] = totals / copies
    return scores


def _worth_trying(maps: Tensor, most: int) -> Tensor:
    """The places (image, channel) of the maps to try, a row each."""
    flat = maps.flatten(2)
    variance = torch.where(flat.amax(2) > flat.amin(2), flat.var(2), -1.0)
    if 0 < most < variance.shape[1]:
        least = variance.topk(most, 1).values[:, -1:]
        variance = torch.where(variance >= least, variance, -1.0)
    return (variance >= 0).nonzero().cpu()


def _mask(maps: Tensor) -> Tensor:
    """Maps (B, …) over the image scaled to 0 … 1, with a channel axis."""
    flat = maps.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    return ((flat - low) / (high - low).clamp_min(torch.finfo(flat.dtype).tiny)).view(-1, 1, *maps.shape[1:])


def weighted(weights: Tensor, activation: Tensor) -> Tensor:
    """The channels of (N, C, …) added up with ``weights`` (N, C), as maps (N, …)."""
    shape = (*weights.shape, *[1] * (activation.ndim - 2))
    return (weights.to(activation).view(shape) * activation).sum(1)


def together(of_layers: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The notes on each image, gathered from those of several layers."""
    return [{key: value for note in notes for key, value in note.items()} for notes in zip(*of_layers, strict=True)]
