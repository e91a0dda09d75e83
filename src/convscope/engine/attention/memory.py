"""How many images are read at a time, decided before anything is computed; what never fits is refused with its size."""

from collections.abc import Sequence

from torch import Tensor

from convscope.engine.attention.sites import AttentionSite
from convscope.engine.context.chunking import chunk_size
from convscope.errors import ConvScopeError

BUDGET = 4 * 2**30
"""How many bytes of attention weights are held at a time."""
_BYTES = 4


class TooMuchAttention(ConvScopeError, MemoryError):
    """Attention weights that do not fit into memory."""


def images_at_a_time(sample: Tensor, sites: Sequence[AttentionSite], *, copies: int, together: bool) -> int:
    """How many images like ``sample`` (C, …) are read in one pass.

    Args:
        copies: how many tensors of the size of the weights are held: weights, gradients, products.
        together: whether the weights of all sites are held at the same time, as gradients need them.

    Raises:
        TooMuchAttention: those of a single image exceed `BUDGET`.
    """
    counts = [site.numbers for site in sites]
    numbers = sum(counts) if together else max(counts)
    needed = copies * numbers * _BYTES
    if needed > BUDGET:
        largest = max(sites, key=lambda site: site.numbers)
        remedy = "choose fewer layers with layer=, or smaller images" if together else "use smaller images"
        tokens = largest.keys.index.shape[1]
        raise TooMuchAttention(
            f"the attention weights of one image take {needed / 2**30:.1f} GiB, more than {BUDGET / 2**30:.0f} "
            f"({largest.name!r} has {largest.heads} heads and {tokens:,} tokens): {remedy}"
        )
    return max(1, min(chunk_size(sample), BUDGET // needed))
