"""Look: an image, a model, its answer, and what the answer hangs on, through several lenses side by side."""

from html import escape
from typing import TYPE_CHECKING, Any

from nicegui import background_tasks, run, ui

from convscope import render
from convscope.catalogue import DEFAULT_COMPARISON, find, lenses, recommend
from convscope.errors import ConvScopeError
from convscope.render.scale import scale_of
from convscope.spec import FAMILIES, LensSpec
from convscope.values import Attribution, Prediction, Recommendation
from convscope.web.cards import CROSS, Card, Told, button, small_button
from convscope.web.files import report_of
from convscope.web.library import MAX_UPLOAD
from convscope.web.pages import page
from convscope.web.panels.attribution import display_controls, figure, lies_over_photo
from convscope.web.panels.prediction import bars, mark
from convscope.web.pictures import portrait, thumbnail
from convscope.web.view import View

if TYPE_CHECKING:
    from convscope.engine.model import Model
    from convscope.web.frame import Place

THUMBS = 48
"""So many images are shown to pick from at first; the rest when they are asked for."""

SUGGESTED = 8
"""So many lenses are named where one was refused."""

ONE_SCALE = "scale"
"""The link's word for one scale over all maps."""


@page("/look", "Look", order=1)
async def build(view: View, place: "Place") -> None:
    """The page on which a person asks why a network answered what it did."""
    Look(view, place).open()


def candidates() -> list[LensSpec]:
    """The lenses of a gallery: those that give a map from a model and an image alone."""
    maps = [spec for spec in lenses() if spec.returns == "Attribution" and "unit" not in spec.inputs]
    return [spec for spec in maps if spec.each_image and set(spec.required) <= {"model", "image"}]


class Look(Told):
    """The page of one person: what is looked at, and the cards that show it."""

    def __init__(self, view: View, place: "Place") -> None:
        self.place, self.library = place, place.bench.library
        self.choices = candidates()
        self.view = self._settled(view)
        self.cards: list[Card] = []
        self.pins: list[Attribution] = []
        self.prediction: Prediction | None = None
        self.model: Model | None = None
        self.thumb_of: dict[str, ui.html] = {}
        self.bars: dict[int, ui.html] = {}
        self.chooser_open = False
        self.family = ""
        self._turn = 0

    def _settled(self, view: View) -> View:
        """The view with what was left open filled in, so that its link says everything."""
        known = {spec.command for spec in self.choices}
        named = [name for name in view.lens.replace("_", "-").split(",") if name in known]
        listed = [one.key for one in self.library.images() if not one.key.startswith("upload:")]
        return view.but(
            lens=",".join(dict.fromkeys(named or DEFAULT_COMPARISON)),
            model=view.model or self.library.addresses[0],
            image=view.image or (listed[0] if listed else ""),
        )

    @property
    def names(self) -> list[str]:
        """The lenses of the gallery, in its order."""
        return [name for name in self.view.lens.split(",") if name]

    def open(self) -> None:
        """Draw the page and begin to look."""
        with ui.element("div").classes("look"):
            with ui.element("aside").classes("side").props(f'aria-label="{self.place.say("What is looked at")}"'):
                self._draw_input()
                self._draw_answer()
            with ui.element("div").classes("main-part"):
                self._draw_head()
                self.gallery = ui.element("section").classes("gallery")
                self.pinned = ui.element("section").classes("main-part")
        self._begin()
        background_tasks.create(self._thumbs(THUMBS))

    # -- what is drawn ------------------------------------------------------------------------------------------

    def _draw_input(self) -> None:
        say = self.place.say
        with ui.element("section").classes("box"):
            addresses = dict.fromkeys([*self.library.addresses, self.view.model])
            self.model_field = ui.select(
                list(addresses), value=self.view.model, label=say("Model"),
                on_change=lambda e: self.pick_model(e.value),
                new_value_mode="add-unique" if self.library.allow_load else None, with_input=self.library.allow_load,
            )  # fmt: skip
            self.model_field.props("outlined dense options-dense stack-label").mark("model")
            self.portrait = ui.html("", sanitize=False).classes("portrait-box")
            self.thumbs = ui.element("div").classes("thumbs").props(f'role="group" aria-label="{say("Images")}"')
            with ui.element("div").classes("sources"):
                self._draw_upload()
                ui.html(escape(say("Camera")), sanitize=False, tag="button").classes("button").props(
                    "type=button data-camera"
                )

    def _draw_upload(self) -> None:
        say = self.place.say
        upload = ui.upload(
            on_upload=self._uploaded, max_file_size=MAX_UPLOAD, auto_upload=True,
            on_rejected=lambda: self._complain(say("This file is too large or no image.")),
        )  # fmt: skip
        upload.classes("drop").props('accept="image/*" flat')
        text = f"<strong>{escape(say('Choose an image'))}</strong> {escape(say('or drop one here'))}"
        upload.add_slot(
            "header",
            f'<button type="button" class="drop-say" @click="props.pickFiles">{text}<q-uploader-add-trigger />'
            "</button>",
        )

    def _draw_answer(self) -> None:
        say = self.place.say
        with ui.element("section").classes("box"):
            with ui.element("div").classes("row-of").style("gap: 0 8px"):
                ui.label(say("Answers")).classes("label")
                ui.label(say("Click one to explain it.")).classes("small")
            self.answer = ui.element("div").classes("answers-box").props('aria-live="polite"')
            self.target = ui.input(
                say("Or type a class, or A - B"), value=self._typed(), placeholder="star - circle"
            ).props("outlined dense stack-label clearable")
            self.target.on("keydown.enter", lambda: self.pick_target(self.target.value))
            self.target.on("clear", lambda: self.pick_target(""))
            self.target.mark("target")
            chosen = self.view.layer[0] if self.view.layer else ""
            self.layer = ui.select(
                {"": say("Automatic (last spatial)"), **({chosen: chosen} if chosen else {})},
                value=chosen, label=say("Layer"), with_input=True,
                on_change=lambda e: self.pick_layer(e.value or ""),
            )  # fmt: skip
            self.layer.props("outlined dense options-dense stack-label").mark("layer")

    def _draw_head(self) -> None:
        say = self.place.say
        self.title = ui.html(self._question(), sanitize=False, tag="h1")
        with ui.element("div").classes("row-of tools").props(f'role="group" aria-label="{say("Display")}"'):
            self.choose = button(say("Choose lenses"), self._toggle_chooser).props("aria-expanded=false")
            ui.html(display_controls(self.place), sanitize=False).classes("row-of")
            self.one_scale = button(say("One scale"), self._toggle_scale).props(
                f'title="{escape(say("All maps on one scale: compare strengths where the numbers have one unit"))}"'
            )
            self._mark_scale()
            button(say("Report"), self._report).classes("end").props(
                f'title="{escape(say("Everything shown here in one HTML file"))}"'
            )
        self.chooser = ui.element("section").classes("box")
        self.chooser.set_visibility(False)

    def _draw_thumbs(self, pictures: list[tuple[str, str, str]], more: int) -> None:
        self.thumbs.clear()
        self.thumb_of = {}
        with self.thumbs:
            for key, name, address in pictures:
                thumb = ui.html(f'<img src="{address}" alt="">', sanitize=False, tag="button").classes("thumb")
                thumb.props(f'type=button title="{escape(name)}" aria-label="{escape(name)}"')
                thumb.on("click", lambda key=key: self.pick_image(key))
                self.thumb_of[key] = thumb
        if more:
            with self.thumbs:
                button(f"+{more}", lambda: background_tasks.create(self._thumbs(None))).classes("thumb")
        self._mark_thumbs()

    def _mark_thumbs(self) -> None:
        for key, thumb in self.thumb_of.items():
            thumb.props(f'aria-pressed="{"true" if key == self.view.image else "false"}"')

    # -- what a person does -------------------------------------------------------------------------------------

    def pick_image(self, key: str) -> None:
        """Look at another image; its own top answer is explained."""
        self._change(image=key, target="")

    def pick_model(self, address: str) -> None:
        """Ask another model; its layers are others."""
        self._change(model=address, target="", layer=())

    def pick_target(self, target: Any) -> None:
        """Explain another answer."""
        target = "" if target is None else str(target).strip()
        if target != self.view.target:
            self._change(target=target)

    def pick_layer(self, layer: str) -> None:
        """Look at another layer."""
        if (layer,) != (self.view.layer or ("",)):
            self._change(layer=(layer,) if layer else ())

    async def _uploaded(self, event: Any) -> None:
        content = await event.file.read()
        try:
            key = await run.io_bound(self.library.upload, event.file.name, content)
        except ConvScopeError as error:
            self._complain(str(error))
            return
        self.pick_image(key)
        await self._thumbs(THUMBS)

    def _complain(self, sentence: str) -> None:
        ui.notify(sentence, type="warning", position="top", multi_line=True, close_button=self.place.say("Close"))

    def _toggle_scale(self) -> None:
        on = ONE_SCALE not in self.view.parameters
        kept = {name: value for name, value in self.view.parameters.items() if name != ONE_SCALE}
        self.view = self.view.but(parameters=kept | ({ONE_SCALE: "one"} if on else {}))
        self._mark_scale()
        self.place.remember(self.view)
        background_tasks.create(self._rescale())

    def _mark_scale(self) -> None:
        self.one_scale.props(f'aria-pressed="{"true" if ONE_SCALE in self.view.parameters else "false"}"')

    async def _rescale(self) -> None:
        """Draw all maps on one scale, those with a sign and those without apart; or each on its own again."""
        shown = [card for card in self.cards if isinstance(card.value, Attribution) and lies_over_photo(card.value)]
        for signed in (True, False):
            alike = [card for card in shown if card.value.signed == signed]
            one = ONE_SCALE in self.view.parameters and alike
            limit = scale_of([card.value for card in alike]).limit or None if one else None
            for card in alike:
                if card.limit != limit:
                    card.limit = limit
                    await card.show()

    async def _report(self) -> None:
        values = [v for v in (self.prediction, *(card.value for card in self.cards)) if v is not None]
        if not values:
            self._complain(self.place.say("There is nothing to report yet."))
            return
        refused = {card.spec.title: card.error for card in self.cards if card.error}
        ui.download.content(await run.io_bound(report_of, values, refused), "convscope-report.html")

    # -- looking ------------------------------------------------------------------------------------------------

    def _change(self, **changes: Any) -> None:
        self.view = self.view.but(**changes)
        self._begin()

    def _begin(self) -> None:
        """Look at what the view says now; whatever was looked at before is left."""
        self._turn += 1
        self.place.remember(self.view)
        self._mark_thumbs()
        self.target.value = self._typed()
        background_tasks.create(self._answer(self._turn))
        why = self._missing()
        if why is not None:
            self._empty(why)
            return
        self._lay_out()
        for card in self.cards:
            card.run(self._asked())

    def _missing(self) -> str | None:
        """Why there is no image to look at; nothing where there is one."""
        if not self.view.image:
            return ""
        try:
            self.library.fingerprint(self.view.image)
        except (ConvScopeError, OSError) as error:
            return str(error)
        return None

    def _asked(self) -> View:
        return View(model=self.view.model, image=self.view.image, target=self.view.target, layer=self.view.layer)

    def _lay_out(self) -> None:
        """One card for each lens of the link, in its order; cards that stay are kept."""
        if [card.spec.command for card in self.cards] == self.names:
            return
        kept = {card.spec.command: card for card in self.cards}
        for name, card in kept.items():
            if name not in self.names:
                card.box.delete()
        if not kept:
            self.gallery.clear()
        self.cards = []
        for place, name in enumerate(self.names):
            card = kept.get(name)
            if card is None:
                with self.gallery:
                    card = Card(find(name), self._given(name), self.place, self)
            card.box.move(self.gallery, place)
            self.cards.append(card)

    def _given(self, lens: str) -> dict[str, Any]:
        """The parameters of one lens, written ``LENS.NAME`` in the link."""
        start = f"{lens}."
        return {n.removeprefix(start): v for n, v in self.view.parameters.items() if n.startswith(start)}

    def _empty(self, why: str) -> None:
        self.gallery.clear()
        self.cards = []
        with self.gallery, ui.element("div").classes("empty").style("grid-column: 1 / -1"):
            ui.label(self.place.say("No image yet")).classes("label")
            if why:
                ui.label(why).classes("warning")
            ui.label(self.place.say("Choose an image on the left, or drop one there: its answer is explained here."))

    async def _answer(self, turn: int) -> None:
        """Have the model answer, and show the image, the answer and the layers."""
        view = self.view
        if view.image:
            try:
                job = self.place.bench.look(View(lens="predict", model=view.model, image=view.image))
                picture = await run.io_bound(portrait, self.library, view.image)
                name = escape(render.short(view.image))
                self.portrait.set_content(f'<img class="portrait" src="{picture}" alt="{name}">')
                self.portrait.props(f'title="{name}"')
                await self.place.wait(job)
                found = job.value or job.error or self.place.say("Stopped.")
            except ConvScopeError as error:
                found = str(error)
                self.portrait.set_content("")
            if turn == self._turn and not self.place.client.is_deleted:
                self._show_answer(found)
        await self._layers(turn)

    def _show_answer(self, found: Any) -> None:
        same = found is self.prediction  # as when another of its answers is picked: the focus stays where it is
        self.prediction = found if isinstance(found, Prediction) else None
        if not same:
            self._draw_bars(found)
        mark(self.bars, self._explained())
        self.title.set_content(self._question())

    def _draw_bars(self, found: Any) -> None:
        self.answer.clear()
        self.bars = {}
        with self.answer:
            if self.prediction is None:
                ui.label(str(found)).classes("warning")
                return
            self.bars = bars(self.prediction, self.place, pick=self._pick_bar)
            for note in render.notes(self.prediction):
                ui.label(self.place.say(note.text)).classes("warning" if note.warning else "small")

    def _pick_bar(self, index: int) -> None:
        top = self.prediction.indices[0] if self.prediction else -1
        self.pick_target("" if index == top else index)

    def _typed(self) -> str:
        """What stands in the field for other targets; a class that was picked is marked among the answers."""
        return "" if self.view.target.isdecimal() else self.view.target

    def _explained(self) -> int | None:
        """The number of the class that is explained, where it is one of the best."""
        if self.prediction is None:
            return None
        if not self.view.target:
            return self.prediction.indices[0]
        named = dict(zip(self.prediction.labels, self.prediction.indices, strict=True))
        return int(self.view.target) if self.view.target.isdecimal() else named.get(self.view.target)

    def _question(self) -> str:
        say, explained = self.place.say, self._explained()
        if self.prediction is None:
            return escape(say("Why did it answer that?"))
        answers = dict(zip(self.prediction.indices, self.prediction.labels, strict=True))
        name = answers.get(explained, self.view.target) if explained is not None else self.view.target
        top = explained == self.prediction.indices[0]
        return escape((say("Why did it answer “{}”?") if top else say("What speaks for “{}”?")).format(name))

    async def _thumbs(self, most: int | None) -> None:
        listed = self.library.images()
        shown = listed[:most]

        def made() -> list[tuple[str, str, str]]:
            found = []
            for one in shown:
                try:
                    found.append((one.key, one.name, thumbnail(self.library, one.key)))
                except ConvScopeError:
                    continue  # a broken file among many is not worth a word here
            return found

        pictures = await run.io_bound(made)
        if not self.place.client.is_deleted:
            self._draw_thumbs(pictures, len(listed) - len(shown))

    async def _layers(self, turn: int) -> None:
        try:
            model = await run.io_bound(self.library.model, self.view.model)
        except ConvScopeError:
            return  # said beside the answer
        if turn == self._turn and model is not self.model and not self.place.client.is_deleted:
            self.model = model
            default = {"": self.place.say("Automatic (last spatial)")}
            chosen = self.view.layer[0] if self.view.layer else ""
            extra = {chosen: chosen} if chosen else {}
            self.layer.set_options(default | {name: name for name in model.layers()} | extra, value=chosen)
            self.target.set_autocomplete(list(model.labels or ())[:2000])

    # -- what cards ask for -------------------------------------------------------------------------------------

    def settled(self, card: Card) -> None:
        """One scale is the scale of all that are there."""
        if ONE_SCALE in self.view.parameters:
            background_tasks.create(self._rescale())

    def changed(self, card: Card) -> None:
        """A parameter is another now: the link says so, and the lens looks again."""
        start = f"{card.spec.command}."
        others = {name: value for name, value in self.view.parameters.items() if not name.startswith(start)}
        own = {f"{start}{name}": value for name, value in card.given.items()}
        self.view = self.view.but(parameters=others | own)
        self.place.remember(self.view)
        card.run(self._asked())

    def swap(self, card: Card, lens: str) -> None:
        """Another lens in its place; one that is there already changes places with it."""
        names, old = self.names, card.spec.command
        if lens == old:
            return
        exchange = {old: lens, lens: old}
        self._choose([exchange.get(name, name) for name in names])

    def remove(self, card: Card) -> None:
        """One card fewer."""
        self._choose([name for name in self.names if name != card.spec.command])

    def pin(self, card: Card) -> None:
        """Keep a map below, whatever is looked at next."""
        if isinstance(card.value, Attribution) and lies_over_photo(card.value):
            self.pins.append(card.value)
            background_tasks.create(self._draw_pins())

    def advise(self, card: Card) -> None:
        """Find out which lenses fit this network, where it is this lens that does not."""
        background_tasks.create(self._advise(card))

    async def _advise(self, card: Card) -> None:
        view, library = self._asked(), self.library
        try:
            key = f"recommend\n{view.model}\n{library.fingerprint(view.image)}"
            work = lambda: recommend(library.model(view.model), library.image(view.image))  # noqa: E731
            job = await self.place.wait(self.place.bench.jobs.submit(key, work))
        except ConvScopeError:
            return
        if isinstance(job.value, Recommendation) and card.spec.command not in job.value.best and card in self.cards:
            titles = {spec.command: self.place.say(spec.title) for spec in self.choices}
            fitting = [name for name in job.value.best if name in titles and name not in self.names]
            card.suggest([(name, titles[name]) for name in fitting[:SUGGESTED]])

    async def _draw_pins(self) -> None:
        """The pinned maps side by side; those of one lens share a scale."""
        pins = list(self.pins)

        def drawn() -> list[str]:
            limits = {
                lens: scale_of([one for one in pins if one.record.lens == lens]).limit or None
                for lens in {one.record.lens for one in pins}
            }
            return [figure(one, self.place, limit=limits[one.record.lens]) for one in pins]

        figures = await run.io_bound(drawn)
        say = self.place.say
        self.pinned.clear()
        if not pins:
            return
        with self.pinned:
            ui.html(escape(say("Pinned")), sanitize=False, tag="h2")
            ui.label(say("Maps of one lens share one scale here: compare strengths as well as places.")).classes(
                "small"
            )
            with ui.element("div").classes("gallery"):
                for one, picture in zip(pins, figures, strict=True):
                    with ui.element("article").classes("card").props('data-pinned="1"'):
                        with ui.element("div").classes("card-head"):
                            ui.html(escape(self.place.say(one.record.title)), sanitize=False, tag="h4").style("flex: 1")
                            small_button(CROSS, say("Take away"), lambda one=one: self._unpin(one))
                        ui.html(picture, sanitize=False)
                        ui.label(f"{render.subject(one)} · {render.short(one.record.input)}").classes("small")

    def _unpin(self, value: Attribution) -> None:
        self.pins = [one for one in self.pins if one is not value]
        background_tasks.create(self._draw_pins())

    # -- choosing lenses ----------------------------------------------------------------------------------------

    def _toggle_chooser(self) -> None:
        self.chooser_open = not self.chooser_open
        self.choose.props(f"aria-expanded={'true' if self.chooser_open else 'false'}")
        self.chooser.set_visibility(self.chooser_open)
        if self.chooser_open:
            self._draw_chooser()

    def _draw_chooser(self) -> None:
        say = self.place.say
        families = [key for key in FAMILIES if any(spec.family == key for spec in self.choices)]
        self.family = self.family or families[0]
        self.chooser.clear()
        with self.chooser:
            with ui.element("div").classes("chips").props(f'role="group" aria-label="{say("Families of lenses")}"'):
                for key in families:
                    self._family_chip(key)
            ui.label(say(FAMILIES[self.family])).classes("small")
            with ui.element("div").classes("lens-list"):
                for spec in self.choices:
                    if spec.family == self.family:
                        self._lens_choice(spec)

    def _family_chip(self, key: str) -> None:
        count = sum(spec.family == key and spec.command in self.names for spec in self.choices)
        name = self.place.say(FAMILIES[key]).partition(":")[0].partition("：")[0].partition(",")[0]
        chip = ui.html(escape(f"{name} {count or ''}"), sanitize=False, tag="button").classes("chip")
        chip.props(f'type=button aria-pressed="{"true" if key == self.family else "false"}"')
        chip.on("click", lambda: self._pick_family(key))

    def _pick_family(self, key: str) -> None:
        self.family = key
        self._draw_chooser()

    def _lens_choice(self, spec: LensSpec) -> None:
        inner = f"<span>{escape(self.place.say(spec.title))}</span><small>{escape(self.place.say(spec.asks))}</small>"
        made = ui.html(inner, sanitize=False, tag="button").classes("lens-choice")
        made.props(f'type=button aria-pressed="{"true" if spec.command in self.names else "false"}"')
        made.on("click", lambda: self._toggle_lens(spec.command))

    def _toggle_lens(self, command: str) -> None:
        names = self.names
        self._choose([n for n in names if n != command] if command in names else [*names, command])

    def _choose(self, names: list[str]) -> None:
        """Show these lenses; those that were not there look now."""
        before = {card.spec.command for card in self.cards}
        self.view = self.view.but(lens=",".join(names))
        self.place.remember(self.view)
        if self.view.image:
            self._lay_out()
            for card in self.cards:
                if card.spec.command not in before:
                    card.run(self._asked())
        if self.chooser_open:
            self._draw_chooser()
