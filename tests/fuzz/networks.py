"""Random networks: a seed gives a small network in float64, two images, and the layouts of its layers."""

import functools
from collections import OrderedDict
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from tests.fuzz.drawing import EXCLUDED, RandomChoices, random_images, randomize_weights
from tests.fuzz.heads import CLASSES, ENDINGS, HEADS, Head
from tests.fuzz.layouts import Layout, map_layout
from tests.fuzz.parts import CONVOLUTIONS, GROWING, PARTS, SHRINKING, SpatialTransform, activation, output_shape

EXTENTS = {1: ((16, 28),), 2: ((8, 12), (8, 12)), 3: ((4, 7), (4, 6), (4, 6))}
"""The smallest and the largest extent of an input along each axis."""
FRAMES = 2


@dataclass(frozen=True, eq=False)
class RandomNetwork:
    """A random network with its ground truth.

    Attributes:
        seed: the seed from which it was built.
        module: the network.
        images: (2, channels, …); ``targets``: the class to explain for each.
        layouts: address → layout of the layers with positions, in the order in which they finish.
        kinds: the names of the parts, the head, the ending and other random choices.
    """

    seed: int
    module: nn.Module
    images: Tensor
    targets: tuple[int, int]
    layouts: dict[str, Layout]
    kinds: frozenset[str] = field(default_factory=frozenset)

    @property
    def axes(self) -> int:
        """The number of spatial axes of the input."""
        return self.images.ndim - 2

    def __str__(self) -> str:
        shape = "×".join(map(str, self.images.shape[1:]))
        return (
            f"seed {self.seed}: {', '.join(sorted(self.kinds))}; input {shape}, classes {self.targets}\n{self.module}"
        )


class FrameFolding(nn.Module):
    """Frames of an image that are folded into the batch axis; their scores are averaged or maximized."""

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
def random_network(seed: int, excluded: frozenset[str] = EXCLUDED) -> RandomNetwork:
    """The network of a seed; it is built again until the explained scores depend on their images."""
    for attempt in range(50):
        network = _build(seed, attempt, excluded)
        if _is_usable(network):
            return network
    raise AssertionError(f"seed {seed} gives no network whose scores depend on its images")


def _build(seed: int, attempt: int, excluded: frozenset[str]) -> RandomNetwork:
    draw = RandomChoices(seed * 1000 + attempt, excluded)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        axes = draw.choice([1, 2, 2, 2, 3])
        extent = tuple(draw.integer(*bounds) for bounds in EXTENTS[axes])
        channels = draw.choice([1, 2, 3, 3])
        folded = draw.named_choice({"whole": 0, "whole ": 0, " whole": 0, "folded": 1})[1] and axes > 1
        body, layouts, kinds = _build_body(draw, channels, extent)
    images = random_images((2, channels, *extent), seed)
    if folded:
        spelling = draw.choice(["channels", "time"]) if axes == 2 else "channels"
        body = nn.Sequential(OrderedDict(frames=FrameFolding(body, spelling)))
        layouts = {f"frames.inner.{address}": _folded_layout(layout) for address, layout in layouts.items()}
        kinds = kinds | {"folded"}
        images = random_images((2, channels * FRAMES, *extent), seed)
        if spelling == "time":
            images = images.unflatten(1, (channels, FRAMES))
    randomize_weights(body, seed)
    first, second = draw.integer(0, CLASSES - 1), draw.integer(0, CLASSES - 1)
    classes = (first, second if "scores" in kinds else first)
    kinds = kinds | {f"{axes}-D"} | ({"one channel"} if channels == 1 else set())
    return RandomNetwork(seed, body.eval(), images, classes, layouts, frozenset(kinds))


def _folded_layout(layout: Layout) -> Layout:
    return replace(layout, frames=FRAMES)


def _build_body(
    draw: RandomChoices, channels: int, extent: tuple[int, ...]
) -> tuple[nn.Sequential, dict[str, Layout], set[str]]:
    """A sequence of named parts, a head and a final layer, with the layouts and the names of the choices."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    layouts: dict[str, Layout] = {}
    kinds: set[str] = set()
    head_name, head_builder = draw.named_choice(HEADS)
    shape = (channels, extent)
    if head_name != "linear patches":
        parts["stem"] = stem(draw, *shape)
        shape = output_shape(parts["stem"], *shape)
        layouts |= {"stem.0": map_layout(len(extent)), "stem": map_layout(len(extent))}
    for number in range(draw.integer(1, 3) if parts else 0):
        name, builder = draw.named_choice(PARTS)
        if (name in SHRINKING and min(shape[1]) < 4) or (name in GROWING and max(shape[1]) > 12):
            continue
        part = builder(draw, *shape).eval()
        address = f"{name.replace(' ', '_').replace('-', '_')}{number}"
        parts[address], shape = part, output_shape(part, *shape)
        if isinstance(part, nn.Sequential) and isinstance(part[0], SpatialTransform):
            layouts |= dict.fromkeys((f"{address}.0", f"{address}.1"), map_layout(len(extent), part[0].transform))
        layouts[address] = map_layout(len(extent))
        kinds.add(name)
    head: Head = head_builder(draw, *shape)
    parts["head"] = head
    layouts |= {f"head.{address}": layout for address, layout in head.layouts.items()}
    ending, end = draw.named_choice(ENDINGS) if draw.boolean(0.4) else ("scores", nn.Identity)
    if ending != "scores":
        parts["ending"] = end()
    return nn.Sequential(parts), layouts, kinds | {head_name, ending}


def stem(draw: RandomChoices, channels: int, extent: tuple[int, ...]) -> nn.Module:
    """The first convolution and its activation."""
    first = CONVOLUTIONS[len(extent)](channels, draw.integer(3, 5), 3, padding=1)
    return nn.Sequential(first, activation(draw, in_place=True))


def _is_usable(net: RandomNetwork) -> bool:
    """Whether the network runs, and the gradients of the explained scores are finite and neither tiny nor huge."""
    try:
        net.module(net.images)
    except RuntimeError as error:
        if "view size is not compatible" in str(error):
            return False  # a network with ``.view`` of a noncontiguous tensor
        raise
    for image, target in zip(net.images, net.targets, strict=True):
        x = image[None].clone().requires_grad_()
        score = net.module(x)[0, target]
        (gradient,) = torch.autograd.grad(score, x)
        if not (torch.isfinite(gradient).all() and 1e-4 < float(gradient.norm()) < 1e3):
            return False
    return True
