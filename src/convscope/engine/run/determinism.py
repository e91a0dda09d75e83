"""Whether a network gives the same image the same score twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from convscope.engine.context.chunking import in_chunks, of_chunk
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import score
from convscope.engine.targets.target import Aim

_SAME = 1e-3
"""How far two scores of one image may be apart, relative to the larger: rounding, and nothing more."""


_looked: ContextVar[list[bool] | None] = ContextVar("looked", default=None)


@contextmanager
def looked_for() -> Iterator[list[bool]]:
    """Learn whether it was looked for within; then the list is not empty."""
    looks: list[bool] = []
    token = _looked.set(looks)
    try:
        yield looks
    finally:
        _looked.reset(token)


def looked() -> None:
    """Say that it has been looked for: a run that scores the image several times anyway need not do so once more."""
    if (looks := _looked.get()) is not None:
        looks.append(True)


def scored_again(model: Model, images: Images, aim: Aim) -> list[dict[str, Any]]:
    """Notes from one more forward of the images as they are, whose scores are known."""
    before = [float(known or 0.0) for known in aim.scores]
    after = list(before)

    def step(rows: torch.Tensor) -> None:
        with torch.no_grad():
            found = score(model, model.laid_out(of_chunk(images.tensor, rows)), aim, rows, clean=False)
        after[int(rows[0]) : int(rows[-1]) + 1] = found.tolist()

    in_chunks(len(images), images.tensor[0], step, light=True, quiet=True)
    looked()
    notes: list[dict[str, Any]] = []
    for first, second in zip(before, after, strict=True):
        said = f"the same image scored {first:.6g}, then {second:.6g}: the network draws at random"
        notes.append({"nondeterministic": said} if abs(first - second) > _SAME * max(abs(first), abs(second)) else {})
    return notes
