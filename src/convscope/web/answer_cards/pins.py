"""Maps that are kept beside each other, whatever is looked at next; those of one lens share a scale."""

from collections.abc import Callable, Iterable
from functools import partial
from html import escape
from typing import TYPE_CHECKING

from nicegui import background_tasks, ui

from convscope import render
from convscope.catalogue import find
from convscope.errors import UnknownName
from convscope.render.scale import scale_of
from convscope.values import Attribution
from convscope.web.answer_cards.card import CROSS, small_button
from convscope.web.forms import in_words, said_of
from convscope.web.jobs.waiting import aside
from convscope.web.panels.attribution import figure, lies_over_photo
from convscope.web.pictures import called
from convscope.web.url_state import View

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

MOST = 12
"""So many maps are kept; a link must not grow without end."""


class Pins:
    """The pinned maps, drawn where this is made.

    Args:
        changed: told the queries of all that is pinned, in their order, which the link carries.
    """

    def __init__(self, place: "Place", changed: Callable[[tuple[str, ...]], object]) -> None:
        self.place, self.changed = place, changed
        self.kept: dict[str, Attribution | str] = {}
        self._box = ui.element("section").classes("main-part")

    def add(self, view: View, value: Attribution) -> None:
        """Keep the map that a view gave; beyond `MOST` the oldest goes."""
        self.kept[view.query()] = value
        for query in list(self.kept)[:-MOST]:
            del self.kept[query]
            self.place.complain(
                self.place.say("{most} maps are kept at most: the oldest one was taken away.", most=MOST)
            )
        self._update()

    def drop(self, query: str) -> None:
        """Let go of a map."""
        self.kept.pop(query, None)
        self._update()

    async def recall(self, queries: Iterable[str]) -> None:
        """Look once more at what a link has pinned; what can no longer be found says why."""
        pinned = list(dict.fromkeys(queries))
        if len(pinned) > MOST:
            words = "The link pins {count} maps; the first {most} are shown."
            self.place.complain(self.place.say(words, count=len(pinned), most=MOST))
        for query in pinned[:MOST]:
            found = await self.place.look(View.read(query))
            fits = isinstance(found, str) or (isinstance(found, Attribution) and lies_over_photo(found))
            if self.place.client.is_deleted or not fits:
                continue
            self.kept[query] = found  # type: ignore[assignment]
            await self._draw()

    def _update(self) -> None:
        self.changed(tuple(self.kept))
        background_tasks.create(self._draw())

    async def _draw(self) -> None:
        kept, say = dict(self.kept), self.place.say
        figures = await aside(self._figures, kept)
        if self.place.client.is_deleted:
            return
        self._box.clear()
        if not kept:
            return
        with self._box:
            ui.html(escape(say("Pinned")), sanitize=False, tag="h2")
            shared = say("Maps of one lens share one scale here: compare strengths as well as places.")
            ui.label(shared).classes("small")
            with ui.element("div").classes("gallery"):
                for query, found in kept.items():
                    self._card(query, found, figures.get(query, ""))

    def _card(self, query: str, found: Attribution | str, drawn: str) -> None:
        with ui.element("article").classes("card").props("data-pinned"):
            with ui.element("div").classes("card-head"):
                ui.html(escape(self._title(query)), sanitize=False, tag="h3").style("flex: 1")
                small_button(CROSS, self.place.say("Take away"), partial(self.drop, query))
            if isinstance(found, str):
                ui.label(found).classes("refusal").props('role="note"')
            else:
                ui.html(drawn, sanitize=False)
                ui.label(self._caption(View.read(query), found)).classes("small").mark("caption")
                for note in (note for note in render.notes(found) if note.warning):
                    ui.label(self.place.say(note.text)).classes("warning").props('role="note"')

    def _caption(self, view: View, value: Attribution) -> str:
        """What tells a pinned map from the others: what it explains, the network, the image, and what was set."""
        library, lang = self.place.bench.library, self.place.lang
        given = [
            f"{in_words(name, lang)} {said_of(value.record, name, lang)}"
            for name in view.parameters
            if name in value.record.parameters
        ]
        network = library.names(view.model)[library.address(view.model)]
        parts = [self.place.say(render.subject(value)), network, called(library, view.image)]
        return " · ".join([*parts, *([self.place.say(", ").join(given)] if given else [])])

    def _title(self, query: str) -> str:
        name = View.read(query).lens
        try:
            return self.place.say(find(name).title)
        except UnknownName:
            return name

    def _figures(self, kept: dict[str, Attribution | str]) -> dict[str, str]:
        maps = {query: found for query, found in kept.items() if isinstance(found, Attribution)}
        by_lens = {
            one.record.lens: [o for o in maps.values() if o.record.lens == one.record.lens] for one in maps.values()
        }
        limits = {lens: scale_of(alike).limit or None for lens, alike in by_lens.items()}
        return {query: figure(one, self.place, limit=limits[one.record.lens]) for query, one in maps.items()}
