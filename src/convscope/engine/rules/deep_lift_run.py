"""DeepLIFT over a batch of images and their references, and what its contributions miss of the difference."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.hooks import capture
from convscope.engine.network.model import Model
from convscope.engine.paths.path import gap_notes
from convscope.engine.rules.deep_lift import DeepLift
from convscope.engine.rules.function_mode import Rules
from convscope.engine.rules.ledger import Ledger
from convscope.engine.rules.run import flow_back, output_under, said_of
from convscope.engine.targets.target import Aim


def compared(
    model: Model,
    images: Images,
    aim: Aim,
    references: Callable[[Tensor, Tensor], Tensor],
    *,
    copies: int = 1,
    reveal_cancel: bool = False,
    on_missing: str = "error",
    layer: str | None = None,
    multiply_by_inputs: bool = True,
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Contributions (N, C, …), averaged over references, with notes on their completeness.

    Args:
        references: ``(rows, copies) -> inputs``: reference number ``copies[i]`` of image ``rows[i]``.
        multiply_by_inputs: give contributions; without it the multipliers themselves, which add up to nothing.
        layer: where contributions are read, image by image as the network gives its output; the input by default.
    """
    outputs: list[tuple[Ledger, Tensor, Tensor]] = []

    def make(ledger: Ledger, rows: Tensor, numbers: Tensor) -> DeepLift:
        method = DeepLift(ledger, reveal_cancel=reveal_cancel)
        start = model.laid_out(references(rows, numbers))
        layers = [] if layer is None else [layer]
        watched = capture(model.module, layers, differentiable=True)
        with torch.enable_grad(), watched as caught, method.over_the_reference(start):
            seen = start.clone().requires_grad_(True).clone()  # a network may not write to a leaf
            mode = Rules(method, Ledger(len(rows)), on_missing=on_missing)  # counted when the image goes through
            output = output_under(mode, model, seen, aim)
        method.at_layers = {address: mode.latest(caught[address]).detach() for address in layers}
        outputs.append((ledger, rows, output.detach()))
        return method

    flow = flow_back(
        model,
        images,
        aim,
        make,
        on_missing=on_missing,
        copies=copies,
        layers=[] if layer is None else [layer],
        as_given=True,
    )
    started = torch.zeros(len(images), dtype=torch.float64, device="cpu")
    for ledger, rows, output in outputs:
        if not any(ledger is counted for counted in flow.ledgers):
            continue  # of a chunk for which memory ran out
        started.index_add_(0, rows, aim.score(output, rows, clean=False).cpu().double() / copies)
    reached = torch.tensor([float(s or 0.0) for s in aim.scores], dtype=torch.float64, device="cpu")
    rules = {"rules": flow.ledgers[0].rules(), **said_of(flow)}
    if not multiply_by_inputs:
        return flow.multiplier, [rules for _ in range(len(images))]
    contributions = flow.relevance if layer is None else flow.at(layer)
    return contributions, [{**note, **rules} for note in gap_notes(contributions, reached, started)]
