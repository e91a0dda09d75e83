"""Gradients of a score, to the input or to layers, that compute nothing they do not need.

For a layer, everything before it runs without a graph, its output becomes a leaf, and one backward pass goes from the
score to that leaf. For the input, parameters are frozen, so that no gradient of a weight is formed. Within
`sharing_passes`, lenses that need the same gradients get them from one forward and one backward pass.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from convscope.engine.context.chunking import in_chunks, rows_of, runs_one_at_a_time
from convscope.engine.context.metering import count_passes
from convscope.engine.context.run_context import KeptForward, SharedResults, changed, current
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.layer_trace import as_feature_map, call_count, layout_of, require_all_images
from convscope.engine.network.accumulation_dtype import accumulator_like, upcast
from convscope.engine.network.hooks import capture, stop_at
from convscope.engine.network.model import Model
from convscope.engine.run.row_sparse import RowSparseLinears
from convscope.engine.run.upsampled_scores import gradients_through_upsampling
from convscope.engine.targets.target import Target
from convscope.errors import NoGradient


@contextmanager
def keeping_graph(enabled: bool) -> Iterator[None]:
    """Give gradients formed inside gradients of their own, with respect to the network's parameters."""
    with changed(keep_graph=enabled):
        yield


def graph_is_kept() -> bool:
    """Whether results keep their graph, so that they can be part of a loss."""
    return current().keep_graph


def note_gradient_use() -> None:
    """Note that the result depends on the network's backward pass."""
    current().observations.gradients_used = True


@dataclass(frozen=True)
class Evidence:
    """The activation (N, C, …) of one layer and, where it was requested, the gradient of the score to it."""

    activation: Tensor
    gradient_or_none: Tensor | None = None

    @property
    def gradient(self) -> Tensor:
        """The gradient; a lens that reads it has a target."""
        assert self.gradient_or_none is not None, "gradients are formed where there is a target"
        note_gradient_use()
        return self.gradient_or_none


@contextmanager
def sharing_passes(target: Target | None = None) -> Iterator[None]:
    """Let the lenses called inside share forward and backward passes on the same images and target ``target``."""
    with changed(shared=SharedResults(target)):
        yield


@contextmanager
def sharing_nothing() -> Iterator[None]:
    """Let the lenses called inside run passes of their own: their images are perturbed copies that nobody else uses."""
    with changed(shared=None):
        yield


@contextmanager
def sharing_forward(model: Model) -> Iterator[None]:
    """Let gradients of several targets at the same layers, for the same inputs, be taken from one forward pass.

    Its graph stays in memory until the context ends.
    """
    with model.preserve_state(), changed(kept_forward=KeptForward()):
        yield


def shared_aim() -> Target | None:
    """What the lenses that share passes explain, also for a lens that has no target of its own."""
    shared = current().shared
    return None if shared is None else shared.target


def layer_evidence(model: Model, images: Images, target: Target | None, layers: Sequence[str]) -> dict[str, Evidence]:
    """Activations and, with an ``target``, gradients at ``layers``, for all images.

    Without a target the forward pass stops at the last of the layers. Within `sharing_passes` gradients are formed in
    any case, so that the first lens serves the others.
    """
    shared = current().shared
    if shared is None:
        return gather_evidence(model, images.tensor, target, layers)
    explained = target or shared.target
    compute = partial(gather_evidence, model, images.tensor, explained, layers)
    evidence: dict[str, Evidence] = shared.get(("evidence", images, explained, tuple(layers)), compute)
    return evidence


def input_gradient(model: Model, images: Images, target: Target) -> Tensor:
    """The gradient of each image's score to its own pixels (N, C, …), in single precision or finer."""
    note_gradient_use()
    shared = current().shared
    compute = partial(_input_gradient, model, images, target)
    if shared is None:
        return compute()
    gradient: Tensor = shared.get(("input gradient", images, target), compute)
    return gradient


def _input_gradient(model: Model, images: Images, target: Target) -> Tensor:
    gradients = accumulator_like(images.tensor)

    def step(rows: Tensor) -> None:
        rows_of(gradients, rows).copy_(gradient_at(model, rows_of(images.tensor, rows), target, rows))

    in_chunks(len(images), images.tensor[0], step)
    return gradients


def gradient_at(
    model: Model, tensor: Tensor, target: Target, rows: Tensor, *, clean: bool = True, scores: Tensor | None = None
) -> Tensor:
    """The gradient of the scores of one chunk of prepared inputs to these inputs, in single precision or finer.

    Args:
        rows: which image each input belongs to; ``clean`` says whether the inputs are the images as they are.
        scores: where to put the scores themselves, one per input.
    """
    note_gradient_use()
    tensor = model.input_copy(tensor).requires_grad_(True)
    with torch.enable_grad():
        scores_of_inputs = score(model, tensor.clone(), target, rows, clean=clean)  # a network may not write to a leaf
    if scores is not None:
        scores.copy_(scores_of_inputs.detach())
    return upcast(gradients_of(scores_of_inputs, [tensor], model)[0])


def score(model: Model, tensor: Tensor, target: Target, rows: Tensor | None = None, *, clean: bool = True) -> Tensor:
    """The explained number of each prepared input, with a graph when the input has one."""
    return target.score(read_out(model, tensor, target), rows, clean=clean)


def read_out(model: Model, tensor: Tensor, target: Target) -> Tensor:
    """What a target scores: the network's output, or a layer's activation with a forward that stops there."""
    if target.layer is None:
        return model.run(tensor)
    last = call_count(model, target.layer, tensor)
    with capture(model.module, [target.layer]) as caught, stop_at(model.module, target.layer, call=last):
        model.run(tensor)
    layout = layout_of(model, target.layer, tensor)
    return layout.units(require_all_images(layout, target.layer, len(tensor), caught[target.layer]))


def end_scores(model: Model, images: Images, start: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """The scores of the images and of where a path to them starts, (N,) each; settles the target."""
    there, here = (torch.empty(len(images), dtype=torch.float64, device="cpu") for _ in range(2))

    def step(rows: Tensor) -> None:
        ends = [rows_of(images.tensor, rows), rows_of(start, rows)]
        together = ends if runs_one_at_a_time() else [torch.cat(ends)]
        with torch.no_grad():
            read = torch.cat([read_out(model, model.input_copy(each), target) for each in together])
        there[rows] = target.score(read[: len(rows)], rows).cpu().double()
        here[rows] = target.score(read[len(rows) :], rows, clean=False).cpu().double()

    in_chunks(len(images), images.tensor[0], step, light=True, quiet=True)
    return there, here


def settle(model: Model, images: Images, target: Target) -> None:
    """Make sure it is known what is explained and how high it scores, by a forward of the images as they are."""

    def step(rows: Tensor) -> None:
        with torch.no_grad():
            score(model, model.input_copy(rows_of(images.tensor, rows)), target, rows)

    in_chunks(len(images), images.tensor[0], step, light=True, quiet=True)


def gather_evidence(model: Model, tensor: Tensor, target: Target | None, layers: Sequence[str]) -> dict[str, Evidence]:
    """Activations and gradients as `layer_evidence` gives them, shared with nobody: for a target that a lens made."""
    parts: dict[str, list[Evidence]] = {address: [] for address in layers}

    def step(rows: Tensor) -> None:
        laid = model.input_copy(rows_of(tensor, rows))
        evidence = (
            activations_at(model, laid, layers) if target is None else evidence_at(model, laid, target, rows, layers)
        )
        for address, layer_part in evidence.items():
            parts[address].append(layer_part)

    in_chunks(len(tensor), tensor[0], step, light=True)
    return {address: _joined(chunks) for address, chunks in parts.items()}


def activations_at(model: Model, tensor: Tensor, layers: Sequence[str]) -> dict[str, Evidence]:
    """Activations of one chunk of prepared inputs, without a graph."""
    outputs = outputs_at(model, tensor, layers)
    return {address: _on_the_map(model, tensor, address, output) for address, output in outputs.items()}


def outputs_at(model: Model, tensor: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """What layers give for one chunk of prepared inputs, as they give it; one layer alone ends the forward there."""
    alone = layers[0] if len(layers) == 1 else None
    early = stop_at(model.module, alone, call=call_count(model, alone, tensor)) if alone else nullcontext()
    with torch.no_grad(), capture(model.module, layers) as caught, early:
        model.run(tensor)
    return {address: caught[address] for address in layers}


def evidence_at(
    model: Model, tensor: Tensor, target: Target, rows: Tensor, layers: Sequence[str], *, clean: bool = True
) -> dict[str, Evidence]:
    """Activations and gradients of one chunk of prepared inputs; input ``i`` belongs to image ``rows[i]``."""
    pairs = outputs_with_gradients(model, tensor, target, rows, layers, clean=clean)
    return {address: _on_the_map(model, tensor, address, output, slope) for address, (output, slope) in pairs.items()}


def outputs_with_gradients(
    model: Model, tensor: Tensor, target: Target, rows: Tensor, layers: Sequence[str], *, clean: bool = True
) -> dict[str, tuple[Tensor, Tensor]]:
    """What layers give for one chunk of prepared inputs, and the gradients to it, both as the network lays them."""
    graph, kept = graph_is_kept(), current().kept_forward
    if kept is None or target.layer is not None or graph:
        output, activations = _forward_from(model, tensor, target, layers)
        kept = None
    else:
        output, activations = _kept_forward(model, tensor, layers, kept)
    with torch.enable_grad():
        scores = target.score(output, rows, clean=clean)
        gradients = gradients_of(scores, activations, model, output=output, retain=kept is not None)
    pairs = zip(layers, activations, gradients, strict=True)
    return {address: (a if graph else a.detach(), g) for address, a, g in pairs}


def _forward_from(
    model: Model, tensor: Tensor, target: Target | None, layers: Sequence[str]
) -> tuple[Tensor, list[Tensor]]:
    """What a target reads and what layers give in one forward pass, whose graph starts at the first of the layers."""
    graph = graph_is_kept()
    of_places = not graph and model.task is not None and model.task.about_a_place
    rows = RowSparseLinears() if of_places else nullcontext()
    with torch.set_grad_enabled(graph), capture(model.module, layers, differentiable=True) as caught, rows:
        if target is not None and target.layer is not None:
            caught.unreached_reason = f", which ends at the target's own layer {target.layer!r}"
        output = model.run(tensor) if target is None else read_out(model, tensor, target)
        return output, [caught[address] for address in layers]


def _kept_forward(
    model: Model, tensor: Tensor, layers: Sequence[str], kept: KeptForward
) -> tuple[Tensor, list[Tensor]]:
    """The same of the last forward pass, if its inputs and layers were these, else of a new one, which is kept."""
    same = kept.model is model and kept.layers == tuple(layers)
    if not same or kept.inputs is None or kept.output is None or not torch.equal(kept.inputs, tensor):
        kept.model, kept.output, kept.inputs = None, None, tensor.clone()  # a network may write to its input
        kept.output, kept.activations = _forward_from(model, tensor, None, layers)
        kept.model, kept.layers = model, tuple(layers)
    return kept.output, kept.activations


def _on_the_map(
    model: Model, tensor: Tensor, address: str, activation: Tensor, gradient: Tensor | None = None
) -> Evidence:
    """The evidence at a layer for the inputs ``tensor``, in single precision or finer, spatial axes last."""
    formed = None if gradient is None else upcast(as_feature_map(model, address, tensor, gradient))
    return Evidence(upcast(as_feature_map(model, address, tensor, activation)), formed)


def gradients_of(
    scores: Tensor,
    to: list[Tensor],
    model: Model,
    *,
    output: Tensor | None = None,
    create_graph: bool = False,
    retain: bool = False,
) -> list[Tensor]:
    """The gradient of each image's score to several tensors of its forward; zeros where one has no part in it.

    Args:
        output: what the network gave, if the scores are formed of it alone.
        create_graph: give the gradients a graph of their own.
        retain: keep the graph for another gradient.

    Raises:
        NoGradient: the scores have no graph at all, or it ends at a quantised layer.
    """
    model.require_gradient()
    if not scores.requires_grad:
        why = "detached, computed under torch.no_grad inside the network, or the target's layer comes before"
        raise NoGradient(cut_off(model, why), cut_off=True)
    count_passes(backwards=len(scores))
    graph, total = create_graph or graph_is_kept(), scores.sum()
    with model.wrap_backward_errors():
        gradients = None if graph else gradients_through_upsampling(total, to, output=output, retain_graph=retain)
        if gradients is None:
            gradients = torch.autograd.grad(
                total, to, allow_unused=True, create_graph=graph, retain_graph=graph or retain
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
    gradients = [part.gradient_or_none for part in parts if part.gradient_or_none is not None]
    return Evidence(torch.cat([p.activation for p in parts]), torch.cat(gradients) if gradients else None)
