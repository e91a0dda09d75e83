"""The small network that attends: a convolutional stem, patches, a class token, and three blocks of attention."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PAIRS_MEAN, PAIRS_STD = (0.27,), (0.18,)


class SelfAttention(nn.Module):
    """Attention of all tokens to each other, computed by the fused operation as usual transformers do."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The output tokens (N, T, C) of tokens (N, T, C)."""
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, 2))
        mixed: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm and beside a residual connection (Dosovitskiy et al., 2021)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """The output tokens of tokens (N, T, C)."""
        x = x + self.attn(self.norm1(x))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class PairsNet(nn.Module):
    """Tells from 8 × 8 patches whether two objects have the same shape; the class token gathers the answer."""

    def __init__(self, num_classes: int = 2, width: int = 48, heads: int = 4, depth: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 24, 7, stride=4, padding=3),
            nn.ReLU(inplace=True),
            nn.Conv2d(24, width, 3, stride=2, padding=1),
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width, dtype=torch.float32, device="cpu"))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 65, width, dtype=torch.float32, device="cpu"))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of a prepared batch."""
        patches = self.stem(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], 1) + self.pos_embed
        scores: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return scores
