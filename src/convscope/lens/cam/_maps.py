"""What every class activation map shares: evidence in, maps in the input's extent out."""

from collections.abc import Callable

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import Layers
from convscope.engine.layers.component_signs import turned_towards
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import Evidence, layer_evidence
from convscope.engine.targets.target import Aim
from convscope.errors import OutputError
from convscope.runtime.layer_maps import maps_to_values
from convscope.values import Attribution

Combine = Callable[[Evidence], Tensor]
"""A layer's evidence (N, C, …) to its map (N, …): the whole of a CAM method."""


def activation_maps(
    model: Model,
    images: Images,
    aim: Aim | None,
    layers: Layers,
    combine: Combine,
    *,
    relu: bool = False,
    signed: bool = True,
    otherwise: str | None = None,
) -> list[Attribution]:
    """Make one map per layer, bring them to the input's extent and fuse them."""
    evidence = layer_evidence(model, images, aim, layers)
    return maps_to_values(
        model,
        images,
        aim,
        {a: combine(seen) for a, seen in evidence.items()},
        relu=relu,
        signed=signed,
        otherwise=otherwise,
    )


def over_space(tensor: Tensor) -> Tensor:
    """The sum over all spatial axes, kept as axes of size one."""
    return tensor.sum(tuple(range(2, tensor.ndim)), keepdim=True)


def mean_over_space(tensor: Tensor) -> Tensor:
    """The mean over all spatial axes, kept as axes of size one."""
    return tensor.mean(tuple(range(2, tensor.ndim)), keepdim=True)


def plus_plus_map(seen: Evidence) -> Tensor:
    """The map of Grad-CAM++: channels weighed by their positive gradients, each in its share α."""
    g, a = seen.gradient, seen.activation
    below = 2 * g.square() + over_space(a) * g.pow(3)
    alpha = torch.where((g != 0) & (below != 0), g.square() / below, 0.0)
    return (over_space(alpha * torch.relu(g)) * a).sum(1)


def first_component(features: Tensor, *, center: bool, towards: Tensor) -> Tensor:
    """Features (N, C, …) projected on their first principal direction, as a map (N, …).

    Uses the smaller of the two Gram matrices, positions or channels, on the device. A singular vector's sign is
    arbitrary: it is turned so that the map agrees with ``towards`` (N, …).
    """
    if not bool(torch.isfinite(features).all()):
        raise OutputError("the layer holds NaN or infinite numbers: the network overflows on this input")
    flat = features.flatten(2).double() if features.device.type != "mps" else features.flatten(2).cpu().double()
    if center:
        flat = flat - flat.mean(2, keepdim=True)
    channels, places = flat.shape[1:]
    if places <= channels:
        strengths, vectors = torch.linalg.eigh(flat.mT @ flat)
        projected = vectors[..., -1] * strengths[:, -1:].clamp_min(0).sqrt()
    else:
        direction = torch.linalg.eigh(flat @ flat.mT)[1][..., -1:]
        projected = (flat * direction).sum(1)
    guide = towards.flatten(1).to(projected)
    if center:
        guide = guide - guide.mean(1, keepdim=True)
    turned = turned_towards(projected, guide, features.flatten(2))
    return turned.to(features.device, features.dtype).view(len(features), *features.shape[2:])
