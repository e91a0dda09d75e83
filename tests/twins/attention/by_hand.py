"""The bundled attention network written a second time: every head by itself, in float64, with its weights at hand."""

import copy
import functools
import math

import torch
from torch import Tensor

import convscope as cs
from convscope.samples.attention_network import PairsNet

SEEDS = (1, 2)
GRID = 8
LAYERS = ["blocks.0.attn", "blocks.1.attn", "blocks.2.attn"]


@functools.cache
def model() -> cs.Model:
    return cs.load("bundled:pairs")


def names() -> list[str]:
    return [f"sample:pairs/{seed}" for seed in SEEDS]


def weights_and_scores(number: int) -> tuple[list[Tensor], Tensor]:
    """Of one sample: per layer the weights (heads, tokens, tokens), which have a graph, and the scores."""
    net = in_double()
    x = embedded(net, number)
    layers = []
    for block in net.blocks:
        q, k, v = block.attn.qkv(block.norm1(x)).chunk(3, 1)  # type: ignore[union-attr, operator]
        size = q.shape[1] // 4
        heads, mixed = [], []
        parts = [slice(head * size, (head + 1) * size) for head in range(4)]
        weights = torch.stack([softmax_rows(q[:, part] @ k[:, part].T / math.sqrt(size)) for part in parts])
        for head, part in enumerate(parts):
            heads.append(weights[head])
            mixed.append(weights[head] @ v[:, part])
        layers.append(weights)
        x = x + block.attn.proj(torch.cat(mixed, 1))  # type: ignore[union-attr, operator]
        x = x + block.mlp(block.norm2(x))  # type: ignore[operator]
    return layers, net.head(net.norm(x[0]))


def in_double() -> PairsNet:
    net = copy.deepcopy(model().module).double()
    assert isinstance(net, PairsNet)
    return net.eval()


def embedded(net: PairsNet, number: int) -> Tensor:
    """The tokens (tokens, channels) of one sample before the first block."""
    patches = net.stem(model().prepare(names()[number]).tensor.double())[0].flatten(1).T
    return torch.cat([net.cls_token[0], patches]) + net.pos_embed[0]


def softmax_rows(logits: Tensor) -> Tensor:
    return logits.exp() / logits.exp().sum(1, keepdim=True)


def with_gradients(number: int, target: int) -> list[tuple[Tensor, Tensor]]:
    """Per layer the weights and the gradient of a score with respect to them."""
    layers, scores = weights_and_scores(number)
    gradients = torch.autograd.grad(scores[target], layers)
    return [(a.detach(), g) for a, g in zip(layers, gradients, strict=True)]


def assert_on_grid(value: cs.Attribution, expected: Tensor) -> None:
    """The map on the grid of tokens, of the last layer, is that of the twin; the class token is left out."""
    ((layer, actual),) = value.layer_values.items()
    assert layer == LAYERS[-1]
    error = (actual.double() - expected.reshape(GRID, GRID)).abs().max()
    assert float(error) < 1e-4 * float(expected.abs().max())
