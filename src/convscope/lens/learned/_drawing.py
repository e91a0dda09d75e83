"""What lenses that draw have in common: their parameters, and many images drawn over in batches."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

from torch import Tensor

from convscope.engine.context.chunking import in_chunks
from convscope.engine.context.metering import progress_of_part, reporting
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.optimize.loop import Ascent, joined
from convscope.engine.run.gradients import gather_evidence
from convscope.spec import Param

Frames = Annotated[int, Param(help="pictures on the way to keep, for a .gif", min=0, max=200)]
Rate = Annotated[float, Param(help="how far a step goes", min=1e-4, max=10)]
Seed = Annotated[int, Param(help="of everything that is drawn at random", min=0, max=2**31 - 1)]
Steps = Annotated[int, Param(help="steps of the optimisation", min=1, max=100_000)]


def seen_at(model: Model, images: Images, layers: Sequence[str]) -> dict[str, Tensor]:
    """What layers give for images (N, C, …): what is to be drawn, so that there is no progress to report yet."""
    with reporting(None):
        evidence = gather_evidence(model, images.tensor, None, layers)
    return {address: evidence[address].activation for address in layers}


def drawn_over(images: Images, draw: Callable[[Tensor], Sequence[Ascent]]) -> list[Ascent]:
    """For each image the pictures drawn of it.

    Args:
        draw: given the numbers of a few images, draws one picture or several of each: for each kind of picture, a
            climb with one picture per image.
    """
    found: list[Ascent] = []

    def step(rows: Tensor) -> None:
        with progress_of_part(int(rows[0]) // len(rows), math.ceil(len(images) / len(rows))):
            kinds = draw(rows)
        found.extend(joined([one_of(kind, place) for kind in kinds]) for place in range(len(rows)))

    in_chunks(len(images), images.tensor[0], step, quiet=True)
    return found


def for_each(layers: Sequence[str], climb_to: Callable[[str], Ascent]) -> list[Ascent]:
    """A climb for every layer, each an equal part of the run."""
    found = []
    for place, address in enumerate(layers):
        with progress_of_part(place, len(layers)):
            found.append(climb_to(address))
    return found


def one_of(ascent: Ascent, place: int) -> Ascent:
    """One picture of a climb of several."""
    own = slice(place, place + 1)
    return replace(
        ascent,
        pictures=ascent.pictures[own],
        scores=ascent.scores[own],
        reached=ascent.reached[own],
        best=ascent.best[own],
        importance=ascent.importance[own],
        frames=ascent.frames[:, own],
        notes=ascent.notes[own],
    )
