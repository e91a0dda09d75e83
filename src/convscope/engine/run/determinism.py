"""Checks whether a network gives the same score to the same image twice."""

from typing import Any

import torch

from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.context.run_context import current
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import score
from convscope.engine.targets.target import Target
from convscope.values.facts import Fact

_TOLERANCE = 1e-3
"""The largest relative difference of two scores of one image that rounding explains."""


def note_determinism_check() -> None:
    """Note that the same input was scored several times, so that another check is unnecessary."""
    current().observations.determinism_checked = True


def scored_again(model: Model, images: Images, target: Target) -> list[dict[str, Any]]:
    """Notes from one more forward pass of the unchanged images, whose scores are known."""
    before = [float(known or 0.0) for known in target.scores]
    after = list(before)

    def step(rows: torch.Tensor) -> None:
        with torch.no_grad():
            scores = score(model, model.input_copy(rows_of(images.tensor, rows)), target, rows, clean=False)
        after[int(rows[0]) : int(rows[-1]) + 1] = scores.tolist()

    in_chunks(len(images), images.tensor[0], step, light=True, quiet=True)
    note_determinism_check()
    notes: list[dict[str, Any]] = []
    for first, second in zip(before, after, strict=True):
        differs = abs(first - second) > _TOLERANCE * max(abs(first), abs(second))
        note = Fact(
            "the same image scored {first}, then {second}: the network draws at random",
            first=f"{first:.6g}",
            second=f"{second:.6g}",
        )
        notes.append({"nondeterministic": note} if differs else {})
    return notes
