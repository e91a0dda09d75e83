"""Maps that are kept beside each other, whatever is looked at next; those of one lens share a scale."""

from html import escape
from typing import TYPE_CHECKING

from nicegui import background_tasks, ui

from convscope import render
from convscope.render.scale import scale_of
from convscope.values import Attribution
from convscope.web.gallery.card import CROSS, small_button
from convscope.web.panels.attribution import figure
from convscope.web.waiting import aside

if TYPE_CHECKING:
    from convscope.web.frame import Place


class Pins:
    """The pinned maps, drawn where this is made."""

    def __init__(self, place: "Place") -> None:
        self.place = place
        self.values: list[Attribution] = []
        self._box = ui.element("section").classes("main-part")

    def add(self, value: Attribution) -> None:
        """Keep a map."""
        if not any(one is value for one in self.values):
            self.values.append(value)
            background_tasks.create(self._draw())

    def drop(self, value: Attribution) -> None:
        """Let go of a map."""
        self.values = [one for one in self.values if one is not value]
        background_tasks.create(self._draw())

    async def _draw(self) -> None:
        values, say = list(self.values), self.place.say
        figures = await aside(self._figures, values)
        if self.place.client.is_deleted:
            return
        self._box.clear()
        if not values:
            return
        with self._box:
            ui.html(escape(say("Pinned")), sanitize=False, tag="h2")
            shared = say("Maps of one lens share one scale here: compare strengths as well as places.")
            ui.label(shared).classes("small")
            with ui.element("div").classes("gallery"):
                for value, drawn in zip(values, figures, strict=True):
                    self._card(value, drawn)

    def _card(self, value: Attribution, drawn: str) -> None:
        with ui.element("article").classes("card").props("data-pinned"):
            with ui.element("div").classes("card-head"):
                ui.html(escape(self.place.say(value.record.title)), sanitize=False, tag="h4").style("flex: 1")
                small_button(CROSS, self.place.say("Take away"), lambda: self.drop(value))
            ui.html(drawn, sanitize=False)
            ui.label(f"{self.place.say(render.subject(value))} · {render.short(value.record.input)}").classes("small")

    def _figures(self, values: list[Attribution]) -> list[str]:
        by_lens = {
            value.record.lens: [one for one in values if one.record.lens == value.record.lens] for value in values
        }
        limits = {lens: scale_of(alike).limit or None for lens, alike in by_lens.items()}
        return [figure(value, self.place, limit=limits[value.record.lens]) for value in values]
