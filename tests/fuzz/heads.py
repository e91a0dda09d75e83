"""The heads of random networks, from a map to scores, and their final layers, with the layouts of their layers.

A head is a module with ``layouts``: address → layout of its layers with positions, in execution order.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.fuzz.drawing import RandomChoices
from tests.fuzz.layouts import SPATIAL_AXES, Layout, last_layout
from tests.fuzz.parts import ADAPTIVE_AVERAGE, CONVOLUTIONS, Extent, activation

CLASSES = 4


class Head(nn.Module):
    """From a map (N, C, positions …) to scores (N, classes)."""

    layouts: dict[str, Layout]

    def __init__(self) -> None:
        super().__init__()
        self.layouts = {}


# Pooling and flattening


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda x: x.mean(tuple(range(2, x.ndim))),
    "flatten, mean": lambda x: x.flatten(2).mean(-1),
    "sum": lambda x: x.flatten(2).sum(2) / x[0, 0].numel(),
    "max": lambda x: x.flatten(2).amax(2),
    "max, values": lambda x: x.flatten(2).max(2).values,
    "mean and max": lambda x: x.flatten(2).mean(2) + x.flatten(2).amax(2),
    "logsumexp": lambda x: x.flatten(2).logsumexp(2),
    "adaptive, view": lambda x: ADAPTIVE_POOL[x.ndim - 2](x, 1).view(len(x), -1),
    "adaptive, squeeze": lambda x: ADAPTIVE_POOL[x.ndim - 2](x, 1).flatten(2).squeeze(-1),
    "einsum": lambda x: torch.einsum("nck->nc", x.flatten(2)) / x[0, 0].numel(),
}
ADAPTIVE_POOL: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}
FLATTENINGS: dict[str, Callable[[Tensor], Tensor]] = {
    ".view(len(x), -1)": lambda x: x.view(len(x), -1),
    ".reshape(len(x), -1)": lambda x: x.reshape(len(x), -1),
    ".reshape(-1, features)": lambda x: x.reshape(-1, x[0].numel()),
    ".flatten(1)": lambda x: x.flatten(1),
    "nn.Flatten": nn.Flatten(),
    ".contiguous().view": lambda x: x.contiguous().view(-1, x[0].numel()),
}


class Pooled(Head):
    """Global pooling and a linear layer."""

    def __init__(self, channels: int, spelling: str) -> None:
        super().__init__()
        self.linear, self.spelling = nn.Linear(channels, CLASSES), spelling

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(POOLS[self.spelling](x))

    def extra_repr(self) -> str:
        return self.spelling


class Flattened(Head):
    """Flattening and one or two linear layers."""

    def __init__(self, features: int, spelling: str, inner: nn.Module | None) -> None:
        super().__init__()
        self.spelling = spelling
        hidden = [nn.Linear(features, 5), inner] if inner is not None else []
        self.layers = nn.Sequential(*hidden, nn.Dropout(0.5), nn.Linear(5 if hidden else features, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(FLATTENINGS[self.spelling](x))

    def extra_repr(self) -> str:
        return self.spelling


class Convolved(Head):
    """A convolution with one output channel per class, then global average pooling."""

    def __init__(self, channels: int, axes: int) -> None:
        super().__init__()
        self.classes, self.pool = CONVOLUTIONS[axes](channels, CLASSES, 1), ADAPTIVE_AVERAGE[axes](1)
        self.layouts["classes"] = Layout("NC" + SPATIAL_AXES[:axes])

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.classes(x)).flatten(1)


def pooled(draw: RandomChoices, c: int, extent: Extent) -> Head:
    return Pooled(c, draw.named_choice(POOLS)[0])


def flattened(draw: RandomChoices, c: int, extent: Extent) -> Head:
    features = c * torch.Size(extent).numel()
    inner = activation(draw, in_place=True) if draw.boolean(0.6) else None
    return Flattened(features, draw.named_choice(FLATTENINGS)[0], inner)


def convolved(draw: RandomChoices, c: int, extent: Extent) -> Head:
    return Convolved(c, len(extent))


# Channels last


class ChannelsLastHead(Head):
    """A permutation to (N, positions …, C), then layer norm, linear, activation, mean over positions, linear."""

    def __init__(self, channels: int, axes: int, inner: nn.Module) -> None:
        super().__init__()
        self.norm, self.mix, self.inner = nn.LayerNorm(channels), nn.Linear(channels, 6), inner
        self.linear = nn.Linear(6, CLASSES)
        self.layouts |= dict.fromkeys(("norm", "mix", "inner"), last_layout(axes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(self.mix(self.norm(x.permute(0, *range(2, x.ndim), 1))))
        return self.linear(x.flatten(1, -2).mean(1))


def last_channels(draw: RandomChoices, c: int, extent: Extent) -> Head:
    return ChannelsLastHead(c, len(extent), activation(draw))


# Recurrent


class OutputOnly(nn.Module):
    """A recurrent layer that returns only its output, without the state."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


class Recurrent(Head):
    """A recurrent layer along the last spatial axis; the others are averaged first."""

    def __init__(self, layer: nn.Module, width: int, batch_first: bool, end: str) -> None:
        super().__init__()
        self.recurrent, self.batch_first, self.end = OutputOnly(layer), batch_first, end
        self.linear = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim > 3:
            x = x.flatten(2, -2).mean(2)
        out = self.recurrent(x.permute(0, 2, 1) if self.batch_first else x.permute(2, 0, 1))
        time = 1 if self.batch_first else 0
        pooled = out.select(time, -1) if self.end == "last" else out.mean(time)
        return self.linear(pooled)

    def extra_repr(self) -> str:
        return f"batch_first={self.batch_first}, {self.end}"


def recurrent(draw: RandomChoices, c: int, extent: Extent) -> Head:
    kind, batch_first = draw.choice([nn.LSTM, nn.GRU, nn.RNN]), draw.boolean(0.6)
    bidirectional = draw.boolean(0.3)
    layer = kind(c, 3, batch_first=batch_first, bidirectional=bidirectional)
    head = Recurrent(layer, 6 if bidirectional else 3, batch_first, draw.choice(["last", "mean"]))
    if len(extent) == 1:
        head.layouts["recurrent"] = Layout("NXC" if batch_first else "XNC")
    return head


# Tokens


class Attention(nn.Module):
    """Self-attention by PyTorch's module, by its function, or by explicit matrix products."""

    def __init__(self, width: int, spelling: str) -> None:
        super().__init__()
        self.spelling, self.heads = spelling, 2
        if spelling == "nn.MultiheadAttention":
            self.inner = nn.MultiheadAttention(width, self.heads, batch_first=True)
        else:
            self.qkv, self.back = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        if self.spelling == "nn.MultiheadAttention":
            return self.inner(x, x, x, need_weights=False)[0]
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.spelling == "function":
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1) @ v
        return self.back(mixed.transpose(1, 2).flatten(2))

    def extra_repr(self) -> str:
        return self.spelling


class Block(nn.Module):
    """A transformer block with pre-normalization."""

    def __init__(self, width: int, attention: nn.Module, inner: nn.Module) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(width), attention, nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 6), inner, nn.Linear(6, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Tokens(Head):
    """Positions as tokens after optional class tokens, transformer blocks, layer norm, the class token or the mean."""

    def __init__(self, blocks: list[nn.Module], grid: Extent, prefix: int, end: str) -> None:
        super().__init__()
        width = 4
        self.blocks, self.norm, self.linear = nn.Sequential(*blocks), nn.LayerNorm(width), nn.Linear(width, CLASSES)
        self.prefix = nn.Parameter(torch.zeros(1, prefix, width)) if prefix else None
        positions = torch.Size(grid).numel()
        self.position, self.end = nn.Parameter(torch.zeros(1, prefix + positions, width)), end
        layout = Layout("NTC", grid, prefix)
        self.layouts |= {f"blocks.{index}": layout for index in range(len(blocks))}
        if end == "mean":
            self.layouts["norm"] = layout

    def embedded(self, x: Tensor) -> Tensor:
        """The tokens (N, positions, width)."""
        return x.flatten(2).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embedded(x)
        if self.prefix is not None:
            tokens = torch.cat([self.prefix.expand(len(tokens), -1, -1), tokens], 1)
        tokens = self.norm(self.blocks(tokens + self.position))
        return self.linear(tokens[:, 0] if self.end == "class token" else tokens.mean(1))

    def extra_repr(self) -> str:
        return self.end


class PatchTokens(Tokens):
    """Tokens of a strided convolution, or of a reshape followed by a linear layer."""

    def __init__(self, embed: nn.Module, patch: tuple[int, ...], *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.embed, self.patch = embed, patch

    def embedded(self, x: Tensor) -> Tensor:
        if not isinstance(self.embed, nn.Linear):
            return self.embed(x).flatten(2).transpose(1, 2)
        axes = len(self.patch)
        for axis, size in reversed(list(enumerate(self.patch))):
            x = x.unflatten(2 + axis, (-1, size))
        grid, within = (range(start, 2 + 2 * axes, 2) for start in (2, 3))
        return self.embed(x.permute(0, *grid, 1, *within).flatten(1 + axes).flatten(1, axes))


def _blocks(draw: RandomChoices) -> tuple[list[nn.Module], int, str]:
    spelling = draw.choice(["nn.MultiheadAttention", "function", "products"])
    blocks: list[nn.Module] = [Block(4, Attention(4, spelling), activation(draw)) for _ in range(draw.integer(1, 2))]
    prefix = draw.choice([0, 1, 1, 2])
    return blocks, prefix, draw.choice(["class token", "mean"]) if prefix else "mean"


def tokens(draw: RandomChoices, c: int, extent: Extent) -> Head:
    """Tokens that are the positions of a convolution's output."""
    blocks, prefix, end = _blocks(draw)
    return PatchTokens(CONVOLUTIONS[len(extent)](c, 4, 1), (1,) * len(extent), blocks, extent, prefix, end)


def linear_patches(draw: RandomChoices, c: int, extent: Extent) -> Head:
    """Patches cut by a reshape, of size 1 along axes with an odd extent."""
    blocks, prefix, end = _blocks(draw)
    patch = tuple(2 if n % 2 == 0 else 1 for n in extent)
    grid = tuple(n // p for n, p in zip(extent, patch, strict=True))
    embed = nn.Linear(c * torch.Size(patch).numel(), 4)
    return PatchTokens(embed, patch, blocks, grid, prefix, end)


HEADS: dict[str, Callable[[RandomChoices, int, Extent], Head]] = {
    "pooled": pooled,
    "flattened": flattened,
    "convolved": convolved,
    "channels last": last_channels,
    "recurrent": recurrent,
    "tokens": tokens,
    "linear patches": linear_patches,
}

ENDINGS: dict[str, Callable[[], nn.Module]] = {
    "scores": nn.Identity,
    "softmax": lambda: nn.Softmax(1),
    "log-softmax": lambda: nn.LogSoftmax(1),
    "sigmoid": nn.Sigmoid,
}
