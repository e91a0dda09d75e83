"""The score that each layer of attention has by itself: what the rest of the network makes of its tokens.

The blocks of a transformer follow each other, so that the tokens of every one of them can be handed to what follows
the last: a norm, a pooling, a classifier. One forward pass gives the tokens of all blocks, each with a graph of its
own that begins at its attention weights; behind the last block the batch grows to the tokens of all of them. Where
the rest of a network does not take such a batch, it runs once for each block.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convscope.engine.attention.function_mode import differentiable, reading_attention
from convscope.engine.attention.memory import images_at_a_time
from convscope.engine.attention.operations import AttentionOperation
from convscope.engine.attention.reading import SiteCounter, SiteEvidence
from convscope.engine.attention.sites import AttentionSite, find_attention
from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.feature_layout import FeatureLayout
from convscope.engine.layers.layer_trace import LayerTrace, trace_layers
from convscope.engine.network.accumulation_dtype import upcast
from convscope.engine.network.assumption_checks import companion_image
from convscope.engine.network.cache import CacheEntry
from convscope.engine.network.hooks import replace_output, stop_at
from convscope.engine.network.model import Model
from convscope.engine.network.model_outputs import selected_output
from convscope.engine.run.gradients import gradients_of, note_gradient_use, read_out, score
from convscope.engine.targets.target import Target
from convscope.errors import LayerError, ModelFailed, OutputError


@dataclass(frozen=True)
class Block:
    """A module with one attention among its tokens, which returns these tokens.

    Attributes:
        address: its address.
        site: its attention.
        layout: of what it returns.
    """

    address: str
    site: AttentionSite
    layout: FeatureLayout

    def mean_over_tokens(self, output: Tensor) -> Tensor:
        """What it returns, with the mean over all tokens in place of each."""
        tokens = [d for d in range(output.ndim) if d != self.layout.batch and d not in self.layout.channels]
        return output.mean(tokens, keepdim=True).expand_as(output)


def find_blocks(model: Model, tensor: Tensor) -> tuple[Block, ...]:
    """The longest row of blocks at the end of the network in which each receives what the one before it returns.

    Raises:
        LayerError: the tokens form no grid, or no module returns the tokens after an attention.
    """
    sites = find_attention(model, tensor).sites
    trace = trace_layers(model, tensor)
    blocks: list[Block] = []
    for site in reversed(sites):
        block = _block_of(site, sites, trace)
        if blocks and (block is None or not _follows(block, blocks[0], trace)):
            break
        if block is not None:
            blocks.insert(0, block)
    if not blocks and sites[-1].no_grid:
        raise LayerError(
            f"attention at {sites[-1].name!r} {sites[-1].no_grid}, so that no map can be drawn: choose attention-heads"
        )
    if not blocks:
        raise LayerError(
            f"no module returns the tokens of {sites[-1].name!r}, so that no layer has a score of its own: choose "
            "attention-x-gradient or transformer-attribution"
        )
    return tuple(blocks)


def _block_of(site: AttentionSite, sites: Sequence[AttentionSite], trace: LayerTrace) -> Block | None:
    """The largest module that holds this site alone and returns its tokens; None where there is none."""
    if not site.queries.same_as(site.keys) or not site.keys.cells or site.no_grid:
        return None
    parts = site.address.split(".") if site.address else []
    for depth in range(1, len(parts) + 1):
        address = ".".join(parts[:depth])
        inside = [s for s in sites if s.address == address or s.address.startswith(f"{address}.")]
        layer = trace.layers.get(address)
        if len(inside) > 1 or layer is None or layer.layout is None or layer.calls > 1 or layer.mapped:
            continue
        layout = layer.layout
        outside = [size for d, size in enumerate(layout.shape) if d != layout.batch and d not in layout.channels]
        if not layout.folded and not layout.unbatched and torch.Size(outside).numel() == site.queries.count:
            return Block(address, site, layout)
    return None


def _follows(block: Block, after: Block, trace: LayerTrace) -> bool:
    """Whether the block ``after`` receives what ``block`` returns, and returns the like."""
    port = trace.ports.get(f"{after.address}:input")
    steps = trace.layers[block.address].steps
    same = (block.layout.shape, block.layout.batch) == (after.layout.shape, after.layout.batch)
    return same and port is not None and bool(steps) and port.operation == steps[-1]


def read_layer_scores(
    model: Model,
    images: Images,
    target: Target,
    blocks: Sequence[Block],
    visit: Callable[[list[SiteEvidence], Tensor], None],
    *,
    pooled: bool,
) -> None:
    """Hand over the weights of each block and the gradient of the block's own score to them, chunk by chunk.

    Args:
        pooled: replace the tokens of every block by their mean before the rest of the network reads them.
    """
    note_gradient_use()
    size = images_at_a_time(images.tensor[0], [block.site for block in blocks], copies=3, together=True)

    def step(rows: Tensor) -> None:
        visit(layer_score_evidence(model, rows_of(images.tensor, rows), target, rows, blocks, pooled=pooled), rows)

    in_chunks(len(images), images.tensor[0], step, size=size)


def layer_score_evidence(
    model: Model, tensor: Tensor, target: Target, rows: Tensor, blocks: Sequence[Block], *, pooled: bool
) -> list[SiteEvidence]:
    """Weights of each block, and the gradients of its own score, for one chunk of prepared inputs."""
    run = _Run(model, tensor, blocks, pooled=pooled)
    joined = target.layer is None and _rest_takes_more(model, tensor, blocks)
    scores = run.joined_scores(target, rows) if joined else run.separate_scores(target, rows)
    gradients = gradients_of(scores, [weights for weights, _ in run.weights], model)
    return [
        SiteEvidence(block.site, *(upcast(block.site.by_image(arrange(t.detach()))) for t in (weights, gradient)))
        for block, (weights, arrange), gradient in zip(blocks, run.weights, gradients, strict=True)
    ]


class _Run:
    """One forward pass of a chunk; the graphs of its blocks begin at their attention weights.

    Attributes:
        weights: per block the weights as the operation holds them, and how they are brought to the form by rows.
        outputs: what the blocks return, with a graph.
    """

    def __init__(self, model: Model, tensor: Tensor, blocks: Sequence[Block], *, pooled: bool) -> None:
        self.model, self.tensor, self.blocks, self.pooled = model, tensor, blocks, pooled
        self.weights: list[tuple[Tensor, Callable[[Tensor], Tensor]]] = []
        self.outputs: list[Tensor] = []

    def joined_scores(self, target: Target, rows: Tensor) -> Tensor:
        """The sum over blocks of their own scores, (N,); the rest of the network runs once."""
        output = self.joined_output()
        target.score(output[: len(rows)], rows)
        scores = target.score(output[len(rows) :], rows.repeat(len(self.blocks)), clean=False)
        return scores.view(len(self.blocks), -1).sum(0)

    def joined_output(self) -> Tensor:
        """The output of the network, followed by those for the tokens of each block."""
        count = len(self.tensor) * (1 + len(self.blocks))

        def grow(output: Tensor) -> Tensor:
            return torch.cat([output, *self._given_on()], self.blocks[-1].layout.batch)

        with torch.no_grad(), self._started(grow):
            tensor = self.model.input_copy(self.tensor)
            return selected_output(self.model, self.model.run_module(tensor), count)

    def separate_scores(self, target: Target, rows: Tensor) -> Tensor:
        """The same, where the rest of the network runs for each block by itself."""
        with torch.no_grad():
            score(self.model, self.model.input_copy(self.tensor), target, rows)
            with self._started(torch.clone), stop_at(self.model.module, self.blocks[-1].address):
                self.model.run_module(self.model.input_copy(self.tensor))
        scores = [self._score_of(given, target, rows) for given in self._given_on()]
        return torch.stack(scores).sum(0)

    def _score_of(self, tokens: Tensor, target: Target, rows: Tensor) -> Tensor:
        def give(_: Tensor) -> Tensor:
            torch.set_grad_enabled(True)
            return tokens

        with torch.no_grad(), replace_output(self.model.module, self.blocks[-1].address, give):
            output = read_out(self.model, self.model.input_copy(self.tensor), target)
            return target.score(output, rows, clean=False)

    def _given_on(self) -> list[Tensor]:
        """The tokens of each block as the rest of the network receives them."""
        pairs = zip(self.blocks, self.outputs, strict=True)
        return [block.mean_over_tokens(output) if self.pooled else output for block, output in pairs]

    def _started(self, at_end: Callable[[Tensor], Tensor]) -> ExitStack:
        """Start a graph at the attention of every block, and end it where the block ends.

        Args:
            at_end: what the network goes on with after the last block; its graph is kept.
        """
        counter = SiteCounter(find_attention(self.model, self.tensor).sites)
        chosen = {block.site for block in self.blocks}

        def read(operation: AttentionOperation) -> Any:
            if counter.next(operation) not in chosen:
                return operation.run()
            weights = differentiable(operation.weights())
            self.weights.append((weights, operation.arrange.weights))
            return operation.run_with(weights)

        def end(output: Tensor) -> Tensor:
            self.outputs.append(output)
            if len(self.outputs) == len(self.blocks):
                return at_end(output)
            torch.set_grad_enabled(False)
            return output.detach()

        stack = ExitStack()
        stack.enter_context(reading_attention(self.model.module, read))
        for block in self.blocks:
            stack.enter_context(replace_output(self.model.module, block.address, end))
        return stack


_TAKES_MORE: CacheEntry[dict[tuple[int, ...], bool]] = CacheEntry("rest takes more", dict)
"""Whether what follows the last block takes more rows than there are images, by the shape of an input."""
_TOLERANCE = 1e-4


def _rest_takes_more(model: Model, tensor: Tensor, blocks: Sequence[Block]) -> bool:
    """Whether what follows the last block gives the same for a batch that has grown; measured once, on two images."""
    key = tuple(tensor.shape[1:])
    if key not in model.cache[_TAKES_MORE]:
        pair = torch.cat([companion_image(tensor[:1], bold=True), tensor[:1]])
        model.cache[_TAKES_MORE][key] = _measure_rest(model, pair, blocks)
    return model.cache[_TAKES_MORE][key]


def _measure_rest(model: Model, pair: Tensor, blocks: Sequence[Block]) -> bool:
    try:
        with torch.no_grad():
            alone = model.run(model.input_copy(pair))
        output = _Run(model, pair, blocks, pooled=False).joined_output().detach()
    except (ModelFailed, OutputError):
        return False
    if output.shape[1:] != alone.shape[1:]:
        return False
    allowed = _TOLERANCE * float(alone.abs().max())
    return all(float((part - alone).abs().max()) <= allowed for part in (output[:2], output[-2:]))
