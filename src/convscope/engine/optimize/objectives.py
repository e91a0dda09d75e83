"""Objectives of gradient ascent: one number per picture, computed from the activations of layers.

Objectives can be added, subtracted and scaled, and their descriptions are combined accordingly:

    channel("layer3", 12) - 0.5 * channel("layer3", 40)       layer3[12] - 0.5 * layer3[40]
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from convscope.errors import InputError, LayerError, OutputError, UnknownName

OUTPUT = ""
"""The address of the network's output, wherever an objective names a layer."""

Activations = Mapping[str, Tensor]
"""Address → activation of that layer for a batch of pictures (N, C, …)."""


@dataclass(frozen=True)
class Objective:
    """One number per picture (N,), to be maximized.

    Args:
        layers: the addresses of the layers it reads; `OUTPUT` is the network's output.
        score: maps their activations to one number per picture.
        words: a short description of it.
        select: for objectives that differ between the pictures of a batch, the objective of some of the rows.
    """

    layers: tuple[str, ...]
    score: Callable[[Activations], Tensor] = field(repr=False)
    words: str
    select: "Callable[[Sequence[int]], Objective] | None" = field(default=None, repr=False)

    def __add__(self, other: "Objective | float") -> "Objective":
        return _sum(self, other, 1.0)

    def __radd__(self, other: float) -> "Objective":
        return _sum(self, other, 1.0)

    def __sub__(self, other: "Objective | float") -> "Objective":
        return _sum(self, other, -1.0)

    def __rsub__(self, other: float) -> "Objective":
        return _sum(-self, other, 1.0)

    def __mul__(self, factor: float) -> "Objective":
        words = f"{factor:g} * {_parenthesized(self.words)}"
        return Objective(self.layers, lambda activations: factor * self.score(activations), words)

    __rmul__ = __mul__

    def __neg__(self) -> "Objective":
        words = f"-{_parenthesized(self.words)}"
        return Objective(self.layers, lambda activations: -self.score(activations), words)


def channel(layer: str, unit: int) -> Objective:
    """The spatial mean of a channel."""

    def score(activations: Activations) -> Tensor:
        return _spatial_mean(_select_channel(activations[layer], layer, unit))

    return Objective((layer,), score, f"{layer}[{unit}]")


def neuron(layer: str, unit: int, position: Sequence[int] | None = None) -> Objective:
    """A channel at one position, by default the center of its map."""
    written = "centre" if position is None else ", ".join(str(index) for index in position)

    def score(activations: Activations) -> Tensor:
        channel_map = _select_channel(activations[layer], layer, unit)
        extent = tuple(channel_map.shape[1:])
        indices = tuple(side // 2 for side in extent) if position is None else tuple(position)
        if len(indices) != len(extent) or any(not 0 <= i < side for i, side in zip(indices, extent, strict=True)):
            raise UnknownName(f"no position {layer}[{unit}, {written}]: the map of {layer!r} is {extent}")
        key: Any = (slice(None), *indices)
        return channel_map[key]

    return Objective((layer,), score, f"{layer}[{unit}, {written}]")


def class_score(index: int, label: str = "", to_sides: Callable[[Tensor], Tensor] | None = None) -> Objective:
    """The network's output for a class; for dense outputs, its spatial mean.

    Args:
        to_sides: maps a single output with two labels to one score for each label.
    """

    def score(activations: Activations) -> Tensor:
        output = activations[OUTPUT] if to_sides is None else to_sides(activations[OUTPUT])
        if not 0 <= index < output.shape[1]:
            raise OutputError(f"class {index} is out of range: the output has {output.shape[1]} classes")
        return _spatial_mean(output[:, index])

    return Objective((OUTPUT,), score, label or f"class {index}")


def layer_energy(layer: str) -> Objective:
    """The mean of a layer's squared activations, which amplifies all features present in the picture (DeepDream)."""

    def score(activations: Activations) -> Tensor:
        return activations[layer].square().flatten(1).mean(1)

    return Objective((layer,), score, layer or "the output")


def direction(layer: str, vector: Tensor, *, cosine_power: float = 0.0) -> Objective:
    """The projection of a layer's channels on ``vector``, averaged over positions.

    Args:
        vector: one number per channel.
        cosine_power: multiply by the cosine of the angle to this power, which prefers activations along the direction
            itself to large activations that merely have a component along it.
    """

    def score(activations: Activations) -> Tensor:
        activation = activations[layer]
        maps = activation.flatten(2) if activation.ndim > 2 else activation[..., None]
        if tuple(vector.shape) != (maps.shape[1],):
            raise LayerError(f"a direction at {layer!r} has {maps.shape[1]} numbers, got shape {tuple(vector.shape)}")
        dot = torch.einsum("ncp,c->np", maps, vector.to(maps))
        return _times_cosine(dot, maps.norm(dim=1) * vector.norm().to(maps), cosine_power).mean(1)

    return Objective((layer,), score, f"a direction of {layer}")


def match_activation(layer: str, activation: Tensor) -> Objective:
    """Similarity of a layer to ``activation`` (C, …) or (N, C, …): -‖a - a₀‖² / ‖a₀‖², at most zero (inversion)."""
    reference = activation.detach()

    def score(activations: Activations) -> Tensor:
        target = _expand_like(reference, activations[layer], layer)
        scale = target.flatten(1).square().sum(1).clamp_min(torch.finfo(target.dtype).tiny)
        return -(activations[layer] - target).flatten(1).square().sum(1) / scale

    return Objective((layer,), score, f"the activation of {layer or 'the output'}")


def caricature(layer: str, activation: Tensor, *, cosine_power: float = 2.0) -> Objective:
    """Amplification of ``activation``: its dot product with the layer's activation, times their cosine to a power."""
    reference = activation.detach()

    def score(activations: Activations) -> Tensor:
        flat = activations[layer].flatten(1)
        target = _expand_like(reference, activations[layer], layer).flatten(1)
        dot = (flat * target).sum(1)
        return _times_cosine(dot, flat.norm(dim=1) * target.norm(dim=1), cosine_power) / math.sqrt(flat.shape[1])

    return Objective((layer,), score, f"a caricature at {layer}")


def match_guide(layer: str, guide: Tensor) -> Objective:
    """Similarity to a guide (C, …): at each position, the largest dot product with any position of the guide."""
    reference = guide.detach().flatten(1)

    def score(activations: Activations) -> Tensor:
        maps = activations[layer].flatten(2)
        if maps.shape[1] != len(reference):
            raise LayerError(
                f"{layer!r} has {maps.shape[1]} channels and the guide {len(reference)}: take the same layer"
            )
        return torch.einsum("ncp,cq->npq", maps, reference.to(maps)).amax(2).mean(1)

    return Objective((layer,), score, f"the guide's features at {layer}")


def match_gram(layer: str, target: Tensor) -> Objective:
    """Similarity of a layer's Gram matrix to ``target`` (C, C): minus the relative squared distance."""
    reference = target.detach()

    def score(activations: Activations) -> Tensor:
        gram = gram_matrix(activations[layer])
        wanted = reference.to(gram)
        if tuple(wanted.shape[-2:]) != tuple(gram.shape[-2:]):
            shapes = f"{tuple(gram.shape[-2:])}, got {tuple(wanted.shape[-2:])}"
            raise LayerError(f"the Gram matrix of {layer!r} is {shapes}")
        return -(gram - wanted).square().sum((-2, -1)) / wanted.square().sum((-2, -1)).clamp_min(1e-30)

    return Objective((layer,), score, f"the style at {layer}")


def gram_matrix(activation: Tensor) -> Tensor:
    """The Gram matrix (N, C, C) of channels: the mean over positions of the product of each pair."""
    maps = activation.flatten(2) if activation.ndim > 2 else activation[..., None]
    return maps @ maps.mT / maps.shape[2]


def diversity(layer: str) -> Objective:
    """Dissimilarity of the pictures of a batch at a layer: minus the mean cosine of their Gram matrices."""

    def score(activations: Activations) -> Tensor:
        grams = torch.nn.functional.normalize(gram_matrix(activations[layer]).flatten(1), dim=1)
        cosines = grams @ grams.mT
        others = max(1, len(grams) - 1)
        return -(cosines.sum(1) - cosines.diagonal()) / others

    return Objective((layer,), score, f"diversity at {layer}")


def per_picture(objectives: Sequence[Objective], each: int = 1) -> Objective:
    """A different objective for each ``each`` consecutive pictures of a batch."""
    layers = tuple(dict.fromkeys(layer for objective in objectives for layer in objective.layers))

    def score(activations: Activations) -> Tensor:
        scores = []
        for index, objective in enumerate(objectives):
            rows = slice(index * each, (index + 1) * each)
            scores.append(objective.score({layer: activations[layer][rows] for layer in objective.layers}))
        return torch.cat(scores)

    def select(rows: Sequence[int]) -> Objective:
        return per_picture([objectives[row // each] for row in rows])

    return Objective(layers, score, "; ".join(objective.words for objective in objectives), select)


def _sum(left: Objective, right: Objective | float, sign: float) -> Objective:
    operator = "+" if sign > 0 else "-"
    if isinstance(right, Objective):
        layers = tuple(dict.fromkeys((*left.layers, *right.layers)))
        words = f"{left.words} {operator} {_parenthesized(right.words) if sign < 0 else right.words}"
        return Objective(layers, lambda activations: left.score(activations) + sign * right.score(activations), words)
    constant = sign * right
    words = f"{left.words} {operator} {right:g}"
    return Objective(left.layers, lambda activations: left.score(activations) + constant, words)


def _parenthesized(words: str) -> str:
    """The description in parentheses, if it is a sum."""
    return f"({words})" if " + " in words or " - " in words else words


def _select_channel(activation: Tensor, layer: str, unit: int) -> Tensor:
    if not 0 <= unit < activation.shape[1]:
        raise UnknownName(f"no unit {layer}[{unit}]: {layer!r} has units 0 to {activation.shape[1] - 1}")
    return activation[:, unit]


def _spatial_mean(channel_map: Tensor) -> Tensor:
    return channel_map.flatten(1).mean(1) if channel_map.ndim > 1 else channel_map


def _times_cosine(dot: Tensor, norms: Tensor, power: float) -> Tensor:
    """``dot`` times a power of the cosine, ``dot / norms``."""
    if not power:
        return dot
    return dot * (dot / norms.clamp_min(1e-12)).clamp_min(0.1) ** power


def _expand_like(reference: Tensor, activation: Tensor, layer: str) -> Tensor:
    """The reference activation, expanded to the batch of ``activation``."""
    target = (reference if reference.ndim == activation.ndim else reference[None]).to(activation)
    if tuple(target.shape[1:]) != tuple(activation.shape[1:]) or len(target) not in (1, len(activation)):
        raise InputError(
            f"{layer!r} gives {tuple(activation.shape)} for a picture of this size; "
            f"the activation to match is {tuple(reference.shape)}"
        )
    return target.expand_as(activation)
