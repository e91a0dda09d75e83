"""Matrices of tokens against the tokens of the first site, carried from one site to the next.

Rollout and transformer attribution multiply attention matrices layer by layer. Here the product (images, tokens, first
tokens) is updated window by window, so that no matrix over all tokens of a windowed network is formed. Where a network
merges patches, the rows of merged tokens are averaged; a token that appears later, such as the class token of a class
attention or the query of a pooling attention, starts with a row of zeros.
"""

import math

import torch
from torch import Tensor

from convscope.engine.attention.sites import AttentionSite
from convscope.engine.attention.token_grid import Tokens
from convscope.errors import LayerError


class TokenFlow:
    """A matrix (images, tokens, first tokens), which is the identity before the first site.

    Attributes:
        first: the tokens of the first site, to which the columns belong.
        tokens: the tokens to which the rows belong.
    """

    def __init__(self, site: AttentionSite, images: int, like: Tensor) -> None:
        require_grid(site)
        self.first = self.tokens = _larger(site.queries, site.keys)
        identity = torch.eye(self.first.count, dtype=like.dtype, device=like.device)
        self.matrix = identity.expand(images, -1, -1)

    def enter(self, site: AttentionSite) -> None:
        """Go on to the tokens of the next site.

        Raises:
            LayerError: they are no tokens of the sites before, as in a decoder with queries of its own.
        """
        require_grid(site)
        tokens = _larger(site.queries, site.keys)
        self.matrix = self._at(tokens, site)
        self.tokens = tokens

    def attended(self, site: AttentionSite, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (images, windows, queries, keys) times the rows of the keys.

        Returns:
            The numbers of the tokens that attend, and their new rows (images, those tokens, first tokens).
        """
        keys = self._at(site.keys, site)
        index = site.keys.index.to(keys.device)
        rows = keys[:, index.flatten()].reshape(len(keys), *index.shape, -1)
        numbers = site.queries.index.flatten().to(keys.device)
        return numbers, (weights @ rows).flatten(1, 2)

    def is_new(self, site: AttentionSite) -> bool:
        """Whether the tokens that attend are no tokens that are attended to, as the query of a pooling attention."""
        return not site.queries.cells and not site.keys.unplaced

    def update(self, numbers: Tensor, rows: Tensor) -> None:
        """Replace the rows of these tokens."""
        self.matrix = self.matrix.clone().index_copy_(1, numbers, rows)

    def rows(self, numbers: Tensor) -> Tensor:
        """The rows of these tokens."""
        return self.matrix[:, numbers]

    def answer(self, number: int | None) -> Tensor:
        """One row (images, first tokens): of the token of this number, or the mean over those with a place."""
        if number is not None:
            return self.matrix[:, number]
        return self.matrix[:, self.tokens.unplaced :].mean(1)

    def identity(self, number: int | None) -> Tensor:
        """What the identity alone would have contributed to `answer`, (first tokens,)."""
        row = torch.zeros_like(self.matrix[0, 0])
        if number is None:
            row[self.first.unplaced :] = 1 / self.first.cells
        elif number < self.first.unplaced:
            row[number] = 1
        return row

    def _at(self, tokens: Tokens, site: AttentionSite) -> Tensor:
        """The rows of other tokens: of merged patches the mean, of a token that is new zeros."""
        if tokens.same_as(self.tokens):
            return self.matrix
        unplaced, cells = torch.split(self.matrix, [self.tokens.unplaced, self.tokens.cells], 1)
        added = tokens.unplaced - self.tokens.unplaced
        if not tokens.grid or not self.tokens.grid or not _merges(self.tokens.grid, tokens.grid):
            raise LayerError(
                f"the tokens of {site.name!r} ({_described(tokens)}) are not those of the sites before "
                f"({_described(self.tokens)}), as in a decoder with queries of its own: the lens attention shows such "
                "weights layer by layer"
            )
        if added > 0:
            unplaced = torch.cat([unplaced, unplaced.new_zeros(len(unplaced), added, unplaced.shape[2])], 1)
        return torch.cat([unplaced[:, : tokens.unplaced], _merged(cells, self.tokens.grid, tokens.grid)], 1)


def _larger(queries: Tokens, keys: Tokens) -> Tokens:
    """The tokens of a self-attention; of a class attention those of the keys, of a pooling attention both sides'."""
    if not queries.cells:
        return keys if keys.unplaced else Tokens(keys.grid, queries.unplaced, queries.index)
    return queries if math.prod(queries.grid) >= math.prod(keys.grid or (0,)) else keys


def require_grid(site: AttentionSite) -> None:
    """Refuse a site whose tokens have no known places.

    Raises:
        LayerError: the message says why.
    """
    if site.no_grid or not (site.queries.cells or site.keys.cells):
        reason = site.no_grid or "has tokens without a place in the input"
        raise LayerError(f"attention at {site.name!r} {reason}, so that no map can be drawn: choose another lens")


def _merges(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether each token stands for a block of earlier ones."""
    return len(before) == len(after) and all(b % a == 0 for b, a in zip(before, after, strict=True))


def _merged(rows: Tensor, before: tuple[int, ...], after: tuple[int, ...]) -> Tensor:
    """Rows (images, cells, columns) averaged over the blocks of cells that became one token."""
    if before == after:
        return rows
    sizes = [size for b, a in zip(before, after, strict=True) for size in (a, b // a)]
    split = rows.reshape(len(rows), *sizes, -1)
    blocks = tuple(range(2, 2 + 2 * len(before), 2))
    return split.mean(blocks).flatten(1, len(before))


def _described(tokens: Tokens) -> str:
    grid = "×".join(map(str, tokens.grid))
    return " and ".join([f"{tokens.unplaced} without a place"] * bool(tokens.unplaced) + [grid] * bool(grid))


def keep_largest(weights: Tensor, discard: float) -> Tensor:
    """Weights (images, windows, queries, keys) without the smallest share ``discard`` of each image."""
    flat = weights.flatten(1)
    count = int(flat.shape[1] * discard)
    if not count:
        return weights
    smallest = flat.topk(count, dim=1, largest=False).indices
    return flat.scatter(1, smallest, 0.0).view_as(weights)


def fused_heads(weights: Tensor, how: str) -> Tensor:
    """Weights (images, heads, windows, …) of all heads as one: their mean, their largest or their smallest."""
    if how == "mean":
        return weights.mean(1)
    return weights.amax(1) if how == "max" else weights.amin(1)


def add_rolled(flow: TokenFlow, site: AttentionSite, weights: Tensor) -> None:
    """Multiply by one layer, mixed in equal parts with the identity; rows are divided by their sum."""
    numbers, attended = flow.attended(site, weights)
    total = weights.sum(-1).flatten(1)[..., None]
    if flow.is_new(site):
        flow.update(numbers, attended / total.clamp_min(torch.finfo(total.dtype).tiny))
    else:
        flow.update(numbers, (flow.rows(numbers) + attended) / (1 + total))
