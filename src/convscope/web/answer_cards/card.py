"""One card of a gallery: a lens, its picture, its form, what it cost, and what can be taken from it."""

import asyncio
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from nicegui import background_tasks, ui

from convscope import render
from convscope.errors import ConvScopeError
from convscope.reporting.reproduce import recipe
from convscope.spec import LensSpec
from convscope.values import Attribution, Value
from convscope.web import panels
from convscope.web.buttons import button
from convscope.web.downloads import downloads
from convscope.web.forms import in_words, parameter_form, said_of
from convscope.web.jobs.waiting import aside
from convscope.web.panels.attribution import figure, lies_over_photo, words
from convscope.web.stale import fresh, stale
from convscope.web.url_state import View

if TYPE_CHECKING:
    from convscope.web.jobs.job import Job
    from convscope.web.page_layout import Place

_ICON = '<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" fill="none" stroke="currentColor" '
PIN = f'{_ICON}stroke-width="1.4"><path d="M5.5 2h5M6.5 2v4.5L4 9.5h8L9.5 6.5V2M8 9.5V14.5"/></svg>'
CROSS = f'{_ICON}stroke-width="1.6" stroke-linecap="round"><path d="M4 4l8 8M12 4l-8 8"/></svg>'

PATIENCE = 0.4
"""Seconds after which a run says how far it is."""
EVERY = 0.1
"""Seconds until it says so again."""


class Card:
    """A lens in a gallery; ``looked`` is the view that it shows, and ``waits`` says whether another is on its way.

    Args:
        spec: the lens.
        given: its parameters that differ from the defaults, as the link carries them.
        told: asked for what the card cannot do alone.
    """

    def __init__(self, spec: LensSpec, given: dict[str, Any], place: "Place", told: "Told") -> None:
        self.spec, self.given, self.place, self.told = spec, given, place, told
        self.value: Value | None = None
        self.looked = View()
        self.error = ""
        self.limit: float | None = None
        self.waits = False
        self._turn = 0
        self._waiting: asyncio.Task[Job] | None = None
        self._draw()

    def leave(self) -> None:
        """Go, and leave whatever is looked at."""
        self._leave()
        self.box.delete()

    def run(self, view: View) -> None:
        """Have the lens look, in place of whatever it looks at now."""
        self._leave()
        self.mark_stale()
        background_tasks.create(self._run(view.but(lens=self.spec.name, parameters=self.given), self._turn))

    def mark_stale(self) -> None:
        """Show that the value that is seen belongs to an earlier choice."""
        self.waits = True
        stale(self.picture, self.said, self.made)

    def _leave(self) -> None:
        """Look away from what runs; it ends unless somebody else watches it."""
        self._turn += 1
        if self._waiting is not None:
            self._waiting.cancel()

    async def _run(self, view: View, turn: int) -> None:
        bench, client = self.place.bench, self.place.client
        try:
            job = bench.look(view)
        except ConvScopeError as error:
            await self._settle(None, str(error))
            return
        self._waiting = waiting = asyncio.create_task(self.place.wait(job))
        patience = PATIENCE
        while not (await asyncio.wait([waiting], timeout=patience))[0] and not client.is_deleted:
            self._tell(*job.progress)
            patience = EVERY
        if turn == self._turn and not client.is_deleted:
            self.looked = view
            await self._settle(job.value, job.error or self.place.say("Stopped."))

    def _tell(self, done: int, total: int) -> None:
        """How far a long run is."""
        self.progress.set_visibility(True)
        share = f'value="{done}" max="{total}"' if total else ""
        with self.progress:
            self.bar.set_content(f'<progress {share} aria-label="{escape(self.place.say("Running"))}"></progress>')

    async def _settle(self, value: Value | None, error: str) -> None:
        self.value, self.error, self.waits = value, "" if value else error, False
        self.told.settled(self)
        await self.show()

    async def show(self) -> None:
        """Show what was found, or why nothing was."""
        self.progress.set_visibility(False)
        drawn, value = None, self.value
        if isinstance(value, Attribution) and lies_over_photo(value):
            drawn = await aside(figure, value, self.place, limit=self.limit)
        if self.place.client.is_deleted:
            return
        if not self.waits:  # it may be drawn anew, on another scale, while it waits for its next value
            fresh(self.picture, self.said, self.made)
        self.picture.clear()
        with self.picture:
            if self.value is None:
                self._refusal()
            elif drawn is not None:
                ui.html(drawn, sanitize=False)
            else:
                panels.show(self.value, self.place)
        self._words()

    def _draw(self) -> None:
        say = self.place.say
        with ui.element("article").classes("card").props(f'aria-label="{escape(say(self.spec.title))}"') as self.box:
            with ui.element("div").classes("card-head"):
                choices = self.told.choices if self.spec in self.told.choices else [self.spec, *self.told.choices]
                names = {one.command: say(one.title) for one in choices}
                self.swap = swap = ui.select(
                    names, value=self.spec.command, on_change=lambda e: self.told.swap(self, e.value)
                )
                swap.props("borderless dense options-dense").mark("swap")
                swap.props(f'aria-label="{escape(say("Lens"))}" title="{escape(say(self.spec.title))}"')
                small_button(PIN, say("Pin, to compare"), lambda: self.told.pin(self))
                small_button(CROSS, say("Take away"), lambda: self.told.remove(self))
            ui.label(say(self.spec.asks)).classes("asks")
            with ui.element("div").classes("in-place"):
                self.picture = ui.element("div").classes("picture")
                with self.picture:
                    ui.element("div").classes("empty-map")
                self.progress = ui.element("div").classes("row-of how-far")
                with self.progress:
                    self.bar = ui.html("", sanitize=False).style("flex: 1")
                    button(say("Stop"), self.stop)
                self.progress.set_visibility(False)
            self.said = ui.element("div").classes("main-part").style("gap: 8px")
            if self.spec.options:
                with ui.element("details"):
                    ui.html(escape(say("Parameters")), sanitize=False, tag="summary")
                    parameter_form(self.spec, self.given, self._changed, self.place.lang)
            self.made = ui.element("details")
            self.made.set_visibility(False)

    def stop(self) -> None:
        """Stop a long run; what was shown before stays away."""
        self._leave()
        background_tasks.create(self._settle(None, self.place.say("Stopped.")))

    def _changed(self, name: str, value: Any) -> None:
        self.given = {key: kept for key, kept in self.given.items() if key != name}
        if value is not None:
            self.given[name] = value
        self.told.changed(self)

    def _words(self) -> None:
        say, value = self.place.say, self.value
        self.said.clear()
        self.made.clear()
        self.made.set_visibility(value is not None)
        if value is None:
            return
        with self.said:
            ui.label(say(render.subject(value))).classes("small")
            if lies_over_photo(value):
                words(value, self.place, limit=self.limit)
        with self.made:
            made = f"{say('How it was made')} · {say(str(value.record.cost))}"
            ui.html(escape(made), sanitize=False, tag="summary")
            ui.html(_facts(value, self.place), sanitize=False)
            downloads(value, self.place)

    def _refusal(self) -> None:
        say = self.place.say
        with ui.element("div").classes("refusal").props('role="note"'):
            ui.label(say("No map from this lens")).classes("label")
            ui.label(self.error)
            self.instead = ui.element("div").classes("main-part").style("gap: 8px")
        self.told.advise(self)

    def suggest(self, fitting: list[tuple[str, str]]) -> None:
        """Name lenses that do fit; each is a button that puts it here."""
        self.instead.clear()
        with self.instead:
            ui.label(self.place.say("Lenses that fit this network")).classes("label")
            with ui.element("div").classes("chips"):
                for command, title in fitting:
                    chip = ui.html(escape(title), sanitize=False, tag="button").classes("chip").props("type=button")
                    chip.on("click", lambda command=command: self.told.swap(self, command))


class Told:
    """What a gallery does for its cards."""

    choices: list[LensSpec]

    def settled(self, card: Card) -> None:
        """A card has its value, or the reason why there is none."""

    def changed(self, card: Card) -> None:
        """Its parameters are others now."""

    def swap(self, card: Card, lens: str) -> None:
        """Another lens is to stand in its place."""

    def pin(self, card: Card) -> None:
        """Its picture is to be kept."""

    def remove(self, card: Card) -> None:
        """It is to go."""

    def advise(self, card: Card) -> None:
        """It was refused: say what fits."""


def small_button(sign: str, text: str, on_click: Callable[[], Any]) -> None:
    made = ui.html(sign, sanitize=False, tag="button").classes("button plain")
    made.props(f'type=button aria-label="{escape(text)}" title="{escape(text)}"').on("click", on_click)


def _facts(value: Value, place: "Place") -> str:
    """Where a value comes from, and the line that makes it again."""
    record = value.record
    rows = [(place.say("model"), record.model.get("source", "")), (place.say("input"), render.short(record.input))]
    rows += [(in_words(name, place.lang), said_of(record, name, place.lang)) for name in record.parameters]
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(said))}</dd>" for name, said in rows if said)
    made = recipe(record)
    again = escape(made.shell or f"{made.opening}\n{made.call}")
    head = escape(place.say("Again") + place.say(": "))
    return f'<dl class="facts">{listed}</dl><p class="small">{head}</p><pre>{again}</pre>'
