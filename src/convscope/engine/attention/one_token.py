"""The weights from or to a single token, or on average, placed on the grid of tokens."""

from typing import Literal

from torch import Tensor

from convscope.engine.attention.sites import AttentionSite
from convscope.engine.attention.token_grid import Tokens
from convscope.errors import ParameterError

Direction = Literal["from", "to"]


def weights_of_token(site: AttentionSite, weights: Tensor, number: int | None, direction: Direction) -> Tensor:
    """Weights (images, heads, windows, queries, keys) from or to one token as (images, heads, tokens).

    Args:
        number: the token; None for the mean over all. In a windowed layer it has no weights outside its window.
    """
    ours, others = (site.queries, site.keys) if direction == "from" else (site.keys, site.queries)
    by_ours = weights if direction == "from" else weights.transpose(3, 4)
    if number is None:
        return scattered(by_ours.mean(3) / site.windows, others)
    window, position = (ours.index == number).nonzero()[0].tolist()
    row = by_ours[:, :, window, position]
    part = Tokens(others.grid, others.unplaced, others.index[window : window + 1])
    return scattered(row[:, :, None], part)


def scattered(numbers: Tensor, tokens: Tokens) -> Tensor:
    """Numbers (…, windows, tokens of a window) as (…, tokens)."""
    flat = numbers.new_zeros(*numbers.shape[:-2], tokens.count)
    return flat.index_add(-1, tokens.index.flatten().to(numbers.device), numbers.flatten(-2))


def cell_of_patch(patch: tuple[int, ...], named_on: tuple[int, ...], grid: tuple[int, ...]) -> tuple[int, ...]:
    """The cell of a coarser or finer grid in which the center of a patch lies.

    Raises:
        ParameterError: the grid has no such patch.
    """
    if len(patch) != len(named_on) or any(p >= n for p, n in zip(patch, named_on, strict=True)):
        raise ParameterError(
            f"no patch {'x'.join(map(str, patch))}: the tokens form a grid of {'×'.join(map(str, named_on))}, "
            "numbered from 0 along each axis"
        )
    return tuple(int((p + 0.5) * g / n) for p, n, g in zip(patch, named_on, grid, strict=True))
