"""One network on one image, as Compare puts it beside others."""

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from typing import TYPE_CHECKING

from nicegui import ui

from convscope import render
from convscope.errors import ConvScopeError
from convscope.values import Attribution, Prediction, Value
from convscope.web import panels
from convscope.web.jobs.waiting import aside
from convscope.web.panels.attribution import figure, lies_over_photo, own_notes
from convscope.web.panels.prediction import bars
from convscope.web.url_state import View

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

CLASSES = 3
"""So many answers stand under each map."""


@dataclass
class Cell:
    """One network on one image: what the lens found, what the network answers, or why there is nothing."""

    view: View
    title: str
    value: Attribution | None = None
    answer: Prediction | None = None
    error: str = ""

    async def look(self, place: "Place") -> None:
        """Have the network answer and the lens look; whatever is refused is said in its place."""
        try:
            asked = View(lens="predict", model=self.view.model, image=self.view.image)
            answer, value = await asyncio.gather(place.look(asked), place.look(self.view))
        except ConvScopeError as error:
            self.error = str(error)
            return
        self.answer = answer if isinstance(answer, Prediction) else None
        self.value = value if isinstance(value, Attribution) else None
        self.error = value if isinstance(value, str) else ""

    def show(self, html: str, place: "Place", limit: float | None = None) -> None:
        """Draw the card.

        Args:
            html: the map over its photo; empty where it has none.
            limit: the magnitude at the end of the scale that the cells share.
        """
        with ui.element("article").classes("card").mark("cell") as card:
            card.props["aria-label"] = self.title
            ui.html(escape(self.title), tag="h2", sanitize=False)
            if self.value is None:
                with ui.element("div").classes("refusal").props('role="note"'):
                    ui.label(self.error or place.say("Stopped."))
            elif html:
                ui.html(html, sanitize=False)
            else:
                panels.show(self.value, place)
            if self.value is not None:
                ui.label(place.say(render.subject(self.value))).classes("small")
                own_notes(self.value, place, limit=limit)
            if self.answer is not None:
                bars(_first(self.answer), place, chosen=None if self.value is None else self.value.target_index)


async def over_photo(
    value: Value | None, place: "Place", limit: float | None, ends: tuple[str, str] | None = None
) -> str:
    """A map over its photo as HTML, on a scale that ends at ``limit``; empty for what lies over no photo."""
    if not isinstance(value, Attribution) or not lies_over_photo(value):
        return ""
    drawn: str = await aside(partial(figure, value, place, limit=limit, ends=ends))
    return drawn


def _first(answer: Prediction) -> Prediction:
    """The best few classes of an answer."""
    cut = {name: getattr(answer, name)[:CLASSES] for name in ("labels", "indices", "confidences", "scores")}
    return replace(answer, **cut)
