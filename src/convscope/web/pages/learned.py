"""What the network has learned: a unit, an image or a style is asked for, and the picture is watched as it is drawn.

The lenses are those of the family *learned*; each brings its own form. Pictures of this session stay in a gallery,
within the bound of memory of all results; which they are is remembered by the tab.
"""

import asyncio
from collections.abc import MutableMapping
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import app, background_tasks, ui

from convscope import render
from convscope.catalogue import find, lenses
from convscope.engine.ascent.pictures import shown
from convscope.errors import ConvScopeError
from convscope.spec import INPUTS, LensSpec
from convscope.values import Value
from convscope.web import panels
from convscope.web.buttons import button
from convscope.web.curves import curves
from convscope.web.files import endings, file_of, name_of
from convscope.web.forms import in_words, parameter_form, said_of
from convscope.web.jobs.job import Job
from convscope.web.jobs.waiting import aside
from convscope.web.links import say_what_is_amiss, wrong_lenses, wrong_names
from convscope.web.looking import key_of
from convscope.web.pages import page
from convscope.web.panels.pictures import tiles
from convscope.web.pictures import thumbnail
from convscope.web.suggesting import several, suggesting, suggestions
from convscope.web.view import View

if TYPE_CHECKING:
    from convscope.web.frame import Place

FAMILY = "learned"
EVERY = 0.25
"""Seconds between two looks at a picture that is being drawn."""
KEPT = 24
"""Pictures beyond this number leave the gallery, the oldest first."""
OFFERED = 8
"""So many units are offered to begin with."""
PICTURES = {"image": "Image", "style": "Style", "guide": "Guide"}
"""The inputs that are pictures, and what their fields are called."""


@page("/learned", "Learned", order=3)
async def learned(view: View, place: "Place") -> None:
    """A form on one side, the picture that is being drawn and the gallery on the other."""
    studio = Studio(view, place)
    ui.html(f'<h1 class="page-title">{escape(place.say("Learned"))}</h1>', sanitize=False)
    say_what_is_amiss(wrong_lenses(view, studio.family(), place) + wrong_names(view, place))
    with ui.element("div").classes("look"):
        with ui.element("div").classes("side"):
            studio.form()
        with ui.element("div").classes("main-part"):
            studio.stage()
    ui.timer(0.01, studio.recall, once=True)  # the tab is known once the browser has connected


class Studio:
    """One open page: what is asked for, what is being drawn, what was drawn."""

    def __init__(self, view: View, place: "Place") -> None:
        self.place = place
        self.view = self._fitted(view)
        self.job: Job | None = None
        self.waiting: asyncio.Task[Job] | None = None
        self.remembered: MutableMapping[str, Any] = {}
        self.cards: dict[str, ui.element] = {}

    @property
    def spec(self) -> LensSpec:
        """The lens that was chosen."""
        return find(self.view.lens)

    # --- the form

    @ui.refreshable_method  # type: ignore[untyped-decorator]
    def form(self) -> None:
        """Lens, model, what the lens takes, its parameters, and the button that begins."""
        say, spec = self.place.say, self.spec
        with ui.element("div").classes("box"):
            titles = {one.command: say(one.title) for one in lenses() if one.family == FAMILY}
            self._select("Lens", titles, spec.command, self._other_lens).mark("lens")
            ui.label(say(spec.asks)).classes("asks")
            if "model" in spec.inputs:
                names = self.place.bench.library.names(self.view.model)
                self._select("Model", names, self.view.model or next(iter(names)), self._other_model).mark("model")
            for name in (one for one in INPUTS if one in spec.inputs):
                self._input(name)
        self.begin = button(say("Draw"), self.draw, style="main wide").mark("draw")
        with ui.element("div").classes("box"), ui.element("details"):
            ui.html(escape(say("Parameters")), tag="summary", sanitize=False)
            parameter_form(spec, self.view.parameters, self._parameter, self.place.lang)

    def _input(self, name: str) -> None:
        """One input of the lens as a field."""
        say = self.place.say
        if name in PICTURES:
            needed = name in self.spec.required
            choices = {} if needed else {"": say("none")}
            choices |= {one.key: one.name for one in self.place.bench.library.images()}
            chosen = getattr(self.view, name)
            with ui.element("div").classes("with-picture"):
                if chosen:
                    self._thumbnail(chosen)
                field = self._select(PICTURES[name], choices, chosen, lambda v, name=name: self._set(True, **{name: v}))
                field.mark(name)
        elif name == "images":
            collections = self.place.bench.library.collections()
            self._select("Images", collections, self.view.images, lambda v: self._set(False, images=v)).mark(name)
        elif name == "target":
            changed = lambda text: self._set(False, target=text.strip())  # noqa: E731
            suggesting(name, "Target", self.view.target, self.place, self.view.model, changed)
        elif name in ("layer", "unit"):
            self._address(name)

    def _address(self, name: str) -> None:
        """Layers or units as text, with suggestions; commas stand between several."""
        say = self.place.say
        about = {
            "layer": "Address of a layer, such as layer2. Empty: the lens's own choice.",
            "unit": "A layer, a channel such as layer2[15], a class, or a sum of them. Empty: the lens's own choice.",
        }[name]
        label = {"layer": "Layer", "unit": "Unit"}[name]
        suggesting(
            name,
            label,
            ", ".join(getattr(self.view, name)),
            self.place,
            self.view.model,
            lambda text: self._set(False, **{name: several(text)}),
        )
        ui.label(say(about)).classes("small")

    def _thumbnail(self, key: str) -> None:
        """The picture that was chosen, small beside its field, as soon as it is read."""
        shown_as = ui.html("", sanitize=False).classes("beside")

        async def fill() -> None:
            try:
                source = await aside(thumbnail, self.place.bench.library, key)
            except ConvScopeError as error:
                self._say_no(str(error))
                return
            if not shown_as.is_deleted:
                shown_as.set_content(f'<img src="{source}" alt="">')

        background_tasks.create(fill())

    def _select(self, label: str, options: dict[str, str], value: str, changed: Any) -> ui.select:
        chosen = value if value in options else None
        made = ui.select(options, label=self.place.say(label), value=chosen, on_change=lambda e: changed(e.value))
        return made.props("outlined dense stack-label options-dense hide-bottom-space")

    # --- what was chosen

    def family(self) -> dict[str, LensSpec]:
        """The lenses of this page, by name."""
        return {one.command: one for one in lenses() if one.family == FAMILY}

    def _fitted(self, view: View) -> View:
        """The view with a lens of this family and the pictures that it cannot do without."""
        own = self.family()
        asked = view.lens.replace("_", "-")
        if asked not in own:
            asked = next(iter(own))
            view = view.but(parameters={}, target="") if view.lens else view
        images = [one.key for one in self.place.bench.library.images()]
        needed = [name for name in PICTURES if name in own[asked].required and not getattr(view, name)]
        return view.but(lens=asked, **dict(zip(needed, images, strict=False)))

    def _other_lens(self, lens: str) -> None:
        self.view = self._fitted(self.view.but(lens=lens, parameters={}))
        self._remember()
        self.form.refresh()
        self._offer()

    def _other_model(self, model: str) -> None:
        self._set(True, model=model)
        self._offer()

    def _set(self, anew: bool, **changes: Any) -> None:
        self.view = self.view.but(**{name: "" if value is None else value for name, value in changes.items()})
        self._remember()
        if anew:
            self.form.refresh()

    def _parameter(self, name: str, value: Any) -> None:
        others = {key: one for key, one in self.view.parameters.items() if key != name}
        self.view = self.view.but(parameters=others if value is None else {**others, name: value})
        self._remember()

    def _remember(self) -> None:
        self.place.remember(self.view)

    def _asked(self) -> View:
        """The view without what the lens does not take, so that like requests are known to be alike."""
        spare = [name for name in (*PICTURES, "images", "layer", "unit", "target") if name not in self.spec.inputs]
        return self.view.but(**{name: () if name in ("layer", "unit") else "" for name in spare})

    # --- the picture that is being drawn

    def stage(self) -> None:
        """What is being drawn; below it, what was."""
        say = self.place.say
        self.refused = ui.label().classes("warning").props('role="alert"')
        self.refused.set_visibility(False)
        self.live = ui.element("section").classes("box live").props(f'aria-label="{escape(say("Being drawn"))}"')
        self.live.set_visibility(False)
        with self.live:
            with ui.element("div").classes("row-of"):
                self.doing = ui.label().classes("asks").props('aria-live="polite"')
                button(say("Stop"), self.stop).classes("end").mark("stop")
            self.bar = ui.html("", sanitize=False)
            self.picture = ui.html("", sanitize=False).classes("tiles")
            self.curve = ui.html("", sanitize=False)
            ui.label(say("Stopping keeps the best picture so far.")).classes("small")
        self.empty = ui.element("div").classes("empty")
        with self.empty:
            ui.label(say("Nothing drawn yet")).classes("asks")
            ui.label(
                say("Choose a lens and what to look for, then press Draw: the picture can be watched as it comes.")
            )
            self.offers = ui.element("div").classes("chips")
        self._offer()
        self.gallery = ui.element("div").classes("drawn").props(f'aria-label="{escape(say("Drawn in this session"))}"')

    def _offer(self) -> None:
        """Where a lens draws for a unit, a few of them to begin with: one click draws."""

        async def fill() -> None:
            found = await aside(suggestions, "unit", self.place, self.view.model) if takes_unit else []
            if self.place.client.is_deleted or lens != self.view.lens:
                return
            self.offers.clear()
            with self.offers:
                if found:
                    ui.label(self.place.say("Or draw one of these at once:")).style("width: 100%")
                for unit in found[:OFFERED]:
                    chip = ui.html(escape(unit), sanitize=False, tag="button").classes("chip").props("type=button")
                    chip.on("click", partial(self._begin_with, unit)).mark("offer")

        lens, takes_unit = self.view.lens, "unit" in self.spec.inputs
        background_tasks.create(fill())

    async def _begin_with(self, unit: str) -> None:
        self._set(True, unit=(unit,))
        await self.draw()

    async def draw(self) -> None:
        """Draw what the form asks for and put it into the gallery."""
        if self.job is not None:
            return
        view = self._asked()
        self._say_no("")
        try:
            self.job = job = self.place.bench.look(view)
        except ConvScopeError as error:
            self._say_no(str(error))
            return
        self.begin.props("disabled")
        self.waiting = waiting = asyncio.create_task(self.place.wait(job))
        try:
            await self._watch(job, waiting, view.model)
        finally:
            self.job = None
        if self.place.client.is_deleted:
            return
        self.begin.props(remove="disabled")
        self.live.set_visibility(False)
        if waiting.cancelled():
            self._say_no(self.place.say("Stopped here; in another tab it goes on."))
            self._nothing_yet()
        elif job.value is None:
            self._say_no(job.error or self.place.say("Stopped."))
            self._nothing_yet()
        else:
            await self._drawn(view, job)

    async def _watch(self, job: Job, waiting: "asyncio.Task[Job]", model: str) -> None:
        """Show how a picture comes about until it is there."""
        self._before()
        while not waiting.done():
            if self.place.client.is_deleted:
                break
            await self._look(job, model)
            await asyncio.wait([waiting], timeout=EVERY)
        await asyncio.wait([waiting])

    def _before(self) -> None:
        self.doing.set_text(self.place.say("Waiting for its turn"))
        self._bar()
        for part in (self.picture, self.curve):
            part.set_content("")
        self.empty.set_visibility(False)
        self.live.set_visibility(True)

    def _bar(self, done: int = 0, total: int = 0) -> None:
        share = f' value="{done}" max="{total}"' if total else ""
        self.bar.set_content(f'<progress{share} aria-label="{escape(self.place.say("Running"))}"></progress>')

    async def _look(self, job: Job, model: str) -> None:
        """The present state of a picture: how far, how it looks, how it climbed."""
        done, total = job.progress
        if total:
            self.doing.set_text(f"{self.place.say('Step')} {done} / {total}")
            self._bar(done, total)
        preview, scores = job.preview, [list(row) for row in job.scores]
        if preview is not None:
            self.picture.set_content(await aside(self._preview, model, preview, scores[-1] if scores else []))
        if scores:
            alike = [row for row in scores if len(row) == len(scores[-1])]
            alt = self.place.say("The objective over the steps, of the picture as it was shown to the network")
            self.curve.set_content(curves(list(zip(*alike, strict=True)), alt))

    def _preview(self, model: str, preview: Any, scores: list[float]) -> str:
        """The pictures as they stand, for people."""
        photos = shown(self.place.bench.library.model(model).input, preview)
        if photos is None:
            return ""
        told = [render.number(score) for score in scores] + [""] * len(photos)
        return tiles([np.asarray(photo) for photo in photos], told[: len(photos)])

    def stop(self) -> None:
        """Have the picture that is being drawn be what it is now; one that another tab watches goes on there."""
        if self.job is None or self.waiting is None:
            return
        if self.place.bench.jobs.stop(self.job):
            self.doing.set_text(self.place.say("Stopping"))
        else:
            self.waiting.cancel()

    def _say_no(self, sentence: str) -> None:
        self.refused.set_text(sentence)
        self.refused.set_visibility(bool(sentence))

    # --- the gallery

    async def _drawn(self, view: View, job: Job) -> None:
        """Put what a job gave into the gallery and have the tab remember it."""
        assert job.value is not None, "only what was drawn is hung"
        key = job.key if not job.stopping else f"{job.key}\nstopped in job {job.id}"
        self.place.bench.jobs.results.put(key, job.value)
        kept = self._kept()
        kept[:] = [[key, view.query()], *(one for one in kept if one[0] != key)][:KEPT]
        await self._hang(key, view, job.value)

    async def _hang(self, key: str, view: View, value: Value, *, last: bool = False) -> None:
        """A card for one value, before all others; a value that hangs already moves to the front."""
        if key in self.cards:
            self.cards.pop(key).delete()
        with self.gallery:
            card = ui.element("article").classes("card").mark("result")
        if not last:
            card.move(target_index=0)
        self.cards[key] = card
        with card:
            self._card(key, view, value)
        self._nothing_yet()

    def _card(self, key: str, view: View, value: Value) -> None:
        say, spec = self.place.say, find(view.lens)
        about = " · ".join(map(say, dict.fromkeys(getattr(value, "words", ()) or [render.subject(value)])))
        with ui.element("div").classes("row-of"):
            ui.html(f"{escape(say(spec.title))} · {escape(about)}", tag="h2", sanitize=False)
            with ui.element("div").classes("row-of end"):
                for ending in (one for one in endings(value) if one != ".json"):
                    name = ending.removeprefix(".").upper()
                    wanted = lambda ending=ending: self._download(value, ending)  # noqa: E731
                    button(name, wanted, style="plain", name=f"{say('Download')} {name}").mark(f"get{ending}")
                ui.link(say("Link"), self.place.link(view)).classes("button plain")
                button(say("Remove"), lambda: self._remove(key), style="plain").mark("remove")
        panels.show(value, self.place)
        given = say(", ").join(
            f"{in_words(name, self.place.lang)} {said_of(value.record, name, self.place.lang)}"
            for name in view.parameters
            if name in value.record.parameters
        )
        facts = [
            str(value.record.model.get("name", "")),
            render.short(value.record.input),
            given,
            say(str(value.record.cost)),
        ]
        ui.label(" · ".join(fact for fact in facts if fact)).classes("small")

    async def _download(self, value: Value, ending: str) -> None:
        await self.place.hand_over(partial(file_of, value, ending), name_of(value, ending))

    def _remove(self, key: str) -> None:
        kept = self._kept()
        kept[:] = [one for one in kept if one[0] != key]
        self.cards.pop(key).delete()
        self._nothing_yet()

    def _nothing_yet(self) -> None:
        self.empty.set_visibility(not self.cards and self.job is None)

    def _kept(self) -> list[list[str]]:
        """Keys and links of what hangs, the newest first, as the tab remembers them."""
        if "learned" not in self.remembered:
            self.remembered["learned"] = []
        found: list[list[str]] = self.remembered["learned"]
        return found

    async def recall(self) -> None:
        """Hang what the tab remembers and memory still holds, and what the link shows where it was drawn before."""
        if not self.place.client.has_socket_connection:
            return  # the tab is closed already
        self.remembered = app.storage.tab  # kept, for it cannot be had while the connection is lost for a moment
        results = self.place.bench.jobs.results
        for key, query in list(self._kept()):
            value = results.get(key)
            if value is not None:
                await self._hang(key, View.read(query), value, last=True)
        view = self._asked()
        try:
            key = key_of(self.place.bench.library, view)
        except ConvScopeError:
            return
        found = results.get(key)
        if found is not None and isinstance(found, Value) and key not in self.cards:
            await self._hang(key, view, found)
