"""The pictures that were drawn, hung beside each other; which they are is remembered by the tab."""

from collections.abc import Callable, MutableMapping
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from nicegui import app, ui

from convscope import render
from convscope.catalogue import find
from convscope.errors import ConvScopeError
from convscope.values import Value
from convscope.web import panels
from convscope.web.buttons import button
from convscope.web.export import endings, file_of, name_of
from convscope.web.forms import in_words, said_of
from convscope.web.jobs.job import Job
from convscope.web.run_request import key_of
from convscope.web.url_state import View

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

KEPT = 24
"""Pictures beyond this number leave the gallery, the oldest first."""


class Gallery:
    """Cards of what was drawn, drawn where this is made.

    Args:
        changed: called when a card came or went.
    """

    def __init__(self, place: "Place", changed: Callable[[], object]) -> None:
        self.place, self.changed = place, changed
        self.cards: dict[str, ui.element] = {}
        self._remembered: MutableMapping[str, Any] = {}
        self._box = ui.element("div").classes("drawn")
        self._box.props(f'aria-label="{escape(place.say("Drawn in this session"))}"')

    def keep(self, view: View, job: Job) -> None:
        """Hang what a job gave, and have the tab remember it."""
        assert job.value is not None, "only what was drawn is hung"
        key = job.key if not job.stopping else f"{job.key}\nstopped in job {job.id}"
        self.place.bench.jobs.results.put(key, job.value)
        kept = self._kept()
        kept[:] = [[key, view.query()], *(one for one in kept if one[0] != key)][:KEPT]
        self._hang(key, view, job.value)

    def recall(self, view: View) -> None:
        """Hang what the tab remembers and memory still holds, and what a view shows where it was drawn before."""
        if not self.place.client.has_socket_connection:
            return  # the tab is closed already
        self._remembered = app.storage.tab  # kept, for it cannot be had while the connection is lost for a moment
        results = self.place.bench.jobs.results
        for key, query in list(self._kept()):
            value = results.get(key)
            if value is not None:
                self._hang(key, View.read(query), value, last=True)
        try:
            key = key_of(self.place.bench.library, view)
        except ConvScopeError:
            return
        found = results.get(key)
        if found is not None and key not in self.cards:
            self._hang(key, view, found)

    def _hang(self, key: str, view: View, value: Value, *, last: bool = False) -> None:
        """A card for one value, before all others; a value that hangs already moves to the front."""
        if key in self.cards:
            self.cards.pop(key).delete()
        with self._box:
            card = ui.element("article").classes("card").mark("result")
        if not last:
            card.move(target_index=0)
        self.cards[key] = card
        with card:
            self._head(key, view, value)
            panels.show(value, self.place)
            self._facts(view, value)
        self.changed()

    def _head(self, key: str, view: View, value: Value) -> None:
        """What it is, and what can be done with it."""
        say = self.place.say
        about = " · ".join(map(say, dict.fromkeys(getattr(value, "words", ()) or [render.subject(value)])))
        with ui.element("div").classes("row-of"):
            ui.html(f"{escape(say(find(view.lens).title))} · {escape(about)}", tag="h2", sanitize=False)
            with ui.element("div").classes("row-of end"):
                for ending in (one for one in endings(value) if one != ".json"):
                    name = ending.removeprefix(".").upper()
                    wanted = partial(self._download, value, ending)
                    button(name, wanted, style="plain", name=f"{say('Download')} {name}").mark(f"get{ending}")
                ui.link(say("Link"), self.place.link(view)).classes("button plain")
                button(say("Remove"), partial(self._remove, key), style="plain").mark("remove")

    def _facts(self, view: View, value: Value) -> None:
        """How it was made, in one line."""
        lang, record = self.place.lang, value.record
        given = [
            f"{in_words(name, lang)} {said_of(record, name, lang)}"
            for name in view.parameters
            if name in record.parameters
        ]
        facts = [
            str(record.model.get("name", "")),
            render.short(record.input),
            self.place.say(", ").join(given),
            self.place.say(str(record.cost)),
        ]
        ui.label(" · ".join(filter(None, facts))).classes("small")

    async def _download(self, value: Value, ending: str) -> None:
        await self.place.hand_over(partial(file_of, value, ending), name_of(value, ending))

    def _remove(self, key: str) -> None:
        kept = self._kept()
        kept[:] = [one for one in kept if one[0] != key]
        self.cards.pop(key).delete()
        self.changed()

    def _kept(self) -> list[list[str]]:
        """Keys and links of what hangs, the newest first, as the tab remembers them."""
        if "learned" not in self._remembered:
            self._remembered["learned"] = []
        found: list[list[str]] = self._remembered["learned"]
        return found
