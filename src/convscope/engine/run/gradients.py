"""Gradients of a score, to the input or to layers, that compute nothing they do not need.

To a layer: everything below runs without a graph, the layer's output becomes a leaf, and one backward goes from the
score to that leaf. To the input: parameters are frozen, so no gradient of a weight is ever formed. Within `sharing`,
lenses that ask for the same gradients get them from one forward and one backward.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convscope.engine.context.chunking import alone, in_chunks, of_chunk
from convscope.engine.context.metering import count
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.trace import all_images, calls_of, layout_of, map_at
from convscope.engine.network.double_precision import sums_like, unrounded
from convscope.engine.network.hooks import capture, stopping_at
from convscope.engine.network.model import Model
from convscope.engine.targets.target import Aim
from convscope.errors import NoGradient

_shared: ContextVar[dict[Any, Any] | None] = ContextVar("shared", default=None)
_graph: ContextVar[bool] = ContextVar("graph", default=False)


@contextmanager
def differentiating(wanted: bool) -> Iterator[None]:
    """Let gradients formed within have gradients of their own, to the network's parameters."""
    token = _graph.set(wanted)
    try:
        yield
    finally:
        _graph.reset(token)


def differentiable() -> bool:
    """Whether what is computed keeps its graph, so that it can stand in a loss."""
    return _graph.get()


_used: ContextVar[list[bool] | None] = ContextVar("used", default=None)


@contextmanager
def gradients_watched() -> Iterator[list[bool]]:
    """Learn whether gradients of the network are used within; then the list is not empty."""
    uses: list[bool] = []
    token = _used.set(uses)
    try:
        yield uses
    finally:
        _used.reset(token)


def gradients_used() -> None:
    """Say that what is computed hangs on the network's backward pass."""
    if (uses := _used.get()) is not None and not uses:
        uses.append(True)


@dataclass(frozen=True)
class Evidence:
    """One layer's activation (N, C, …) and, where it was asked for, the gradient of the score to it."""

    activation: Tensor
    formed: Tensor | None = None

    @property
    def gradient(self) -> Tensor:
        """The gradient; a lens that reads it has a target."""
        assert self.formed is not None, "gradients are formed where there is an aim"
        gradients_used()
        return self.formed


@contextmanager
def sharing(aim: Aim | None = None) -> Iterator[None]:
    """Let the lenses called within share forwards and backwards on the same images and target ``aim``."""
    token = _shared.set({"aim": aim})
    try:
        yield
    finally:
        _shared.reset(token)


@contextmanager
def sharing_nothing() -> Iterator[None]:
    """Let the lenses called within compute for themselves: what they look at is gone before the sharing ends."""
    token = _shared.set(None)
    try:
        yield
    finally:
        _shared.reset(token)


def shared_aim() -> Aim | None:
    """What the lenses that share passes explain, also for a lens that has no target of its own."""
    shared = _shared.get()
    return shared["aim"] if shared is not None else None


def layer_evidence(model: Model, images: Images, aim: Aim | None, layers: Sequence[str]) -> dict[str, Evidence]:
    """Activations and, with an ``aim``, gradients at ``layers``, for all images.

    Without an aim the forward stops at the last of the layers. Within `sharing` gradients are formed in any case,
    so that the first lens to ask serves the others.
    """
    shared = _shared.get()
    if shared is not None:
        aim = aim or shared["aim"]
        key = (id(images), id(aim), tuple(layers))
        if key not in shared:
            shared[key] = gather_evidence(model, images.tensor, aim, layers)
        evidence: dict[str, Evidence] = shared[key]
    else:
        evidence = gather_evidence(model, images.tensor, aim, layers)
    return evidence


def input_gradient(model: Model, images: Images, aim: Aim) -> Tensor:
    """The gradient of each image's score to its own pixels (N, C, …), in single precision or finer."""
    gradients_used()
    shared = _shared.get()
    key = (id(images), id(aim))
    if shared is not None and key in shared:
        found: Tensor = shared[key]
        return found
    gradients = sums_like(images.tensor)

    def step(rows: Tensor) -> None:
        of_chunk(gradients, rows).copy_(gradient_at(model, of_chunk(images.tensor, rows), aim, rows))

    in_chunks(len(images), images.tensor[0], step)
    if shared is not None:
        shared[key] = gradients
    return gradients


def gradient_at(
    model: Model, tensor: Tensor, aim: Aim, rows: Tensor, *, clean: bool = True, scores: Tensor | None = None
) -> Tensor:
    """The gradient of the scores of one chunk of prepared inputs to these inputs, in single precision or finer.

    Args:
        rows: which image each input belongs to; ``clean`` says whether the inputs are the images as they are.
        scores: where to put the scores themselves, one per input.
    """
    gradients_used()
    tensor = model.laid_out(tensor).requires_grad_(True)
    with torch.enable_grad():
        found = score(model, tensor.clone(), aim, rows, clean=clean)  # a network may not write to a leaf
    if scores is not None:
        scores.copy_(found.detach())
    return unrounded(gradients_of(found, [tensor], model)[0])


def score(model: Model, tensor: Tensor, aim: Aim, rows: Tensor | None = None, *, clean: bool = True) -> Tensor:
    """The explained number of each prepared input, with a graph when the input has one."""
    return aim.score(read_out(model, tensor, aim), rows, clean=clean)


def read_out(model: Model, tensor: Tensor, aim: Aim) -> Tensor:
    """What an aim scores: the network's output, or a layer's activation with a forward that stops there."""
    if aim.layer is None:
        return model.run(tensor)
    last = calls_of(model, aim.layer, tensor)
    with capture(model.module, [aim.layer]) as caught, stopping_at(model.module, aim.layer, call=last):
        model.run(tensor)
    layout = layout_of(model, aim.layer, tensor)
    return layout.units(all_images(layout, aim.layer, len(tensor), caught[aim.layer]))


def end_scores(model: Model, images: Images, start: Tensor, aim: Aim) -> tuple[Tensor, Tensor]:
    """The scores of the images and of where a path to them starts, (N,) each; settles the aim."""
    there, here = (torch.empty(len(images), dtype=torch.float64, device="cpu") for _ in range(2))

    def step(rows: Tensor) -> None:
        ends = [of_chunk(images.tensor, rows), of_chunk(start, rows)]
        together = ends if alone() else [torch.cat(ends)]
        with torch.no_grad():
            read = torch.cat([read_out(model, model.laid_out(each), aim) for each in together])
        there[rows] = aim.score(read[: len(rows)], rows).cpu().double()
        here[rows] = aim.score(read[len(rows) :], rows, clean=False).cpu().double()

    in_chunks(len(images), images.tensor[0], step, light=True, quiet=True)
    return there, here


def settle(model: Model, images: Images, aim: Aim) -> None:
    """Make sure it is known what is explained and how high it scores, by a forward of the images as they are."""

    def step(rows: Tensor) -> None:
        with torch.no_grad():
            score(model, model.laid_out(of_chunk(images.tensor, rows)), aim, rows)

    in_chunks(len(images), images.tensor[0], step, light=True, quiet=True)


def gather_evidence(model: Model, tensor: Tensor, aim: Aim | None, layers: Sequence[str]) -> dict[str, Evidence]:
    """Activations and gradients as `layer_evidence` gives them, shared with nobody: for an aim that a lens made."""
    parts: dict[str, list[Evidence]] = {address: [] for address in layers}

    def step(rows: Tensor) -> None:
        laid = model.laid_out(of_chunk(tensor, rows))
        found = activations_at(model, laid, layers) if aim is None else evidence_at(model, laid, aim, rows, layers)
        for address, seen in found.items():
            parts[address].append(seen)

    in_chunks(len(tensor), tensor[0], step, light=True)
    return {address: _joined(seen) for address, seen in parts.items()}


def activations_at(model: Model, tensor: Tensor, layers: Sequence[str]) -> dict[str, Evidence]:
    """Activations of one chunk of prepared inputs, without a graph."""
    outputs = outputs_at(model, tensor, layers)
    return {address: _on_the_map(model, tensor, address, output) for address, output in outputs.items()}


def outputs_at(model: Model, tensor: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """What layers give for one chunk of prepared inputs, as they give it; one layer alone ends the forward there."""
    alone = layers[0] if len(layers) == 1 else None
    early = stopping_at(model.module, alone, call=calls_of(model, alone, tensor)) if alone else nullcontext()
    with torch.no_grad(), capture(model.module, layers) as caught, early:
        model.run(tensor)
    return {address: caught[address] for address in layers}


def evidence_at(
    model: Model, tensor: Tensor, aim: Aim, rows: Tensor, layers: Sequence[str], *, clean: bool = True
) -> dict[str, Evidence]:
    """Activations and gradients of one chunk of prepared inputs; input ``i`` belongs to image ``rows[i]``."""
    pairs = outputs_with_gradients(model, tensor, aim, rows, layers, clean=clean)
    return {address: _on_the_map(model, tensor, address, output, slope) for address, (output, slope) in pairs.items()}


def outputs_with_gradients(
    model: Model, tensor: Tensor, aim: Aim, rows: Tensor, layers: Sequence[str], *, clean: bool = True
) -> dict[str, tuple[Tensor, Tensor]]:
    """What layers give for one chunk of prepared inputs, and the gradients to it, both as the network lays them."""
    graph = differentiable()
    with torch.set_grad_enabled(graph), capture(model.module, layers, differentiable=True) as caught:
        if aim.layer is not None:
            caught.ended = f", which ends at the target's own layer {aim.layer!r}"
        found = score(model, tensor, aim, rows, clean=clean)
        activations = [caught[address] for address in layers]
        gradients = gradients_of(found, activations, model)
    pairs = zip(layers, activations, gradients, strict=True)
    return {address: (a if graph else a.detach(), g) for address, a, g in pairs}


def _on_the_map(
    model: Model, tensor: Tensor, address: str, activation: Tensor, gradient: Tensor | None = None
) -> Evidence:
    """What was seen at a layer for the inputs ``tensor``, in single precision or finer, spatial axes last."""
    formed = None if gradient is None else unrounded(map_at(model, address, tensor, gradient))
    return Evidence(unrounded(map_at(model, address, tensor, activation)), formed)


def gradients_of(
    scores: Tensor, to: list[Tensor], model: Model, *, create_graph: bool = False, retain: bool = False
) -> list[Tensor]:
    """The gradient of each image's score to several tensors of its forward; zeros where one has no part in it.

    Args:
        create_graph: give the gradients a graph of their own.
        retain: keep the graph for another gradient.

    Raises:
        NoGradient: the scores have no graph at all, or it ends at a quantised layer.
    """
    model.require_gradient()
    if not scores.requires_grad:
        why = "detached, computed under torch.no_grad inside the network, or the target's layer comes before"
        raise NoGradient(cut_off(model, why), cut_off=True)
    count(backwards=len(scores))
    graph = create_graph or differentiable()
    with model.on_the_way_back():
        gradients = torch.autograd.grad(
            scores.sum(), to, allow_unused=True, create_graph=graph, retain_graph=graph or retain
        )
    return [torch.zeros_like(t) if g is None else g for t, g in zip(to, gradients, strict=True)]


def cut_off(model: Model, why: str) -> str:
    """The refusal of a score without a graph."""
    return (
        f"nothing can be explained: {model.name}'s score is cut off from where its gradient is wanted ({why}); "
        "try another layer or target, or a lens without gradients such as eigen-cam"
    )


def _joined(parts: list[Evidence]) -> Evidence:
    if len(parts) == 1:
        return parts[0]
    gradients = [part.formed for part in parts if part.formed is not None]
    return Evidence(torch.cat([p.activation for p in parts]), torch.cat(gradients) if gradients else None)
