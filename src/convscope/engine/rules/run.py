"""One run of a method of backward rules over a batch of images, a chunk at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from convscope.engine.context.chunking import in_chunks
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.trace import all_images, layout_of, map_at
from convscope.engine.network.double_precision import sums_like, unrounded
from convscope.engine.network.hooks import capture
from convscope.engine.network.model import Model
from convscope.engine.rules.function_mode import Method, Rules
from convscope.engine.rules.ledger import Ledger, merged
from convscope.engine.rules.lrp import Ground, Relevance
from convscope.engine.run.gradients import gradients_of, note_gradient_use, read_out
from convscope.engine.targets.target import Aim
from convscope.errors import LayerError, NoGradient, NoRule

Make = Callable[[Ledger, Tensor, Tensor], Method]
"""``(ledger, rows, copies) -> method``: a method for one chunk, of copy ``copies[i]`` of image ``rows[i]`` each."""

Restrict = Callable[[Tensor, Tensor], Tensor]
"""``(rows, relevance) -> keep``: of the relevance (N, C, …) at a layer, which channels (N, C) let it through."""


@dataclass
class Flow:
    """What came back, as means over copies: multipliers and relevance of the input (N, C, …), relevance at layers.

    ``totals`` (N,) is what was sent back; where a method compares with a reference, relevance is what came of the
    difference to it.
    """

    multiplier: Tensor
    relevance: Tensor
    totals: Tensor
    at_layers: dict[str, list[Tensor]] = field(default_factory=dict)
    ledgers: list[Ledger] = field(default_factory=list)

    def at(self, address: str) -> Tensor:
        """The relevance at a layer (N, C, …)."""
        return torch.cat(self.at_layers[address])


def flow_back(
    model: Model,
    images: Images,
    aim: Aim,
    make: Make,
    *,
    on_missing: str = "error",
    layers: Sequence[str] = (),
    copies: int = 1,
    restrict: Restrict | None = None,
    as_given: bool = False,
) -> Flow:
    """Run the network forwards under the rules of a method, and back from the score.

    Args:
        make: gives the method for one chunk of images.
        on_missing: what to do at an operation that has no rule: ``error`` or ``gradient``.
        layers: where else to read the relevance.
        copies: how often each image goes through, as for several references.
        restrict: let relevance through some channels of the first of ``layers`` only.
        as_given: keep the relevance at layers image by image as the network gives their outputs, not as maps.

    Raises:
        NoRule: an operation that the method knows nothing of.
        LayerError: a part of the network is scripted, so that its operations cannot be seen.
        NoGradient: the score does not depend on the input.
    """
    refuse_scripted(model)
    note_gradient_use()
    nothing = sums_like(images.tensor)
    flow = Flow(nothing, nothing.clone(), torch.zeros(len(images), dtype=torch.float64, device="cpu"))

    def step(flat: Tensor) -> None:
        rows, numbers = flat // copies, flat % copies
        ledger = Ledger(len(rows))
        method = make(ledger, rows, numbers)
        leaf = model.laid_out(images.tensor[rows]).requires_grad_(True)
        x = leaf.clone()  # a network may not write to a leaf
        share = _lay_ground(method, x, images)
        with torch.enable_grad(), capture(model.module, layers, differentiable=True) as caught:
            mode = Rules(method, ledger, on_missing=on_missing)
            output = output_under(mode, model, x, aim)
            scores = aim.score(output, rows)
        seen = [mode.latest(caught[address]) for address in layers]
        model.require_gradient()
        if restrict is not None and seen[0].grad_fn is None:
            raise NoGradient(
                f"layer {layers[0]!r} is cut off from the input (detached, or run under torch.no_grad inside the "
                "network): nothing flows from it to the pixels"
            )
        if restrict is not None:
            _restrict(seen[0], layers[0], model, leaf, lambda relevance: restrict(rows, relevance))
        found = gradients_of(scores, [output, leaf, *seen, *([share] if share is not None else [])], model)
        gradient = unrounded(found[1])
        start = getattr(method, "start", None)
        relevance = unrounded(leaf.detach() if start is None else leaf.detach() - start) * gradient
        relevance = relevance if share is None else relevance + unrounded(found[-1])
        total = (output.detach() * found[0]).double().flatten(1).sum(1).cpu()
        for kept, new in ((flow.multiplier, gradient), (flow.relevance, relevance), (flow.totals, total)):
            kept.index_add_(0, rows.to(kept.device), new / copies)
        for address, activation, multiplier in zip(layers, seen, found[2:], strict=False):
            reference = getattr(method, "at_layers", {}).get(address)
            received = activation.detach() if reference is None else activation.detach() - reference
            received = unrounded(received * multiplier)
            layout = layout_of(model, address, leaf.detach())
            all_images(layout, address, len(leaf), received)
            at_layer = layout.by_image(received) if as_given else map_at(model, address, leaf.detach(), received)
            flow.at_layers.setdefault(address, []).append(at_layer)
        flow.ledgers.append(ledger)

    in_chunks(len(images) * copies, images.tensor[0], step)
    return flow


def output_under(mode: Rules, model: Model, tensor: Tensor, aim: Aim) -> Tensor:
    """What the aim scores of prepared inputs, with the network run under rules.

    Raises:
        NoRule: the method knows no rule for an operation.
        NoGradient: that operation computes with integers, so that there is no gradient to fall back on either.
    """
    try:
        return mode.seen_by(lambda: read_out(model, tensor, aim), model.module)
    except NoRule:
        model.require_gradient()
        raise


def refuse_scripted(model: Model) -> None:
    """Refuse a network with parts whose operations no function mode sees."""
    address = model.scripted()
    if address is not None:
        where = f"layer {address!r}" if address else model.name
        raise LayerError(
            f"{where} is traced or scripted (torch.jit), which hides its operations from rules: open the network "
            "from its source, or use a lens that needs no rules such as integrated-gradients, occlusion or rise"
        )


def flow_notes(flow: Flow) -> list[dict[str, Any]]:
    """Per image: completeness, conservation in total and per layer, and how many operations each rule treated."""
    books = merged(flow.ledgers)
    treated = flow.ledgers[0].rules()
    arrived = flow.relevance.double().flatten(1).sum(1).cpu()
    notes = []
    for row, total in enumerate(flow.totals.tolist()):
        absorbed = float(books["absorbed"][row])
        gap = total - float(arrived[row])
        scale = max(abs(total), 1e-12)
        layers = {
            address: {"received": float(r[row]), "absorbed": float(a[row]), "lost": float(lost[row])}
            for address, (r, a, lost) in books["layers"].items()
        }
        notes.append(
            {
                "completeness gap": -gap,
                "relative completeness gap": abs(gap) / scale,
                "absorbed by biases": absorbed,
                "conservation gap": gap - absorbed,
                "relative conservation gap": abs(gap - absorbed) / scale,
                "relevance per layer": layers,
                "rules": treated,
                **said_of(flow),
            }
        )
    return notes


def said_of(flow: Flow) -> dict[str, Any]:
    """Operations without a rule, and operations that draw random numbers, where there are any."""
    ledger = flow.ledgers[0]
    said: dict[str, Any] = {}
    if ledger.missing:
        said["without a rule"] = ", ".join(f"{what} ×{n}" for what, n in ledger.missing.items())
    if ledger.random:
        said["nondeterministic"] = f"the network draws random numbers: {', '.join(ledger.random)}"
    return said


def _lay_ground(method: Method, x: Tensor, images: Images) -> Tensor | None:
    """Have the method know the input when it meets it; the tensor whose gradient is relevance of its own."""
    if not isinstance(method, Relevance):
        return None
    share = torch.ones_like(x).requires_grad_(True)
    low, high = (images.spec.level(b).to(x).expand_as(x[:1]).expand_as(x) for b in (0.0, 1.0))
    method.ground[x] = Ground(share, torch.minimum(low, x.detach()), torch.maximum(high, x.detach()))
    return share


def _restrict(activation: Tensor, address: str, model: Model, leaf: Tensor, choose: Callable[[Tensor], Tensor]) -> None:
    """Have only some channels of a layer let through what flows back."""

    def hook(gradient: Tensor) -> Tensor:
        relevance = map_at(model, address, leaf.detach(), unrounded(activation.detach() * gradient))
        keep = layout_of(model, address, leaf.detach()).from_channels(choose(relevance), gradient)
        return gradient * keep

    activation.register_hook(hook)  # type: ignore[no-untyped-call]
