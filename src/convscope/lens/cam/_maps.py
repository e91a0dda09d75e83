"""Helpers shared by the class activation maps: from evidence at layers to maps in the input's extent."""

from collections.abc import Callable

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import Layers
from convscope.engine.layers.component_signs import align_signs
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import Evidence, layer_evidence
from convscope.engine.targets.target import Target
from convscope.errors import OutputError
from convscope.runtime.layer_maps import maps_to_values
from convscope.values import Attribution

Combine = Callable[[Evidence], Tensor]
"""A function from a layer's evidence (N, C, …) to its map (N, …): all that a CAM method defines."""


def activation_maps(
    model: Model,
    images: Images,
    target: Target | None,
    layers: Layers,
    combine: Combine,
    *,
    relu: bool = False,
    signed: bool = True,
    otherwise: str | None = None,
) -> list[Attribution]:
    """Compute one map per layer, resize the maps to the input's extent and fuse them."""
    evidence_at_layers = layer_evidence(model, images, target, layers)
    return maps_to_values(
        model,
        images,
        target,
        {address: combine(evidence) for address, evidence in evidence_at_layers.items()},
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


def plus_plus_map(evidence: Evidence) -> Tensor:
    """The map of Grad-CAM++: channels weighted by the sum of their positive gradients, each scaled by its α."""
    g, a = evidence.gradient, evidence.activation
    denominator = 2 * g.square() + over_space(a) * g.pow(3)
    alpha = torch.where((g != 0) & (denominator != 0), g.square() / denominator, 0.0)
    return (over_space(alpha * torch.relu(g)) * a).sum(1)


def first_component(features: Tensor, *, center: bool, towards: Tensor) -> Tensor:
    """Features (N, C, …) projected onto their first principal direction, as a map (N, …).

    Uses the smaller of the two Gram matrices, over positions or channels, on the device. The sign of a singular vector
    is arbitrary: it is chosen such that the map correlates positively with ``towards`` (N, …).
    """
    if not bool(torch.isfinite(features).all()):
        raise OutputError("the layer's output contains NaN or infinite numbers: the network overflows on this input")
    flat = features.flatten(2).double() if features.device.type != "mps" else features.flatten(2).cpu().double()
    if center:
        flat = flat - flat.mean(2, keepdim=True)
    channels, positions = flat.shape[1:]
    if positions <= channels:
        eigenvalues, eigenvectors = torch.linalg.eigh(flat.mT @ flat)
        projected = eigenvectors[..., -1] * eigenvalues[:, -1:].clamp_min(0).sqrt()
    else:
        direction = torch.linalg.eigh(flat @ flat.mT)[1][..., -1:]
        projected = (flat * direction).sum(1)
    guide = towards.flatten(1).to(projected)
    if center:
        guide = guide - guide.mean(1, keepdim=True)
    oriented = align_signs(projected, guide, features.flatten(2))
    return oriented.to(features.device, features.dtype).view(len(features), *features.shape[2:])
