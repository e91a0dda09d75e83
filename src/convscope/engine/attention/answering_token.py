"""The token from which the network reads its answer, where it reads it from one without a place in the input.

The first token may be a class token that nothing reads, as in networks that average over patches, or a register. The
gradient of the output with respect to what the last site returns tells: it is zero at every token that is not read.
"""

from typing import Any

import torch
from torch import Tensor

from convscope.engine.attention.function_mode import differentiable, reading_attention
from convscope.engine.attention.operations import AttentionOperation
from convscope.engine.attention.reading import SiteCounter
from convscope.engine.attention.sites import Attentions, AttentionSite, Shape, find_attention
from convscope.engine.network.assumption_checks import jittered
from convscope.engine.network.cache import CacheEntry
from convscope.engine.network.model import Model

_ANSWERING: CacheEntry[dict[Shape, int | None]] = CacheEntry("answering tokens", dict)
"""The token that is read, by the shape of an input."""


def answering_token(model: Model, tensor: Tensor) -> int | None:
    """The number of the class token for inputs like ``tensor`` (N, C, …); None where patches are read, or none is.

    Of several, such as a class and a distillation token, it is the first.
    """
    attentions, key = find_attention(model, tensor), tuple(tensor.shape[1:])
    if not attentions.sites[-1].queries.unplaced:
        return None
    if key not in model.cache[_ANSWERING]:
        model.cache[_ANSWERING][key] = _find(model, jittered(tensor[:1]), attentions)
    return model.cache[_ANSWERING][key]


def _find(model: Model, image: Tensor, attentions: Attentions) -> int | None:
    """Run the image as often as the recorded pass did, with a graph from the output of the last site on."""
    counter, last = SiteCounter(attentions.sites), attentions.sites[-1]
    caught: list[tuple[Tensor, AttentionOperation]] = []

    def read(operation: AttentionOperation) -> Any:
        site, output = counter.next(operation), operation.run()
        if site is not last:
            return output
        caught.append((differentiable(output), operation))
        return caught[0][0].clone()  # a network may write to it

    with torch.no_grad():
        with reading_attention(model.module, read):
            scores = model.run(model.input_copy(image.repeat_interleave(attentions.images, 0)))
        if not scores.requires_grad:
            return 0  # nothing is known, and a class token stands first
        noise = torch.randn(scores.shape, generator=torch.Generator().manual_seed(0), device="cpu", dtype=torch.float32)
        (output, operation), weighted = caught[0], (scores * noise.to(scores)).sum()
        (gradient,) = torch.autograd.grad(weighted, output, materialize_grads=True)
    return _first_without_a_place(last, operation.arrange.output(gradient))


def _first_without_a_place(site: AttentionSite, gradient: Tensor) -> int | None:
    """The first token that is read; None where a token with a place is.

    Args:
        gradient: with respect to the output (rows …, queries, channels).
    """
    per_token = site.by_image(gradient).ne(0).any(-1).any(1).any(0).cpu()
    numbers = site.queries.index[per_token]
    if not len(numbers) or int(numbers.max()) >= site.queries.unplaced:
        return None
    return int(numbers.min())
