"""Attention weights, and the gradient of a score with respect to them.

Weights are handed over site by site while the network runs, so that only those of one site are held. For a gradient
each fused operation is computed as a softmax and a product, and no graph is recorded before the first of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convscope.engine.attention.function_mode import differentiable, reading_attention
from convscope.engine.attention.memory import images_at_a_time
from convscope.engine.attention.operations import AttentionOperation
from convscope.engine.attention.sites import AttentionSite, find_attention
from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.inputs.specs import Images
from convscope.engine.network.accumulation_dtype import upcast
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import gradients_of, note_gradient_use, score
from convscope.engine.targets.target import Target
from convscope.errors import LayerError

Visit = Callable[[AttentionSite, Tensor, Tensor], Any]
"""``(site, weights, rows)``: what is kept of the weights (images, heads, windows, queries, keys) of images ``rows``.

It must not store anything itself: a chunk that does not fit into memory is run again.
"""


@dataclass(frozen=True, eq=False)
class SiteEvidence:
    """The weights (images, heads, windows, queries, keys) of one site, and the gradient of the score to them."""

    site: AttentionSite
    weights: Tensor
    gradient: Tensor


class SiteCounter:
    """Tells which site each operation of a forward pass is, in the order in which they were recorded."""

    def __init__(self, sites: Sequence[AttentionSite]) -> None:
        self._sites, self._number = sites, 0

    def next(self, operation: AttentionOperation) -> AttentionSite:
        """The site of the next operation.

        Raises:
            LayerError: the network took another way than when it was recorded.
        """
        if self._number >= len(self._sites) or self._sites[self._number].address != operation.address:
            raise LayerError(
                f"the network attends at {operation.address!r}, where it did not on another image: its way depends on "
                "the image, so that its attention cannot be read"
            )
        self._number += 1
        return self._sites[self._number - 1]


def read_weights(
    model: Model, images: Images, sites: Sequence[AttentionSite], visit: Visit, *, copies: int = 2, flow: bool = False
) -> dict[AttentionSite, list[Any]]:
    """Run the images through the network and hand over the weights of these sites, each as it runs.

    Args:
        copies: how many tensors of the size of one site's weights the reader holds at a time.
        flow: whether it also carries a matrix of tokens from site to site.

    Returns:
        Of each site what was kept, chunk by chunk.
    """
    size = images_at_a_time(images.tensor[0], sites, copies=copies, together=False, flow=flow)
    kept: dict[AttentionSite, list[Any]] = {site: [] for site in sites}

    def step(rows: Tensor) -> None:
        of_chunk: list[tuple[AttentionSite, Any]] = []
        tensor = rows_of(images.tensor, rows)
        counter, chosen = SiteCounter(find_attention(model, tensor).sites), set(sites)

        def read(operation: AttentionOperation) -> Any:
            site = counter.next(operation)
            if site in chosen:
                weights = operation.arrange.weights(operation.weights())
                of_chunk.append((site, visit(site, upcast(site.by_image(weights)), rows)))
            return operation.run()

        tensor = model.input_copy(tensor)
        with torch.no_grad(), reading_attention(model.module, read):
            model.run(tensor)
        for site, result in of_chunk:
            kept[site].append(result)

    in_chunks(len(images), images.tensor[0], step, size=size)
    return kept


def read_gradients(
    model: Model,
    images: Images,
    target: Target,
    sites: Sequence[AttentionSite],
    visit: Callable[[list[SiteEvidence], Tensor], None],
    *,
    flow: bool = False,
) -> None:
    """Hand over the weights of these sites with the gradients to them, for a chunk of images at a time.

    Args:
        flow: whether the reader also carries a matrix of tokens from site to site.
    """
    note_gradient_use()
    size = images_at_a_time(images.tensor[0], sites, copies=3, together=True, flow=flow)

    def step(rows: Tensor) -> None:
        visit(evidence_at_sites(model, rows_of(images.tensor, rows), target, rows, sites), rows)

    in_chunks(len(images), images.tensor[0], step, size=size)


def evidence_at_sites(
    model: Model, tensor: Tensor, target: Target, rows: Tensor, sites: Sequence[AttentionSite]
) -> list[SiteEvidence]:
    """Weights and gradients of one chunk of prepared inputs; input ``i`` belongs to image ``rows[i]``.

    Raises:
        LayerError: the target lies before all of these sites.
    """
    counter, chosen = SiteCounter(find_attention(model, tensor).sites), set(sites)
    caught: list[tuple[AttentionSite, Tensor, Callable[[Tensor], Tensor]]] = []

    def read(operation: AttentionOperation) -> Any:
        site = counter.next(operation)
        if site not in chosen:
            return operation.run()
        weights = differentiable(operation.weights())
        caught.append((site, weights, operation.arrange.weights))
        return operation.run_with(weights)

    tensor = model.input_copy(tensor)
    with torch.no_grad():
        with reading_attention(model.module, read):
            scores = score(model, tensor, target, rows)
        if not caught:
            raise LayerError("the target lies before every layer that attends: choose a later target")
        gradients = gradients_of(scores, [weights for _, weights, _ in caught], model)
    return [
        SiteEvidence(site, *(upcast(site.by_image(arrange(t.detach()))) for t in (weights, gradient)))
        for (site, weights, arrange), gradient in zip(caught, gradients, strict=True)
    ]
