"""Parts of random networks that map (N, C, positions …) to (N, C, positions …).

A builder gets the random choices, the number of channels and the extent of its input, and returns a module.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.fuzz.drawing import RandomChoices
from tests.fuzz.layouts import TRANSFORMS
from tests.fuzz.spellings import IN_PLACE, LEAKY, MODULES, RECTIFIERS, SMOOTH, FunctionalActivation

Extent = tuple[int, ...]
CONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Callable[..., nn.Module]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORMS = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
MAX_POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGE_POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
ADAPTIVE_MAX = {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d}
ADAPTIVE_AVERAGE = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


# Activations and norms


def activation(draw: RandomChoices, *, in_place: bool = False) -> nn.Module:
    """A random activation, in about half of the cases a rectifier; in place only if the input is not needed again."""
    kind = draw.integer(0, 9)
    if kind < 2:
        return nn.ReLU(inplace=in_place and draw.boolean(0.5))
    if kind < 4:
        return FunctionalActivation(draw.named_choice(RECTIFIERS)[0])
    if kind == 4 and in_place:
        return FunctionalActivation(draw.named_choice(IN_PLACE)[0])
    if kind < 7:
        return FunctionalActivation(draw.named_choice(SMOOTH)[0])
    if kind == 7:
        return FunctionalActivation(draw.named_choice(LEAKY)[0])
    return draw.named_choice(MODULES)[1]()


class RMSNorm(nn.Module):
    """x / √mean(x²) over the channels, times a scale."""

    def __init__(self, channels: int, axes: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, *[1] * axes))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-5) * self.scale


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (N, C, …), between two permutations."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


NORMS: dict[str, Callable[[RandomChoices, int, Extent], nn.Module]] = {
    "batch norm": lambda draw, c, e: BATCH_NORMS[len(e)](c),
    "batch norm without scale": lambda draw, c, e: BATCH_NORMS[len(e)](c, affine=False),
    "group norm": lambda draw, c, e: nn.GroupNorm(draw.choice([g for g in (1, 2, c) if c % g == 0]), c),
    "instance norm": lambda draw, c, e: INSTANCE_NORMS[len(e)](c, affine=draw.boolean(0.5)),
    "instance norm with statistics": lambda draw, c, e: INSTANCE_NORMS[len(e)](c, track_running_stats=True),
    "layer norm": lambda draw, c, e: nn.LayerNorm((c, *e)),
    "channel norm": lambda draw, c, e: ChannelNorm(c),
    "response norm": lambda draw, c, e: nn.LocalResponseNorm(3, alpha=0.5),
    "RMS norm": lambda draw, c, e: RMSNorm(c, len(e)),
}


def norm(draw: RandomChoices, channels: int, extent: Extent) -> nn.Module:
    """A random normalization: batch norm in half of the cases, and if there are too few positions for others."""
    if draw.boolean(0.5) or math.prod(extent) < 4:
        return BATCH_NORMS[len(extent)](channels)
    return draw.named_choice(NORMS)[1](draw, channels, extent)


# Convolutions


def plain_convolution(draw: RandomChoices, c: int, extent: Extent, out: int | None = None) -> nn.Module:
    """A convolution with random kernel size, stride, dilation and padding that leaves a nonempty map."""
    small = min(extent) < 5
    kernels: list[int | tuple[int, ...]] = [1, 3, 3, (3, 1, 3)[: len(extent)]] if not small else [1, 3]
    kernel = draw.choice(kernels)
    modes = ["zeros", "zeros", "circular", "reflect", "replicate"]
    options: dict[str, Any] = {"padding": "same", "padding_mode": draw.choice(modes)}
    if options["padding_mode"] != "zeros" and (small or not isinstance(kernel, int)):
        options["padding_mode"] = "zeros"
    if options["padding_mode"] == "zeros" and not small and isinstance(kernel, int):
        options["padding"] = draw.choice([0, 1, kernel // 2]) if kernel > 1 else 0
        options["stride"] = draw.choice([1, 1, 2])
    elif kernel == 3 and not small:
        options["dilation"] = draw.choice([1, 2])
    if len(extent) == 3 and options["padding_mode"] == "reflect":
        options["padding_mode"] = "replicate"
    return CONVOLUTIONS[len(extent)](c, out or draw.integer(3, 6), kernel, bias=draw.boolean(0.8), **options)


def convolution(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    """A convolution, optionally with normalization and activation, as a sequence of modules."""
    parts: list[nn.Module] = [plain_convolution(draw, c, extent)]
    out_channels, out_extent = output_shape(parts[0], c, extent)
    if draw.boolean(0.6):
        parts.append(norm(draw, out_channels, out_extent))
    if draw.boolean(0.85):
        parts.append(activation(draw, in_place=True))
    return nn.Sequential(*parts)


def grouped(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    groups = draw.choice([g for g in (1, 2, 3, c) if c % g == 0])
    wide = c * draw.integer(1, 2)
    return nn.Sequential(
        CONVOLUTIONS[len(extent)](c, wide, 3, padding=1, groups=groups), activation(draw, in_place=True)
    )


def dilated(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    return nn.Sequential(CONVOLUTIONS[len(extent)](c, c, 3, padding=2, dilation=2), activation(draw, in_place=True))


def separable(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    """A depthwise convolution, then a pointwise one."""
    kind = CONVOLUTIONS[len(extent)]
    return nn.Sequential(kind(c, c, 3, padding=1, groups=c), norm(draw, c, extent), kind(c, 5, 1), activation(draw))


def transposed(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    kind, options = TRANSPOSED[len(extent)], {"stride": 2, "padding": draw.integer(0, 1)}
    if max(extent) > 12:
        options = {"stride": 1, "padding": 1}
    groups = draw.choice([g for g in (1, 2) if c % g == 0])
    out = 2 * groups
    return nn.Sequential(kind(c, out, 3, bias=draw.boolean(0.7), groups=groups, **options), activation(draw))


# Blocks


class Residual(nn.Module):
    """activation(x + branch(x)), with the sum written in one of several ways."""

    def __init__(self, branch: nn.Module, after: nn.Module, spelling: str) -> None:
        super().__init__()
        self.branch, self.after, self.spelling = branch, after, spelling

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        if self.spelling == "+=":
            y += x
        elif self.spelling == "add":
            y = torch.add(x, y)
        elif self.spelling == "stack":
            y = torch.stack([x, y]).sum(0)
        else:
            y = x + y
        return self.after(y)

    def extra_repr(self) -> str:
        return self.spelling


def residual(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    kind = CONVOLUTIONS[len(extent)]
    branch = [kind(c, c, 3, padding=1), norm(draw, c, extent), activation(draw, in_place=True), kind(c, c, 1)]
    last = activation(draw) if draw.boolean(0.7) else nn.Identity()
    return Residual(nn.Sequential(*branch), last, draw.choice(["+", "+=", "add", "stack"]))


class Concatenated(nn.Module):
    """Parallel branches with concatenated outputs."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def dense(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    branch = nn.Sequential(
        norm(draw, c, extent), activation(draw), CONVOLUTIONS[len(extent)](c, draw.integer(2, 3), 3, padding=1)
    )
    return Concatenated(nn.Identity(), branch)


def inception(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    kind = CONVOLUTIONS[len(extent)]
    pool = draw.choice([MAX_POOLS, AVERAGE_POOLS])[len(extent)](3, 1, 1)
    return Concatenated(
        kind(c, 2, 1),
        nn.Sequential(kind(c, 2, 3, padding=1), activation(draw, in_place=True)),
        nn.Sequential(pool, kind(c, 1, 1)),
    )


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: channels scaled by gates computed from their means."""

    def __init__(self, channels: int, axes: int, inner: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        kind = CONVOLUTIONS[axes]
        self.pool = ADAPTIVE_AVERAGE[axes](1)
        self.down, self.inner, self.up, self.gate = kind(channels, 2, 1), inner, kind(2, channels, 1), gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.up(self.inner(self.down(self.pool(x)))))


def squeeze_excite(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    return SqueezeExcite(c, len(extent), activation(draw), draw.choice([nn.Sigmoid, nn.Hardsigmoid])())


class Gated(nn.Module):
    """A gated linear unit: half of the channels times the sigmoid of the other half."""

    def __init__(self, convolution: nn.Module, spelling: str) -> None:
        super().__init__()
        self.convolution, self.spelling = convolution, spelling

    def forward(self, x: Tensor) -> Tensor:
        if self.spelling == "F.glu":
            return F.glu(self.convolution(x), 1)
        value, gate = self.convolution(x).chunk(2, 1)
        return value * torch.sigmoid(gate)


def gated(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    return Gated(CONVOLUTIONS[len(extent)](c, 8, 3, padding=1), draw.choice(["F.glu", "chunk"]))


class ChannelShuffle(nn.Module):
    """A channel shuffle of two groups."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


def shuffled(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    kind = CONVOLUTIONS[len(extent)]
    return nn.Sequential(kind(c, 6, 1), ChannelShuffle(), kind(6, 6, 3, padding=1, groups=2), activation(draw))


class CalledTwice(nn.Module):
    """One module that is called twice."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(self.module(x))


def reused(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    return CalledTwice(nn.Sequential(CONVOLUTIONS[len(extent)](c, c, 3, padding=1), activation(draw)))


class Hourglass(nn.Module):
    """Downsampling and upsampling, concatenated with a skip connection."""

    def __init__(self, down: nn.Module, up: nn.Module) -> None:
        super().__init__()
        self.down, self.up = down, up

    def forward(self, x: Tensor) -> Tensor:
        small = self.down(x)
        large = F.interpolate(self.up(small), size=x.shape[2:], mode="nearest")
        return torch.cat([x, large], 1)


def hourglass(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    kind = CONVOLUTIONS[len(extent)]
    down = nn.Sequential(kind(c, 3, 3, stride=2, padding=1), activation(draw, in_place=True))
    return Hourglass(down, nn.Sequential(kind(3, 2, 1), activation(draw)))


# Sampling


def pooled(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    axes = len(extent)
    kinds: list[nn.Module] = [
        MAX_POOLS[axes](2, ceil_mode=draw.boolean(0.5)),
        MAX_POOLS[axes](3, 2, 1),
        MAX_POOLS[axes](2, 1),
        AVERAGE_POOLS[axes](2, ceil_mode=draw.boolean(0.5)),
        AVERAGE_POOLS[axes](3, 2, 1, count_include_pad=draw.boolean(0.5)),
        ADAPTIVE_MAX[axes](draw.integer(2, 3)),
        ADAPTIVE_AVERAGE[axes](draw.integer(2, 3)),
    ]
    return draw.choice(kinds)


def power_pooled(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    return nn.Sequential(nn.Softplus(), {1: nn.LPPool1d, 2: nn.LPPool2d, 3: nn.LPPool3d}[len(extent)](2, 2))


class Strided(nn.Module):
    """Every second position, selected by a slice."""

    def forward(self, x: Tensor) -> Tensor:
        return x[(..., *[slice(None, None, 2)] * (x.ndim - 2))]


def strided(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    return Strided()


class Padded(nn.Module):
    """Padding that differs between the two sides."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, [1, 0] * (x.ndim - 2), mode=self.mode)


def padded(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    return nn.Sequential(Padded(draw.choice(["constant", "replicate"])), CONVOLUTIONS[len(extent)](c, c, 2))


def upsampled(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    axes = len(extent)
    modes: list[tuple[str, dict[str, Any]]] = [("nearest", {}), ("nearest-exact", {}), (MODES[axes], {})]
    modes += [(MODES[axes], {"align_corners": True})]
    mode, options = draw.choice(modes)
    enlarge = draw.boolean(0.5)
    size: dict[str, Any] = {"size": tuple(n + draw.integer(1, n) for n in extent)} if enlarge else {"scale_factor": 2}
    return nn.Sequential(nn.Upsample(mode=mode, **size, **options), CONVOLUTIONS[axes](c, c, 1))


def turned(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    """A transform, a convolution, and the inverse transform: in between, positions differ from those of the input."""
    transform = draw.choice(["flip", "roll", "turn"])
    filtered = CONVOLUTIONS[len(extent)](c, c, 3, padding=1, padding_mode="circular" if min(extent) > 2 else "zeros")
    return nn.Sequential(SpatialTransform(transform), filtered, SpatialTransform(transform, inverse=True))


class SpatialTransform(nn.Module):
    """A flip, a roll by two, or a rotation of the map by 180°."""

    def __init__(self, transform: str, *, inverse: bool = False) -> None:
        super().__init__()
        self.transform, self.inverse = transform, inverse

    def forward(self, x: Tensor) -> Tensor:
        return TRANSFORMS[self.transform][self.inverse](x)

    def extra_repr(self) -> str:
        return f"{self.transform}, inverse" if self.inverse else self.transform


def unshuffled(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    """A pixel unshuffle or shuffle; for odd extents a spatial transform instead."""
    if len(extent) != 2 or extent[0] % 2 or extent[1] % 2:
        return turned(draw, c, extent)
    if draw.boolean(0.5):
        return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * c, 4, 1))
    return nn.Sequential(nn.Conv2d(c, 8, 1), nn.PixelShuffle(2), activation(draw))


# Blocks with channels-last layers


class ConvNextBlock(nn.Module):
    """A ConvNeXt block: a depthwise convolution, then normalization and linear layers over the last axis."""

    def __init__(self, channels: int, axes: int, inner: nn.Module) -> None:
        super().__init__()
        self.mix = CONVOLUTIONS[axes](channels, channels, 3, padding=1, groups=channels)
        self.norm, self.wide, self.inner = nn.LayerNorm(channels), nn.Linear(channels, 6), inner
        self.back = nn.Linear(6, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(x).movedim(1, -1)
        return x + self.back(self.inner(self.wide(self.norm(y)))).movedim(-1, 1)


def channels_last_block(draw: RandomChoices, c: int, extent: Extent) -> nn.Module:
    return ConvNextBlock(c, len(extent), activation(draw))


PARTS: dict[str, Callable[[RandomChoices, int, Extent], nn.Module]] = {
    "convolution": convolution,
    "grouped": grouped,
    "dilated": dilated,
    "separable": separable,
    "transposed": transposed,
    "residual": residual,
    "dense": dense,
    "inception": inception,
    "squeeze-excite": squeeze_excite,
    "gated": gated,
    "shuffled": shuffled,
    "reused": reused,
    "hourglass": hourglass,
    "pool": pooled,
    "power pool": power_pooled,
    "strided": strided,
    "padded": padded,
    "upsampled": upsampled,
    "turned": turned,
    "unshuffled": unshuffled,
    "convnext": channels_last_block,
}
SHRINKING = {"pool", "power pool", "strided"}
GROWING = {"transposed", "upsampled", "hourglass"}


def output_shape(part: nn.Module, channels: int, extent: Extent) -> tuple[int, Extent]:
    """The channels and the extent of the output of a part."""
    with torch.no_grad():
        shape = part(torch.zeros(1, channels, *extent)).shape
    return shape[1], tuple(shape[2:])
