"""Which positions attention may read: masks of steps, masks that are given, and the order of steps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from convscope.loaders.keras.masks import Mask

MASKED_SCORE = 1e9
"""What is subtracted from the scores of masked positions before the softmax."""


def allowed_positions(
    masks: Sequence[Mask], given: Mask, lengths: tuple[int, int], device: torch.device, *, causal: bool
) -> Mask:
    """The positions (N or 1, queries, keys) that may be read; None where all may.

    Args:
        masks: those of the query, of the values and of the keys, each (N, steps) or None.
        given: a mask that the call names, (N, queries, keys).
        lengths: how many queries and keys there are.
        device: where masks are made.
        causal: whether a position reads only those before it and itself.
    """
    query, value, key = (*masks, None, None, None)[:3]
    parts = [
        None if query is None else query.bool()[:, :, None],
        None if value is None else value.bool()[:, None],
        None if key is None else key.bool()[:, None],
        None if given is None else given.bool(),
        torch.ones(lengths, dtype=torch.bool, device=device).tril()[None] if causal else None,
    ]
    result: Mask = None
    for part in parts:
        if part is not None:
            result = part if result is None else result & part
    return result


def masked_scores(scores: Tensor, allowed: Mask) -> Tensor:
    """Scores (N, …, queries, keys), those of masked positions far below all others."""
    if allowed is None:
        return scores
    shaped = allowed.reshape(len(allowed), *(1,) * (scores.ndim - 3), *allowed.shape[-2:])
    return torch.where(shaped, scores, scores - MASKED_SCORE)
