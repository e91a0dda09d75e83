"""Maps that the user pins for comparison with later ones; maps of one lens share a scale."""

from collections.abc import Callable, Iterable
from functools import partial
from html import escape

from nicegui import background_tasks, ui

from convscope import render
from convscope.catalogue import find
from convscope.errors import UnknownName
from convscope.render.joint_attribution import shared_limit
from convscope.values import Attribution, JointAttribution
from convscope.web.frame.page_context import PageContext
from convscope.web.jobs.async_wait import run_in_thread
from convscope.web.page_parts.parameter_form import parameter_texts
from convscope.web.page_parts.thumbnails import image_title
from convscope.web.pages.look.card import CLOSE_ICON, small_button
from convscope.web.panels.attribution import has_overlay, map_figure
from convscope.web.requests.url_state import View

MAX_PINNED = 12
"""Pinned maps, at most; the link names each of them."""
Maps = Attribution | JointAttribution
"""What can be pinned: the map of one input, or those of several."""


class PinnedMaps:
    """The pinned maps, placed where this is constructed.

    Args:
        on_change: called with the queries of all pinned maps, in order, for the link.
    """

    def __init__(self, context: PageContext, on_change: Callable[[tuple[str, ...]], object]) -> None:
        self.context, self.on_change = context, on_change
        self.entries: dict[str, Maps | str] = {}
        self._box = ui.element("section").classes("main-part")

    def add(self, view: View, value: Maps) -> None:
        """Pin the map of a view; beyond `MAX_PINNED` the oldest one is removed."""
        self.entries[view.query()] = value
        for query in list(self.entries)[:-MAX_PINNED]:
            del self.entries[query]
            self.context.show_error(
                self.context.tr("At most {most} maps can be pinned: the oldest one was removed.", most=MAX_PINNED)
            )
        self._changed()

    def remove(self, query: str) -> None:
        """Remove a map."""
        self.entries.pop(query, None)
        self._changed()

    async def restore(self, queries: Iterable[str]) -> None:
        """Compute the maps that a link has pinned; those that fail show their errors."""
        pinned = list(dict.fromkeys(queries))
        if len(pinned) > MAX_PINNED:
            words = "The link pins {count} maps; the first {most} are shown."
            self.context.show_error(self.context.tr(words, count=len(pinned), most=MAX_PINNED))
        for query in pinned[:MAX_PINNED]:
            value = await self.context.run(View.parse(query))
            if self.context.client.is_deleted or not isinstance(value, (str, Maps)):
                continue
            self.entries[query] = value
            await self._draw()

    def _changed(self) -> None:
        self.on_change(tuple(self.entries))
        background_tasks.create(self._draw())

    async def _draw(self) -> None:
        entries, tr = dict(self.entries), self.context.tr
        figures = await run_in_thread(self._figures, entries)
        if self.context.client.is_deleted or list(entries) != list(self.entries):
            return  # a later call draws the entries that were added or removed meanwhile
        self._box.clear()
        if not entries:
            return
        with self._box:
            ui.html(escape(tr("Pinned")), sanitize=False, tag="h2")
            hint = tr("Maps of the same lens share one scale here, so that their magnitudes can be compared.")
            ui.label(hint).classes("small")
            with ui.element("div").classes("gallery"):
                for query, value in entries.items():
                    self._card(query, value, figures.get(query, ""))

    def _card(self, query: str, value: Maps | str, html: str) -> None:
        is_wide = isinstance(value, Maps) and not has_overlay(value)
        with ui.element("article").classes("card wide" if is_wide else "card").props("data-pinned"):
            with ui.element("div").classes("card-head"):
                ui.html(escape(self._title(query)), sanitize=False, tag="h3").style("flex: 1")
                small_button(CLOSE_ICON, self.context.tr("Remove"), partial(self.remove, query))
            if isinstance(value, str):
                ui.label(value).classes("refusal").props('role="note"')
            else:
                ui.html(html, sanitize=False)
                ui.label(self._caption(View.parse(query), value)).classes("small").mark("caption")
                for note in (note for note in render.notes(value) if note.warning):
                    ui.label(self.context.tr(note.text)).classes("warning").props('role="note"')

    def _caption(self, view: View, value: Maps) -> str:
        """The caption of a pinned map: its target, the network, the image, and the changed parameters."""
        library = self.context.services.library
        parameters = parameter_texts(value.record, view.parameters, self.context.lang)
        network = library.names(view.model)[library.address(view.model)]
        parts = [self.context.tr(render.subject(value)), network, image_title(library, view.image)]
        return " · ".join([*parts, *([self.context.tr(", ").join(parameters)] if parameters else [])])

    def _title(self, query: str) -> str:
        name = View.parse(query).lens
        try:
            return self.context.tr(find(name).title)
        except UnknownName:
            return name

    def _figures(self, entries: dict[str, Maps | str]) -> dict[str, str]:
        maps = {query: value for query, value in entries.items() if isinstance(value, Maps)}
        lenses = {value.record.lens for value in maps.values()}
        by_lens = {lens: [value for value in maps.values() if value.record.lens == lens] for lens in lenses}
        limits = {lens: shared_limit(group) for lens, group in by_lens.items()}
        return {
            query: map_figure(value, self.context, limit=limits[value.record.lens]) for query, value in maps.items()
        }
