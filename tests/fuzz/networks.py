"""Random networks: a seed gives a small network in float64, two images, and what the generator knows of both."""

import functools
from collections import OrderedDict
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from tests.fuzz.drawing import OFF, Draw, random_images, randomise
from tests.fuzz.heads import CLASSES, ENDINGS, HEADS, Head
from tests.fuzz.layouts import Layout, map_layout
from tests.fuzz.parts import CONVOLUTIONS, GROWING, PARTS, SHRINKING, Turned, activation, after

EXTENTS = {1: ((16, 28),), 2: ((8, 12), (8, 12)), 3: ((4, 7), (4, 6), (4, 6))}
"""The least and the largest extent of an input along each axis."""
FRAMES = 2


@dataclass(frozen=True, eq=False)
class Network:
    """A random network and what is known of it.

    Attributes:
        images: (2, channels, …), and ``targets`` a class to explain of each.
        layouts: the layers that have places, in the order in which they finish, and where their axes are.
        kinds: the names of what was drawn.
        last: the address of the last layer with places on every path to the answer.
    """

    seed: int
    module: nn.Module
    images: Tensor
    targets: tuple[int, int]
    layouts: dict[str, Layout]
    kinds: frozenset[str] = field(default_factory=frozenset)

    @property
    def axes(self) -> int:
        """How many spatial axes the input has."""
        return self.images.ndim - 2

    @property
    def last(self) -> str:
        return list(self.layouts)[-1]

    def __str__(self) -> str:
        shape = "×".join(map(str, self.images.shape[1:]))
        return (
            f"seed {self.seed}: {', '.join(sorted(self.kinds))}; input {shape}, classes {self.targets}\n{self.module}"
        )


class Folded(nn.Module):
    """Each image is a row of frames, which go through the network as pictures of their own; then their mean."""

    def __init__(self, inner: nn.Module, spelling: str) -> None:
        super().__init__()
        self.inner, self.spelling = inner, spelling

    def forward(self, x: Tensor) -> Tensor:
        if self.spelling == "channels":  # (N, frames · C, …)
            frames = x.reshape(len(x) * FRAMES, -1, *x.shape[2:])
        else:  # (N, C, time, …)
            frames = x.transpose(1, 2).flatten(0, 1)
        scores = self.inner(frames).unflatten(0, (len(x), -1))
        return scores.amax(1) if self.spelling == "channels" else scores.mean(1)

    def extra_repr(self) -> str:
        return self.spelling


@functools.lru_cache(maxsize=64)
def network(seed: int, off: frozenset[str] = OFF) -> Network:
    """The network of a seed: drawn again until both of its images move the scores that are explained."""
    for attempt in range(50):
        drawn = _drawn(seed, attempt, off)
        if _alive(drawn):
            return drawn
    raise AssertionError(f"seed {seed} gives no network whose scores depend on its images")


def _drawn(seed: int, attempt: int, off: frozenset[str]) -> Network:
    draw = Draw(seed * 1000 + attempt, off)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        axes = draw.among([1, 2, 2, 2, 3])
        extent = tuple(draw.number(*bounds) for bounds in EXTENTS[axes])
        channels = draw.among([1, 2, 3, 3])
        folded = draw.named({"whole": 0, "whole ": 0, " whole": 0, "folded": 1})[1] and axes > 1
        body, layouts, kinds = _body(draw, channels, extent)
    images = random_images((2, channels, *extent), seed)
    if folded:
        spelling = draw.among(["channels", "time"]) if axes == 2 else "channels"
        body = nn.Sequential(OrderedDict(frames=Folded(body, spelling)))
        layouts = {f"frames.inner.{address}": _folded(layout) for address, layout in layouts.items()}
        kinds = kinds | {"folded"}
        images = random_images((2, channels * FRAMES, *extent), seed)
        if spelling == "time":
            images = images.unflatten(1, (channels, FRAMES))
    randomise(body, seed)
    first, second = draw.number(0, CLASSES - 1), draw.number(0, CLASSES - 1)
    classes = (first, second if "scores" in kinds else first)
    kinds = kinds | {f"{axes}-D"} | ({"one channel"} if channels == 1 else set())
    return Network(seed, body.eval(), images, classes, layouts, frozenset(kinds))


def _folded(layout: Layout) -> Layout:
    return replace(layout, frames=FRAMES)


def _body(draw: Draw, channels: int, extent: tuple[int, ...]) -> tuple[nn.Sequential, dict[str, Layout], set[str]]:
    """A sequence of named parts, a head and an ending."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    layouts: dict[str, Layout] = {}
    kinds: set[str] = set()
    head_name, head_builder = draw.named(HEADS)
    shape = (channels, extent)
    if head_name != "linear patches":
        parts["stem"] = stem(draw, *shape)
        shape = after(parts["stem"], *shape)
        layouts |= {"stem.0": map_layout(len(extent)), "stem": map_layout(len(extent))}
    for number in range(draw.number(1, 3) if parts else 0):
        name, builder = draw.named(PARTS)
        if (name in SHRINKING and min(shape[1]) < 4) or (name in GROWING and max(shape[1]) > 12):
            continue
        part = builder(draw, *shape).eval()
        address = f"{name.replace(' ', '_').replace('-', '_')}{number}"
        parts[address], shape = part, after(part, *shape)
        if isinstance(part, nn.Sequential) and isinstance(part[0], Turned):
            layouts |= dict.fromkeys((f"{address}.0", f"{address}.1"), map_layout(len(extent), part[0].way))
        layouts[address] = map_layout(len(extent))
        kinds.add(name)
    head: Head = head_builder(draw, *shape)
    parts["head"] = head
    layouts |= {f"head.{address}": layout for address, layout in head.layouts.items()}
    ending, end = draw.named(ENDINGS) if draw.chance(0.4) else ("scores", nn.Identity)
    if ending != "scores":
        parts["ending"] = end()
    return nn.Sequential(parts), layouts, kinds | {head_name, ending}


def stem(draw: Draw, channels: int, extent: tuple[int, ...]) -> nn.Module:
    """The first convolution and its activation."""
    first = CONVOLUTIONS[len(extent)](channels, draw.number(3, 5), 3, padding=1)
    return nn.Sequential(first, activation(draw, in_place=True))


def _alive(net: Network) -> bool:
    """Whether it runs, and each explained score is finite and moves with its image."""
    try:
        net.module(net.images)
    except RuntimeError as error:
        if "view size is not compatible" in str(error):
            return False  # a network that flattens by ``.view`` what does not lie in one row
        raise
    for image, target in zip(net.images, net.targets, strict=True):
        x = image[None].clone().requires_grad_()
        score = net.module(x)[0, target]
        (gradient,) = torch.autograd.grad(score, x)
        if not (torch.isfinite(gradient).all() and 1e-4 < float(gradient.norm()) < 1e3):
            return False
    return True
