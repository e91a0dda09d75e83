"""DeepLIFT over a batch of images and their references, and the completeness of its contributions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.hooks import capture
from convscope.engine.network.model import Model
from convscope.engine.paths.path import completeness_notes
from convscope.engine.rules.backward_pass import backpropagate, operation_notes, output_under
from convscope.engine.rules.deep_lift import DeepLift
from convscope.engine.rules.function_mode import RuleMode
from convscope.engine.rules.rule_log import RuleLog
from convscope.engine.targets.target import Target


def deep_lift_contributions(
    model: Model,
    images: Images,
    target: Target,
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
        multiply_by_inputs: return contributions; otherwise return the multipliers, which do not sum to the score.
        layer: where contributions are read, in the shape of the layer's output per image; the input by default.
    """
    layers = [] if layer is None else [layer]
    reference_outputs: list[tuple[RuleLog, Tensor, Tensor]] = []

    def make(rule_log: RuleLog, rows: Tensor, numbers: Tensor) -> DeepLift:
        method = DeepLift(rule_log, reveal_cancel=reveal_cancel)
        reference = model.input_copy(references(rows, numbers))
        capturing = capture(model.module, layers, differentiable=True)
        with torch.enable_grad(), capturing as captured, method.recording_reference(reference):
            x = reference.clone().requires_grad_(True).clone()  # the network must not write to a leaf
            mode = RuleMode(
                method, RuleLog(len(rows)), on_missing=on_missing
            )  # only the image's operations are counted
            output = output_under(mode, model, x, target)
        method.reference_activations = {address: mode.latest(captured[address]).detach() for address in layers}
        reference_outputs.append((rule_log, rows, output.detach()))
        return method

    result = backpropagate(
        model, images, target, make, on_missing=on_missing, copies=copies, layers=layers, as_given=True
    )
    baseline_scores = torch.zeros(len(images), dtype=torch.float64, device="cpu")
    for rule_log, rows, output in reference_outputs:
        if not any(rule_log is used for used in result.rule_logs):
            continue  # of a chunk that was repeated because memory ran out
        baseline_scores.index_add_(0, rows, target.score(output, rows, clean=False).cpu().double() / copies)
    scores = torch.tensor([float(score or 0.0) for score in target.scores], dtype=torch.float64, device="cpu")
    rule_notes = {"rules": result.rule_logs[0].rule_counts(), **operation_notes(result)}
    if not multiply_by_inputs:
        return result.multiplier, [rule_notes for _ in range(len(images))]
    contributions = result.relevance if layer is None else result.at_layer(layer)
    return contributions, [
        {**note, **rule_notes} for note in completeness_notes(contributions, scores, baseline_scores)
    ]
