"""What a picture is to excite: a number per picture, read off the layers of a network.

Objectives add, subtract and scale, and their words do so with them:

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
"""The network's own output, where objectives name layers."""

Readings = Mapping[str, Tensor]
"""Address → what that layer gave for a batch of pictures (N, C, …)."""


@dataclass(frozen=True)
class Objective:
    """A number per picture (N,), to be made as large as it gets.

    Args:
        layers: the addresses it reads; `OUTPUT` is the network's own output.
        score: from what these gave to one number per picture.
        words: what it is, for people.
        picked: for objectives that treat each picture of a batch in its own way, what some of them have.
    """

    layers: tuple[str, ...]
    score: Callable[[Readings], Tensor] = field(repr=False)
    words: str
    picked: "Callable[[Sequence[int]], Objective] | None" = field(default=None, repr=False)

    def __add__(self, other: "Objective | float") -> "Objective":
        return _sum(self, other, 1.0)

    def __radd__(self, other: float) -> "Objective":
        return _sum(self, other, 1.0)

    def __sub__(self, other: "Objective | float") -> "Objective":
        return _sum(self, other, -1.0)

    def __rsub__(self, other: float) -> "Objective":
        return _sum(-self, other, 1.0)

    def __mul__(self, factor: float) -> "Objective":
        return Objective(self.layers, lambda seen: factor * self.score(seen), f"{factor:g} * {_within(self.words)}")

    __rmul__ = __mul__

    def __neg__(self) -> "Objective":
        return Objective(self.layers, lambda seen: -self.score(seen), f"-{_within(self.words)}")


def channel(layer: str, unit: int) -> Objective:
    """The mean of a channel over its map."""

    def score(seen: Readings) -> Tensor:
        return _over_map(_unit_of(seen[layer], layer, unit))

    return Objective((layer,), score, f"{layer}[{unit}]")


def neuron(layer: str, unit: int, position: Sequence[int] | None = None) -> Objective:
    """A channel at one position of its map, the centre by default."""
    written = "centre" if position is None else ", ".join(str(place) for place in position)

    def score(seen: Readings) -> Tensor:
        chosen = _unit_of(seen[layer], layer, unit)
        extent = tuple(chosen.shape[1:])
        place = tuple(side // 2 for side in extent) if position is None else tuple(position)
        if len(place) != len(extent) or any(not 0 <= p < side for p, side in zip(place, extent, strict=True)):
            raise UnknownName(f"no position {layer}[{unit}, {written}]: the map of {layer!r} is {extent}")
        at: Any = (slice(None), *place)
        return chosen[at]

    return Objective((layer,), score, f"{layer}[{unit}, {written}]")


def class_score(index: int, label: str = "", sides: Callable[[Tensor], Tensor] | None = None) -> Objective:
    """The score of a class as the network gives it; of a dense output its mean over all places.

    Args:
        sides: makes the scores of both of a single output that has two labels.
    """

    def score(seen: Readings) -> Tensor:
        output = seen[OUTPUT] if sides is None else sides(seen[OUTPUT])
        if not 0 <= index < output.shape[1]:
            raise OutputError(f"class {index} is out of range: the output has {output.shape[1]} classes")
        return _over_map(output[:, index])

    return Objective((OUTPUT,), score, label or f"class {index}")


def layer_energy(layer: str) -> Objective:
    """The mean of a layer's squared activations: whatever it sees in a picture, more of it (DeepDream)."""
    return Objective((layer,), lambda seen: seen[layer].square().flatten(1).mean(1), layer or "the output")


def direction(layer: str, vector: Tensor, *, cosine_power: float = 0.0) -> Objective:
    """How far a layer's channels point along ``vector``, averaged over its map.

    Args:
        vector: a number per channel.
        cosine_power: multiply by the cosine of the angle to that power, so that pictures are drawn to the direction
            itself and not to anything large that has a share in it.
    """

    def score(seen: Readings) -> Tensor:
        maps = seen[layer].flatten(2) if seen[layer].ndim > 2 else seen[layer][..., None]
        if tuple(vector.shape) != (maps.shape[1],):
            raise LayerError(f"a direction at {layer!r} has {maps.shape[1]} numbers, got shape {tuple(vector.shape)}")
        along = torch.einsum("ncp,c->np", maps, vector.to(maps))
        return _with_cosine(along, maps.norm(dim=1) * vector.norm().to(maps), cosine_power).mean(1)

    return Objective((layer,), score, f"a direction of {layer}")


def matching(layer: str, activation: Tensor) -> Objective:
    """How near a layer comes to ``activation`` (C, …) or (N, C, …): -‖a - a₀‖² / ‖a₀‖², at most zero (inversion)."""
    wanted = activation.detach()

    def score(seen: Readings) -> Tensor:
        target = _fitting(wanted, seen[layer], layer)
        scale = target.flatten(1).square().sum(1).clamp_min(torch.finfo(target.dtype).tiny)
        return -(seen[layer] - target).flatten(1).square().sum(1) / scale

    return Objective((layer,), score, f"the activation of {layer or 'the output'}")


def caricature(layer: str, activation: Tensor, *, cosine_power: float = 2.0) -> Objective:
    """A layer's answer to a picture, exaggerated: dot product with ``activation``, times the cosine to a power."""
    wanted = activation.detach()

    def score(seen: Readings) -> Tensor:
        here = seen[layer].flatten(1)
        target = _fitting(wanted, seen[layer], layer).flatten(1)
        dot = (here * target).sum(1)
        return _with_cosine(dot, here.norm(dim=1) * target.norm(dim=1), cosine_power) / math.sqrt(here.shape[1])

    return Objective((layer,), score, f"a caricature at {layer}")


def echo(layer: str, guide: Tensor) -> Objective:
    """How strongly a layer echoes a guide (C, …): each position's product with the guide's position most like it."""
    wanted = guide.detach().flatten(1)

    def score(seen: Readings) -> Tensor:
        here = seen[layer].flatten(2)
        if here.shape[1] != len(wanted):
            raise LayerError(f"{layer!r} has {here.shape[1]} channels and the guide {len(wanted)}: take the same layer")
        return torch.einsum("ncp,cq->npq", here, wanted.to(here)).amax(2).mean(1)

    return Objective((layer,), score, f"what {layer} sees in the guide")


def gram(layer: str, target: Tensor) -> Objective:
    """How near a layer's Gram matrix comes to ``target`` (C, C): minus the relative squared distance."""
    wanted = target.detach()

    def score(seen: Readings) -> Tensor:
        here = gram_of(seen[layer])
        there = wanted.to(here)
        if tuple(there.shape[-2:]) != tuple(here.shape[-2:]):
            shapes = f"{tuple(here.shape[-2:])}, got {tuple(there.shape[-2:])}"
            raise LayerError(f"the Gram matrix of {layer!r} is {shapes}")
        return -(here - there).square().sum((-2, -1)) / there.square().sum((-2, -1)).clamp_min(1e-30)

    return Objective((layer,), score, f"the style at {layer}")


def gram_of(activation: Tensor) -> Tensor:
    """Which channels go together (N, C, C): mean over positions of the product of each pair."""
    maps = activation.flatten(2) if activation.ndim > 2 else activation[..., None]
    return maps @ maps.mT / maps.shape[2]


def diversity(layer: str) -> Objective:
    """How unlike the pictures of a batch are at a layer: minus the mean cosine of their Gram matrices."""

    def score(seen: Readings) -> Tensor:
        styles = torch.nn.functional.normalize(gram_of(seen[layer]).flatten(1), dim=1)
        alike = styles @ styles.mT
        others = max(1, len(styles) - 1)
        return -(alike.sum(1) - alike.diagonal()) / others

    return Objective((layer,), score, f"diversity at {layer}")


def alongside(objectives: Sequence[Objective], each: int = 1) -> Objective:
    """Several objectives in one batch: the first ``each`` pictures have the first, the next ones the second."""
    layers = tuple(dict.fromkeys(layer for one in objectives for layer in one.layers))

    def score(seen: Readings) -> Tensor:
        parts = []
        for place, one in enumerate(objectives):
            own = slice(place * each, (place + 1) * each)
            parts.append(one.score({layer: seen[layer][own] for layer in one.layers}))
        return torch.cat(parts)

    def picked(rows: Sequence[int]) -> Objective:
        return alongside([objectives[row // each] for row in rows])

    return Objective(layers, score, "; ".join(one.words for one in objectives), picked)


def _sum(one: Objective, other: Objective | float, sign: float) -> Objective:
    word = "+" if sign > 0 else "-"
    if isinstance(other, Objective):
        layers = tuple(dict.fromkeys((*one.layers, *other.layers)))
        words = f"{one.words} {word} {_within(other.words) if sign < 0 else other.words}"
        return Objective(layers, lambda seen: one.score(seen) + sign * other.score(seen), words)
    shift = sign * other
    return Objective(one.layers, lambda seen: one.score(seen) + shift, f"{one.words} {word} {other:g}")


def _within(words: str) -> str:
    """Words in brackets where they are a sum."""
    return f"({words})" if " + " in words or " - " in words else words


def _unit_of(activation: Tensor, layer: str, unit: int) -> Tensor:
    if not 0 <= unit < activation.shape[1]:
        raise UnknownName(f"no unit {layer}[{unit}]: {layer!r} has units 0 to {activation.shape[1] - 1}")
    return activation[:, unit]


def _over_map(chosen: Tensor) -> Tensor:
    return chosen.flatten(1).mean(1) if chosen.ndim > 1 else chosen


def _with_cosine(dot: Tensor, lengths: Tensor, power: float) -> Tensor:
    if not power:
        return dot
    return dot * (dot / lengths.clamp_min(1e-12)).clamp_min(0.1) ** power


def _fitting(wanted: Tensor, here: Tensor, layer: str) -> Tensor:
    """The activation that is aimed at, with a batch axis and of the shape of what is there."""
    target = (wanted if wanted.ndim == here.ndim else wanted[None]).to(here)
    if tuple(target.shape[1:]) != tuple(here.shape[1:]) or len(target) not in (1, len(here)):
        raise InputError(
            f"{layer!r} gives {tuple(here.shape)} for this canvas; what it should match is {tuple(wanted.shape)}"
        )
    return target.expand_as(here)
