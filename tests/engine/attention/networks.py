"""A small network with one attention, written by hand in many ways, and its weights computed explicitly."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The mixed values of queries, keys and values (N, heads, tokens, channels)."""

WIDTH, HEADS, SIDE = 16, 2, 32
TOKENS = 17
"""A class token and 4 × 4 patches."""
SCALE = 1 / math.sqrt(WIDTH // HEADS)


class OneAttention(nn.Module):
    """Patches, a class token if wanted, an attention that is handed over, and a classifier."""

    def __init__(self, attend: Attend, *, patch: int = 8, class_token: bool = True, dropped: int = 0) -> None:
        super().__init__()
        self.attend, self.dropped = attend, dropped
        self.stem = nn.Conv2d(3, WIDTH, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH)) if class_token else None
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of a batch."""
        tokens = self.tokens(x)
        mixed = self.attend(*self.heads(tokens)).transpose(1, 2).flatten(2)
        tokens = tokens + self.out(mixed)
        scores: Tensor = self.head(tokens.mean(1) if self.token is None else tokens[:, 0])
        return scores

    def tokens(self, x: Tensor) -> Tensor:
        """The tokens (N, tokens, channels), without the last ones where some are dropped."""
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        tokens = tokens[:, : tokens.shape[1] - self.dropped]
        return tokens if self.token is None else torch.cat([self.token.expand(tokens.shape[0], -1, -1), tokens], 1)

    def heads(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (N, heads, tokens, channels)."""
        q, k, v = (layer(tokens).unflatten(2, (HEADS, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        return q, k, v


def network(attend: Attend, **options: bool | int) -> OneAttention:
    """The same random weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return OneAttention(attend, **options).eval()  # type: ignore[arg-type]


def softmax(logits: Tensor) -> Tensor:
    """Written out, over the keys."""
    exponentials = (logits - logits.amax(-1, keepdim=True)).exp()
    return exponentials / exponentials.sum(-1, keepdim=True)
