"""How many images are read at a time, decided before anything is computed; what never fits is refused with its size."""

from collections.abc import Sequence

from torch import Tensor

from convscope.engine.attention.sites import AttentionSite
from convscope.engine.context.chunking import chunk_size
from convscope.errors import ConvScopeError

BUDGET = 4 * 2**30
"""How many bytes of attention weights are held at a time."""
_SINGLE = 4
"""Bytes of a number: weights are kept in single precision or finer."""
_FLOW_COPIES = 4
"""How many matrices of tokens a product over sites holds: the last and the new one, the rows of keys and their sums."""


class TooMuchAttention(ConvScopeError, MemoryError):
    """Attention weights that do not fit into memory."""


def images_at_a_time(
    sample: Tensor, sites: Sequence[AttentionSite], *, copies: int, together: bool, flow: bool = False
) -> int:
    """How many images like ``sample`` (C, …) are read in one pass.

    Args:
        copies: how many tensors of the size of the weights are held: weights, gradients, products.
        together: whether the weights of all sites are held at the same time, as gradients need them.
        flow: whether a matrix of tokens against the first tokens is carried from site to site as well.

    Raises:
        TooMuchAttention: those of a single image exceed `BUDGET`.
    """
    counts = [site.numbers for site in sites]
    tokens = [max(site.queries.count, site.keys.count) for site in sites]
    numbers = copies * (sum(counts) if together else max(counts)) + _FLOW_COPIES * flow * max(tokens) * tokens[0]
    needed = numbers * max(_SINGLE, sample.element_size())
    if needed > BUDGET:
        largest = max(sites, key=lambda site: site.numbers)
        remedy = "use smaller images" + ", or attention, which holds one layer at a time" * together
        raise TooMuchAttention(
            f"the attention weights of one image take {needed / 2**30:.1f} GiB, more than {BUDGET / 2**30:.0f} "
            f"({largest.name!r} has {largest.heads} heads and {largest.keys.count:,} tokens): {remedy}"
        )
    return max(1, min(chunk_size(sample), BUDGET // needed))
