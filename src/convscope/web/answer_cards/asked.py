"""What a person asks to have explained: whether the network has it, and what it answers of a class that is not among
its best."""

from dataclasses import replace
from typing import TYPE_CHECKING

from convscope.engine.targets.target import aim_at
from convscope.errors import ConvScopeError, OutputError
from convscope.values import Prediction
from convscope.web.assets import Library
from convscope.web.jobs.waiting import aside
from convscope.web.url_state import View

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

ALL = 1000
"""So many answers are asked for, the most that the lens lists, where one is looked for that is not among the best."""


def class_asked(library: Library, view: View) -> int | None:
    """The number of the class that a view asks for; None where it asks for none, for a difference or for a unit.

    Raises:
        ConvScopeError: the network has no such class, layer or unit, or cannot be opened.
    """
    if not view.target:
        return None
    index = aim_at(view.target, library.model(view.model), 1).index_of(0)
    return None if index is None or index < 0 else index


async def refusal(place: "Place", view: View) -> str:
    """Why what a view asks for cannot be explained, before any lens is run for it; empty where it can."""
    library = place.bench.library
    try:
        index = await aside(class_asked, library, view)
        if index is not None and (await aside(library.model, view.model)).labels is None:
            every = await every_answer(place, view)  # only a run tells how many classes there are
            if every is not None and len(every.indices) < ALL and index not in every.indices:
                raise OutputError(f"class {index} is out of range: the output has {len(every.indices)} classes")
    except ConvScopeError as error:
        return str(error)
    return ""


async def with_asked(place: "Place", found: Prediction, view: View) -> tuple[Prediction, int | None]:
    """An answer with the class that is asked for, where that is not among the best; and the number of that class."""
    try:
        index = await aside(class_asked, place.bench.library, view)
    except ConvScopeError:
        return found, None  # which is said where it was asked
    if index is None or index in found.indices:
        return found, index
    every = await every_answer(place, view)
    if every is None or index not in every.indices:
        return found, index  # one of more classes than are listed
    at = every.indices.index(index)
    more = replace(
        found,
        labels=(*found.labels, every.labels[at]),
        indices=(*found.indices, index),
        confidences=(*found.confidences, *every.confidences[at : at + 1]),
        scores=(*found.scores, every.scores[at]),
    )
    return more, index


async def every_answer(place: "Place", view: View) -> Prediction | None:
    """The network's answer with all its classes; None where it has none."""
    found = await place.look(View(lens="predict", model=view.model, image=view.image, parameters={"top": ALL}))
    return found if isinstance(found, Prediction) else None
