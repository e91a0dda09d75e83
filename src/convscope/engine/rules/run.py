"""The backward pass of a method of backward rules over a batch of images, one chunk at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from convscope.engine.context.chunking import in_chunks
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.trace import as_feature_map, layout_of, require_all_images
from convscope.engine.network.double_precision import accumulator_like, upcast
from convscope.engine.network.hooks import capture
from convscope.engine.network.model import Model
from convscope.engine.rules.function_mode import BackwardMethod, RuleMode
from convscope.engine.rules.ledger import Ledger, merge_ledgers
from convscope.engine.rules.lrp import InputInfo, Relevance
from convscope.engine.run.gradients import gradients_of, note_gradient_use, read_out
from convscope.engine.targets.target import Target
from convscope.errors import LayerError, NoGradient, NoRule
from convscope.values.facts import Fact

MethodFactory = Callable[[Ledger, Tensor, Tensor], BackwardMethod]
"""``(ledger, rows, copies) -> method``: the method for one chunk, with copy ``copies[i]`` of image ``rows[i]`` each."""

ChannelFilter = Callable[[Tensor, Tensor], Tensor]
"""``(rows, relevance) -> keep``: which channels (N, C) of a layer with relevance (N, C, …) pass relevance on."""


@dataclass
class BackwardResult:
    """Multipliers and relevance of the input (N, C, …), as means over copies, and the relevance at layers.

    ``totals`` (N,) is the relevance at the output. If the method compares with a reference, relevance refers to the
    difference from it.
    """

    multiplier: Tensor
    relevance: Tensor
    totals: Tensor
    at_layers: dict[str, list[Tensor]] = field(default_factory=dict)
    ledgers: list[Ledger] = field(default_factory=list)

    def at_layer(self, address: str) -> Tensor:
        """The relevance at a layer (N, C, …)."""
        return torch.cat(self.at_layers[address])


@dataclass(frozen=True, eq=False)
class _ForwardPass:
    """A chunk of images after the forward pass under the rules."""

    method: BackwardMethod
    leaf: Tensor
    """The prepared images, of which the gradient is taken."""
    share: Tensor | None
    """Ones whose gradient is relevance too, under rules of the first layer."""
    output: Tensor
    scores: Tensor
    activations: list[Tensor]


def backpropagate(
    model: Model,
    images: Images,
    target: Target,
    make: MethodFactory,
    *,
    on_missing: str = "error",
    layers: Sequence[str] = (),
    copies: int = 1,
    restrict: ChannelFilter | None = None,
    as_given: bool = False,
) -> BackwardResult:
    """Run the network forward under the rules of a method, and propagate the score back to the input.

    Args:
        make: makes the method for one chunk of images.
        on_missing: how to treat an operation that has no rule: ``error`` or ``gradient``.
        layers: layers at which the relevance is read too.
        copies: how often each image is run, such as once for each of several references.
        restrict: let relevance pass only through some channels of the first of ``layers``.
        as_given: return the relevance at layers in the shape of the layer's output per image, not as maps.

    Raises:
        NoRule: the method has no rule for an operation.
        LayerError: a part of the network is scripted, so that its operations cannot be intercepted.
        NoGradient: the score does not depend on the input.
    """
    refuse_scripted(model)
    note_gradient_use()
    zeros = accumulator_like(images.tensor)
    result = BackwardResult(zeros, zeros.clone(), torch.zeros(len(images), dtype=torch.float64, device="cpu"))

    def step(indices: Tensor) -> None:
        rows, ledger = indices // copies, Ledger(len(indices))
        forward = _run_forward(
            model,
            images,
            target,
            rows,
            make(ledger, rows, indices % copies),
            ledger,
            layers=layers,
            on_missing=on_missing,
        )
        if restrict is not None:
            _restrict(forward, layers[0], model, lambda relevance: restrict(rows, relevance))
        share = [] if forward.share is None else [forward.share]
        output_gradient, input_gradient, *other_gradients = gradients_of(
            forward.scores, [forward.output, forward.leaf, *forward.activations, *share], model
        )
        multiplier = upcast(input_gradient)
        relevance = _input_relevance(forward, multiplier, other_gradients[-1] if share else None)
        total = (forward.output.detach() * output_gradient).double().flatten(1).sum(1).cpu()
        for sums, values in (
            (result.multiplier, multiplier),
            (result.relevance, relevance),
            (result.totals, total),
        ):
            sums.index_add_(0, rows.to(sums.device), values / copies)
        for address, activation, gradient in zip(layers, forward.activations, other_gradients, strict=False):
            at_layer = _layer_relevance(forward, model, address, activation, gradient, as_given=as_given)
            result.at_layers.setdefault(address, []).append(at_layer)
        result.ledgers.append(ledger)

    in_chunks(len(images) * copies, images.tensor[0], step)
    return result


def _run_forward(
    model: Model,
    images: Images,
    target: Target,
    rows: Tensor,
    method: BackwardMethod,
    ledger: Ledger,
    *,
    layers: Sequence[str],
    on_missing: str,
) -> _ForwardPass:
    """Run images ``rows`` forward under the rules of a method."""
    leaf = model.input_copy(images.tensor[rows]).requires_grad_(True)
    x = leaf.clone()  # the network must not write to a leaf
    share = _set_input_info(method, x, images)
    with torch.enable_grad(), capture(model.module, layers, differentiable=True) as captured:
        mode = RuleMode(method, ledger, on_missing=on_missing)
        output = output_under(mode, model, x, target)
        scores = target.score(output, rows)
    activations = [mode.latest(captured[address]) for address in layers]
    model.require_gradient()
    return _ForwardPass(method, leaf, share, output, scores, activations)


def _input_relevance(forward: _ForwardPass, multiplier: Tensor, share_gradient: Tensor | None) -> Tensor:
    """The relevance of the input: difference from reference × multiplier, plus the relevance of the share."""
    reference = getattr(forward.method, "reference_input", None)
    difference = forward.leaf.detach() if reference is None else forward.leaf.detach() - reference
    relevance = upcast(difference) * multiplier
    return relevance if share_gradient is None else relevance + upcast(share_gradient)


def _layer_relevance(
    forward: _ForwardPass, model: Model, address: str, activation: Tensor, multiplier: Tensor, *, as_given: bool
) -> Tensor:
    """The relevance at a layer: difference from the reference activation × multiplier."""
    leaf = forward.leaf.detach()
    reference = getattr(forward.method, "reference_activations", {}).get(address)
    difference = activation.detach() if reference is None else activation.detach() - reference
    relevance = upcast(difference * multiplier)
    layout = layout_of(model, address, leaf)
    require_all_images(layout, address, len(leaf), relevance)
    return layout.by_image(relevance) if as_given else as_feature_map(model, address, leaf, relevance)


def output_under(mode: RuleMode, model: Model, tensor: Tensor, target: Target) -> Tensor:
    """The output that the target scores for prepared inputs, with the network run under rules.

    Raises:
        NoRule: the method has no rule for an operation.
        NoGradient: that operation computes with integers, so that there is no gradient to fall back on either.
    """
    try:
        return mode.run_network(lambda: read_out(model, tensor, target), model.module)
    except NoRule:
        model.require_gradient()
        raise


def refuse_scripted(model: Model) -> None:
    """Raise an error for a network with parts whose operations a function mode cannot intercept."""
    address = model.scripted_part()
    if address is not None:
        part = f"layer {address!r}" if address else model.name
        raise LayerError(
            f"{part} is traced or scripted (torch.jit), which hides its operations from rules: open the network "
            "from its source, or use a lens that needs no rules such as integrated-gradients, occlusion or rise"
        )


def conservation_notes(result: BackwardResult) -> list[dict[str, Any]]:
    """Per image: completeness, conservation in total and per layer, and how many operations each rule treated."""
    ledger = merge_ledgers(result.ledgers)
    rule_counts = result.ledgers[0].rule_counts()
    input_totals = result.relevance.double().flatten(1).sum(1).cpu()
    notes = []
    for row, total in enumerate(result.totals.tolist()):
        absorbed = float(ledger["absorbed"][row])
        gap = total - float(input_totals[row])
        scale = max(abs(total), 1e-12)
        layers = {
            address: {"received": float(r[row]), "absorbed": float(a[row]), "lost": float(lost[row])}
            for address, (r, a, lost) in ledger["layers"].items()
        }
        notes.append(
            {
                "completeness gap": -gap,
                "relative completeness gap": abs(gap) / scale,
                "absorbed by biases": absorbed,
                "conservation gap": gap - absorbed,
                "relative conservation gap": abs(gap - absorbed) / scale,
                "relevance per layer": layers,
                "rules": rule_counts,
                **operation_notes(result),
            }
        )
    return notes


def operation_notes(result: BackwardResult) -> dict[str, Any]:
    """Operations without a rule and operations that draw random numbers, if there are any."""
    ledger = result.ledgers[0]
    notes: dict[str, Any] = {}
    if ledger.missing:
        notes["without a rule"] = ", ".join(f"{operation} ×{n}" for operation, n in ledger.missing.items())
    if ledger.random:
        notes["nondeterministic"] = Fact(
            "the network draws random numbers: {operations}", operations=list(ledger.random)
        )
    return notes


def _set_input_info(method: BackwardMethod, x: Tensor, images: Images) -> Tensor | None:
    """Tell LRP which tensor is the input and what its bounds are; returns the share, whose gradient is relevance."""
    if not isinstance(method, Relevance):
        return None
    share = torch.ones_like(x).requires_grad_(True)
    low, high = (images.spec.level(b).to(x).expand_as(x[:1]).expand_as(x) for b in (0.0, 1.0))
    method.input_info[x] = InputInfo(share, torch.minimum(low, x.detach()), torch.maximum(high, x.detach()))
    return share


def _restrict(forward: _ForwardPass, address: str, model: Model, channel_filter: Callable[[Tensor], Tensor]) -> None:
    """Let relevance pass only through some channels of a layer, the first of those that were read.

    Raises:
        NoGradient: the layer does not depend on the input.
    """
    activation, leaf = forward.activations[0], forward.leaf.detach()
    if activation.grad_fn is None:
        raise NoGradient(
            f"layer {address!r} is cut off from the input (detached, or run under torch.no_grad inside the "
            "network): no gradient flows from it to the pixels"
        )

    def hook(gradient: Tensor) -> Tensor:
        relevance = as_feature_map(model, address, leaf, upcast(activation.detach() * gradient))
        keep = layout_of(model, address, leaf).from_channels(channel_filter(relevance), gradient)
        return gradient * keep

    activation.register_hook(hook)  # type: ignore[no-untyped-call]
