"""Leaving tokens out is masking them: compared with an explicit mask of minus infinity in every layer, in float64."""

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.engine.inputs.specs import Images
from convscope.engine.masking.token_dropping import scores_of_kept_tokens, token_sequence
from convscope.engine.targets.target import resolve_target
from convscope.errors import CapabilityError
from tests.engine.attention.networks import network
from tests.nets import seeded

PICTURES = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))
CELLS = 24


class Block(nn.Module):
    """Attention with an optional mask of minus infinity, then a layer that treats every token alike."""

    def __init__(self, *, mixing: bool = False) -> None:
        super().__init__()
        self.norm, self.qkv, self.proj = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.mlp = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.hidden: Tensor | None = None
        self.mixing = mixing
        nn.init.normal_(self.qkv.weight)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(2, (2, 4)).transpose(1, 2) for t in self.qkv(self.norm(x)).chunk(3, 2))
        mask = (
            None if self.hidden is None else torch.zeros(x.shape[1], dtype=x.dtype).masked_fill(self.hidden, -math.inf)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, None if mask is None else mask.expand(x.shape[1], -1))
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(x + x.mean(1, keepdim=True) if self.mixing else x)


class Transformer(nn.Module):
    """4 × 6 patches with positions, a class token (or the mean over patches), two blocks."""

    def __init__(self, *, class_token: bool = True, mixing: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.cls = nn.Parameter(torch.randn(1, 1, 8)) if class_token else None
        self.positions = nn.Parameter(torch.randn(1, CELLS + class_token, 8))
        self.blocks = nn.ModuleList(Block(mixing=mixing) for _ in range(2))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).mT
        if self.cls is not None:
            tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1)
        tokens = tokens + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens.mean(1) if self.cls is None else tokens[:, 0])


def images_of(tensor: Tensor) -> Images:
    return Images(tensor, ("",) * len(tensor), single=False)


def kept_cells() -> Tensor:
    kept = torch.rand(7, CELLS, generator=torch.Generator().manual_seed(2)) < 0.6
    kept[1] = True
    kept[2] = False
    return kept


def test_scores_are_those_under_a_mask_of_minus_infinity() -> None:
    net = seeded(Transformer).double()
    model, kept = cs.Model(copy.deepcopy(net)), kept_cells()
    images = images_of(PICTURES.double())
    target = resolve_target(1, model, 2)
    for row in range(2):
        actual = scores_of_kept_tokens(model, images, target, row, kept)
        for number, shown in enumerate(kept):
            for block in net.blocks:
                block.hidden = torch.cat([torch.tensor([False]), ~shown])  # type: ignore[union-attr]
            with torch.no_grad():
                expected = net(images.tensor[row : row + 1])[0, 1]
            torch.testing.assert_close(actual[number], expected, rtol=1e-12, atol=1e-12)


def test_a_network_that_averages_over_patches_averages_over_those_that_stay() -> None:
    net = seeded(Transformer, class_token=False)
    model, kept = cs.Model(net), kept_cells()[:1]
    actual = scores_of_kept_tokens(model, images_of(PICTURES), resolve_target(0, model, 2), 0, kept)
    with torch.no_grad():
        tokens = (net.stem(PICTURES[:1]).flatten(2).mT + net.positions)[:, kept[0]]
        for block in net.blocks:
            tokens = block(tokens)
        torch.testing.assert_close(actual[0].float(), net.head(tokens.mean(1))[0, 0], rtol=1e-4, atol=1e-5)


def test_torchvision_and_timm_transformers_receive_fewer_tokens() -> None:
    from convscope.loaders.torchvision import library

    models = library().models
    import timm

    nets = [
        models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3),
        timm.create_model("deit_tiny_distilled_patch16_224", pretrained=False, img_size=32, depth=2, num_classes=3),
    ]
    for net in nets:
        for head in (m for n, m in net.named_modules() if n.startswith("head") and isinstance(m, nn.Linear)):
            nn.init.normal_(head.weight)
        model: Any = cs.Model(net.eval())
        images = images_of(torch.randn(1, 3, 32, 32))
        sequence = token_sequence(model, images.tensor)
        kept = torch.ones(2, sequence.tokens.cells, dtype=torch.bool)
        kept[1, 0] = False
        scores = scores_of_kept_tokens(model, images, resolve_target(0, model, 1), 0, kept)
        with torch.no_grad():
            assert float(scores[0]) == pytest.approx(float(net(images.tensor)[0, 0]), abs=1e-5)
        assert float(scores[1]) != pytest.approx(float(scores[0]), abs=1e-7)


def test_networks_that_are_no_plain_sequence_of_tokens_are_refused() -> None:
    from convscope.loaders.torchvision import library

    swin = library().models.SwinTransformer([2, 2], 8, [2], [2], [4, 4], num_classes=3)
    cases = [
        (seeded(Transformer, mixing=True), "its blocks exchange information beside attention"),
        (swin, "stays within 16 windows of tokens"),
        (nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "it has no attention"),
        (network(F.scaled_dot_product_attention, patch=32, class_token=False), "it has a single token"),
    ]
    for net, reason in cases:
        tensor = PICTURES if reason in (cases[0][1], cases[2][1]) else torch.randn(1, 3, 32, 32)
        with pytest.raises(CapabilityError, match=f"{reason}.*: hide='pixels' works with it"):
            token_sequence(cs.Model(net.eval()), tensor)
