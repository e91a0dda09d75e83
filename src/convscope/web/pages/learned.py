"""What the network has learned: a unit, an image or a style is asked for, and the picture is watched as it is drawn.

The lenses are those of the family *learned*; each brings its own form. Pictures of this session stay in a gallery,
within the bound of memory of all results; which they are is remembered by the tab.
"""

import asyncio
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from nicegui import background_tasks, ui

from convscope.catalogue import find, lenses
from convscope.errors import ConvScopeError
from convscope.spec import INPUTS, LensSpec
from convscope.web.buttons import button
from convscope.web.caveats import Caveats
from convscope.web.drawings.gallery import Gallery
from convscope.web.drawings.live import Live
from convscope.web.forms import parameter_form
from convscope.web.jobs.job import Job
from convscope.web.jobs.waiting import aside
from convscope.web.link_checks import say_what_is_amiss, wrong_lenses, wrong_names
from convscope.web.pages import page
from convscope.web.pictures import thumbnail
from convscope.web.stale import fresh, stale
from convscope.web.suggestions import several, suggesting, suggestions
from convscope.web.url_state import View

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

FAMILY = "learned"
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
                Caveats(self.place).show([self.view.model])
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
            collections = self.place.bench.library.collections(self.view.images)
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

    def asked(self) -> View:
        """The view without what the lens does not take, so that like requests are known to be alike."""
        spare = [name for name in (*PICTURES, "images", "layer", "unit", "target") if name not in self.spec.inputs]
        return self.view.but(**{name: () if name in ("layer", "unit") else "" for name in spare})

    # --- the picture that is being drawn

    def stage(self) -> None:
        """What is being drawn; below it, what was."""
        say = self.place.say
        self.refused = ui.label().classes("warning").props('role="alert"')
        self.refused.set_visibility(False)
        self.live = Live(self.place, self.stop)
        self.empty = ui.element("div").classes("empty")
        with self.empty:
            ui.label(say("Nothing drawn yet")).classes("asks")
            ui.label(
                say("Choose a lens and what to look for, then press Draw: the picture can be watched as it comes.")
            )
            self.offers = ui.element("div").classes("chips")
        self._offer()
        self.gallery = Gallery(self.place, self._nothing_yet)

    def _offer(self) -> None:
        """Where a lens draws for a unit, a few of them to begin with: one click draws."""

        async def fill() -> None:
            found = await aside(suggestions, "unit", self.place, self.view.model) if takes_unit else []
            if self.place.client.is_deleted or lens != self.view.lens:
                return
            self.offers.clear()
            fresh(self.offers)
            with self.offers:
                if found:
                    ui.label(self.place.say("Or draw one of these at once:")).style("width: 100%")
                for unit in found[:OFFERED]:
                    chip = ui.html(escape(unit), sanitize=False, tag="button").classes("chip").props("type=button")
                    chip.on("click", partial(self._begin_with, unit)).mark("offer")

        lens, takes_unit = self.view.lens, "unit" in self.spec.inputs
        stale(self.offers)  # units of another network, perhaps
        background_tasks.create(fill())

    async def _begin_with(self, unit: str) -> None:
        self._set(True, unit=(unit,))
        await self.draw()

    async def draw(self) -> None:
        """Draw what the form asks for and put it into the gallery."""
        if self.job is not None:
            return
        view = self.asked()
        self._say_no("")
        try:
            self.job = job = self.place.bench.look(view)
        except ConvScopeError as error:
            self._say_no(str(error))
            return
        self.begin.props("disabled")
        self.empty.set_visibility(False)
        self.waiting = waiting = asyncio.create_task(self.place.wait(job))
        try:
            await self.live.watch(job, waiting, view.model)
        finally:
            self.job = None
        if self.place.client.is_deleted:
            return
        self.begin.props(remove="disabled")
        if waiting.cancelled():
            self._say_no(self.place.say("Stopped here; in another tab it goes on."))
        elif job.value is None:
            self._say_no(job.error or self.place.say("Stopped."))
        else:
            self.gallery.keep(view, job)
        self._nothing_yet()

    def stop(self) -> None:
        """Have the picture that is being drawn be what it is now; one that another tab watches goes on there."""
        if self.job is None or self.waiting is None:
            return
        if self.place.bench.jobs.stop(self.job):
            self.live.say(self.place.say("Stopping"))
        else:
            self.waiting.cancel()

    def _say_no(self, sentence: str) -> None:
        self.refused.set_text(sentence)
        self.refused.set_visibility(bool(sentence))

    def recall(self) -> None:
        """Hang what was drawn before in this tab."""
        self.gallery.recall(self.asked())

    def _nothing_yet(self) -> None:
        self.empty.set_visibility(not self.gallery.cards and self.job is None)
