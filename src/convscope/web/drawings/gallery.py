"""The gallery of finished pictures; the browser tab stores which ones it shows."""

from collections.abc import Callable, MutableMapping
from functools import partial
from html import escape
from typing import Any

from nicegui import app, ui

from convscope import render
from convscope.catalogue import find
from convscope.errors import ConvScopeError
from convscope.values import Value
from convscope.web import panels
from convscope.web.buttons import button
from convscope.web.export import file_bytes, file_name, file_suffixes
from convscope.web.forms import parameter_texts
from convscope.web.jobs.job import Job
from convscope.web.page_context import PageContext
from convscope.web.run_request import cache_key
from convscope.web.url_state import View

MAX_CARDS = 24
"""Pictures in the gallery, at most; the oldest are dropped."""


class DrawnGallery:
    """Cards of finished pictures, placed where this is constructed.

    Args:
        on_change: called when a card is added or removed.
    """

    def __init__(self, context: PageContext, on_change: Callable[[], object]) -> None:
        self.context, self.on_change = context, on_change
        self.cards: dict[str, ui.element] = {}
        self._tab_storage: MutableMapping[str, Any] = {}
        self._box = ui.element("div").classes("drawn")
        self._box.props(f'aria-label="{escape(context.tr("Pictures of this session"))}"')

    def add(self, view: View, job: Job) -> None:
        """Add the result of a job, and store it in the tab."""
        assert job.value is not None, "only finished pictures are added"
        key = job.key if not job.stop_requested else f"{job.key}\nstopped in job {job.id}"
        self.context.services.jobs.results.put(key, job.value)
        entries = self._stored_entries()
        entries[:] = [[key, view.query()], *(entry for entry in entries if entry[0] != key)][:MAX_CARDS]
        self._add_card(key, view, job.value)

    def restore(self, view: View) -> None:
        """Add the pictures stored in the tab that are still cached, and the cached picture of a view."""
        if not self.context.client.has_socket_connection:
            return  # the tab is closed already
        self._tab_storage = app.storage.tab  # stored here, since it is unavailable while the connection is lost
        results = self.context.services.jobs.results
        for key, query in list(self._stored_entries()):
            value = results.get(key)
            if value is not None:
                self._add_card(key, View.parse(query), value, last=True)
        try:
            key = cache_key(self.context.services.library, view)
        except ConvScopeError:
            return
        value = results.get(key)
        if value is not None and key not in self.cards:
            self._add_card(key, view, value)

    def _add_card(self, key: str, view: View, value: Value, *, last: bool = False) -> None:
        """Add a card for a value in front of the others; an existing card of the value is replaced."""
        if key in self.cards:
            self.cards.pop(key).delete()
        with self._box:
            card = ui.element("article").classes("card").mark("result")
        if not last:
            card.move(target_index=0)
        self.cards[key] = card
        with card:
            self._draw_head(key, view, value)
            panels.show(value, self.context)
            self._draw_facts(view, value)
        self.on_change()

    def _draw_head(self, key: str, view: View, value: Value) -> None:
        """Add the title and the buttons of a card."""
        tr = self.context.tr
        subject = " · ".join(map(tr, dict.fromkeys(getattr(value, "words", ()) or [render.subject(value)])))
        with ui.element("div").classes("row-of"):
            ui.html(f"{escape(tr(find(view.lens).title))} · {escape(subject)}", tag="h2", sanitize=False)
            with ui.element("div").classes("row-of end"):
                for suffix in (other for other in file_suffixes(value) if other != ".json"):
                    name = suffix.removeprefix(".").upper()
                    download = partial(self._download, value, suffix)
                    button(name, download, style="plain", name=f"{tr('Download')} {name}").mark(f"get{suffix}")
                ui.link(tr("Link"), self.context.link(view)).classes("button plain")
                button(tr("Remove"), partial(self._remove, key), style="plain").mark("remove")

    def _draw_facts(self, view: View, value: Value) -> None:
        """Add one line about how the picture was made."""
        record = value.record
        parameters = parameter_texts(record, view.parameters, self.context.lang)
        facts = [
            str(record.model.get("name", "")),
            render.short_name(record.input),
            self.context.tr(", ").join(parameters),
            self.context.tr(record.cost.describe()),
        ]
        ui.label(" · ".join(filter(None, facts))).classes("small")

    async def _download(self, value: Value, suffix: str) -> None:
        await self.context.download(partial(file_bytes, value, suffix), file_name(value, suffix))

    def _remove(self, key: str) -> None:
        entries = self._stored_entries()
        entries[:] = [entry for entry in entries if entry[0] != key]
        self.cards.pop(key).delete()
        self.on_change()

    def _stored_entries(self) -> list[list[str]]:
        """Keys and queries of the cards as the tab stores them, the newest first."""
        if "learned" not in self._tab_storage:
            self._tab_storage["learned"] = []
        entries: list[list[str]] = self._tab_storage["learned"]
        return entries
