"""The whole matrix of every head: the weights between all tokens, in the numbering of `Tokens`."""

import math
from collections.abc import Sequence

from torch import Tensor

from convscope.engine.attention.memory import BUDGET, TooMuchAttention
from convscope.engine.attention.sites import AttentionSite

_BYTES = 4


def matrix_of(site: AttentionSite, weights: Tensor) -> Tensor:
    """Weights (images, heads, windows, queries, keys) as (images, heads, tokens that attend, tokens attended to).

    Tokens that share no window have weight 0.
    """
    matrix = weights.new_zeros(*weights.shape[:2], site.queries.count, site.keys.count)
    rows, columns = (tokens.index.to(weights.device) for tokens in (site.queries, site.keys))
    matrix[:, :, rows[:, :, None], columns[:, None, :]] = weights
    return matrix


def check_matrices_fit(sites: Sequence[AttentionSite], images: int) -> None:
    """Refuse matrices that do not fit into memory, before anything is computed.

    Raises:
        TooMuchAttention: they exceed the memory for attention weights.
    """
    sizes = [math.prod((site.heads, site.queries.count, site.keys.count)) for site in sites]
    needed = _BYTES * images * sum(sizes)
    if needed > BUDGET:
        raise TooMuchAttention(
            f"the matrices of {len(sites)} layers take {needed / 2**30:.1f} GiB, more than {BUDGET / 2**30:.0f}: keep "
            "to some layers with within=, or leave matrix out"
        )
