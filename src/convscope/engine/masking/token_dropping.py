"""Scores of a transformer that receives some of its tokens only: exact masking, and cheaper than filling pixels.

Patches get their position embeddings as usual; then those that are hidden are left out of the sequence that the first
block receives. No token can attend to them, as if an attention mask of minus infinity covered them in every layer, and
the blocks run on a shorter sequence. This is so only where blocks treat every token alike and exchange information by
attention alone, which is measured once per network, against weights that are masked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convscope.engine.attention.function_mode import reading_attention
from convscope.engine.attention.layer_scores import Block, find_blocks
from convscope.engine.attention.operations import AttentionOperation
from convscope.engine.attention.sites import find_attention
from convscope.engine.attention.token_grid import Tokens
from convscope.engine.context.chunking import in_chunks
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.layer_trace import layout_of
from convscope.engine.network.assumption_checks import companion_image, jittered
from convscope.engine.network.cache import CacheEntry
from convscope.engine.network.hooks import capture, replace_output
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import score
from convscope.engine.targets.target import Target
from convscope.errors import CapabilityError, LayerError, ModelFailed, OutputError

_REMEDY = "hide='pixels' works with it"
_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class TokenSequence:
    """The tokens of a network whose blocks all receive the same sequence.

    Attributes:
        tokens: their grid, and how many have no place and are never hidden.
        first, last: the addresses of the first and the last block.
        dim: along which dimension of what the first block receives the tokens lie; ``batch`` is that of images.
    """

    tokens: Tokens
    first: str
    last: str
    dim: int
    batch: int

    @property
    def placed(self) -> Tensor:
        """The positions in the sequence of the cells of the grid, row by row."""
        return self.tokens.index[0].argsort()[self.tokens.unplaced :]

    def positions(self, kept: Tensor) -> Tensor:
        """The positions in the sequence (n, tokens) that remain where these cells (n, cells) are kept, in their order.

        Every row keeps equally many.
        """
        remaining = torch.ones(len(kept), self.tokens.count, dtype=torch.bool, device="cpu")
        remaining[:, self.placed] = kept
        return remaining.nonzero()[:, 1].view(len(kept), -1)

    def without(self, sequence: Tensor, positions: Tensor) -> Tensor:
        """What the first block receives, with these positions alone."""
        moved = sequence.movedim((self.batch, self.dim), (0, 1))
        index = positions.to(sequence.device)[(..., *[None] * (moved.ndim - 2))]
        shorter = moved.take_along_dim(index, 1)
        return shorter.movedim((0, 1), (self.batch, self.dim))


_SEQUENCES: CacheEntry[dict[tuple[int, ...], TokenSequence | str]] = CacheEntry("token sequences", dict)
"""The sequence by the shape of an input, or why tokens cannot be left out."""


def token_sequence(model: Model, tensor: Tensor) -> TokenSequence:
    """The tokens of the network for inputs like ``tensor`` (N, C, …).

    Raises:
        CapabilityError: tokens cannot be left out; the message says why.
    """
    key = tuple(tensor.shape[1:])
    if key not in model.cache[_SEQUENCES]:
        model.cache[_SEQUENCES][key] = _find(model, jittered(tensor[:1]))
    known = model.cache[_SEQUENCES][key]
    if isinstance(known, str):
        raise CapabilityError(f"tokens of {model.name} cannot be left out: {known}: {_REMEDY}")
    return known


def _find(model: Model, image: Tensor) -> TokenSequence | str:
    sites = find_attention(model, image).sites
    if not sites:
        return "it has no attention that can be read"
    for site in sites:
        if site.no_grid:
            return f"attention at {site.name!r} {site.no_grid}"
        if site.windows > 1:
            return f"attention at {site.name!r} stays within {site.windows} windows of tokens"
        if not site.queries.same_as(site.keys) or not site.keys.same_as(sites[0].keys) or not site.keys.cells:
            return f"attention at {site.name!r} is not among the tokens of {sites[0].name!r}"
    if sites[0].keys.count == 1:
        return "it has a single token"
    try:
        blocks = find_blocks(model, image)
        port = f"{blocks[0].address}:input"
        layout = layout_of(model, port, image)
    except LayerError as error:
        return str(error)
    if len(blocks) < len(sites):
        return f"attention at {sites[0].name!r} lies in no block that hands its tokens on to the next one"
    count = sites[0].keys.count
    dims = [d for d in layout.spatial if layout.shape[d] == count]
    if layout.folded or layout.unbatched or len(layout.spatial) != 1 or not dims:
        return f"what {blocks[0].address!r} receives is no sequence of {count} tokens"
    sequence = TokenSequence(sites[0].keys, blocks[0].address, blocks[-1].address, dims[0], layout.batch)
    return sequence if count - sites[0].keys.unplaced < 2 else _measured(model, image, sequence, blocks)


def _measured(model: Model, image: Tensor, sequence: TokenSequence, blocks: Sequence[Block]) -> TokenSequence | str:
    """The sequence, if a half of the tokens comes out of the last block as it does when the others are masked."""
    cells = sequence.tokens.cells
    pair = torch.cat([companion_image(image, bold=True), image])
    kept = (torch.arange(cells, device="cpu") % 3 != 1).expand(2, -1)
    positions = sequence.positions(kept)
    try:
        with torch.no_grad():
            with capture(model.module, [sequence.last]) as shorter, leaving_out(model, sequence, positions):
                model.run(model.input_copy(pair))
            hidden = torch.ones(sequence.tokens.count, dtype=torch.bool, device="cpu")
            hidden[positions[0]] = False
            with capture(model.module, [sequence.last]) as masked, _masking(model, hidden):
                model.run(model.input_copy(pair))
    except (ModelFailed, OutputError) as error:
        return f"it does not run on fewer tokens ({error})"
    expected = sequence.without(masked[sequence.last], positions)
    actual = shorter[sequence.last]
    if actual.shape != expected.shape:
        return f"{sequence.last!r} does not return the tokens that {sequence.first!r} receives"
    difference = float((actual - expected).abs().max())
    if not difference <= _TOLERANCE * float(expected.abs().max()):
        return "its blocks exchange information beside attention, or depend on the number of tokens"
    return sequence


def leaving_out(model: Model, sequence: TokenSequence, positions: Tensor) -> Any:
    """Hand these positions (images, tokens) alone to the first block, while the network runs inside the context."""
    return replace_output(model.module, f"{sequence.first}:input", lambda tokens: sequence.without(tokens, positions))


def _masking(model: Model, hidden: Tensor) -> Any:
    """Set the weights to these tokens to zero in every layer, and those to the others up to a sum of one."""

    def read(operation: AttentionOperation) -> Any:
        weights = operation.weights()
        rows = operation.arrange.weights(weights)
        keys = next(d for d in reversed(range(weights.ndim)) if weights.stride(d) == rows.stride(-1))
        shape = [-1 if d == keys else 1 for d in range(weights.ndim)]
        kept = weights.masked_fill(hidden.to(weights.device).view(shape), 0.0)
        return operation.run_with(kept / kept.sum(keys, keepdim=True))

    return reading_attention(model.module, read)


def scores_of_kept_tokens(
    model: Model,
    images: Images,
    target: Target,
    row: int,
    kept: Tensor,
    visit: Callable[[Tensor, Tensor], None] | None = None,
) -> Tensor:
    """The scores (n,) of one image of which only these cells (n, cells) of the grid of tokens are kept.

    Variants that keep equally many tokens run together.

    Args:
        visit: receives the numbers of the variants of each chunk with their scores.
    """
    sequence = token_sequence(model, images.tensor)
    scores = torch.zeros(len(kept), dtype=torch.float64, device="cpu")
    counts = kept.sum(1)
    for count in torch.unique(counts).tolist():
        numbers = (counts == count).nonzero()[:, 0]

        def step(indices: Tensor, numbers: Tensor = numbers) -> None:
            chosen = numbers[indices]
            rows = torch.full((len(chosen),), row, dtype=torch.long, device="cpu")
            inputs = model.input_copy(images.tensor[row : row + 1].expand(len(chosen), *images.tensor.shape[1:]))
            with torch.no_grad(), leaving_out(model, sequence, sequence.positions(kept[chosen])):
                scores[chosen] = score(model, inputs, target, rows, clean=False).cpu().double()

        in_chunks(len(numbers), images.tensor[0], step, light=True, quiet=True)
    return scores
