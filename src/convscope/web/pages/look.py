"""Look: an image, a model, its answer, and what the answer hangs on, through several lenses side by side."""

from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from nicegui import background_tasks, ui

from convscope.catalogue import DEFAULT_COMPARISON, find, lenses
from convscope.errors import ConvScopeError
from convscope.render.scale import scale_of
from convscope.spec import LensSpec
from convscope.values import Attribution, Prediction, Value
from convscope.web.answer_cards.answer import Answer
from convscope.web.answer_cards.asked import refusal, with_asked
from convscope.web.answer_cards.card import Card, Told
from convscope.web.answer_cards.chooser import Chooser
from convscope.web.answer_cards.pins import Pins
from convscope.web.answer_cards.source import Source
from convscope.web.buttons import button
from convscope.web.export import report_of
from convscope.web.jobs.waiting import aside
from convscope.web.lens_page import page_of
from convscope.web.link_checks import say_what_is_amiss, wrong_lenses
from convscope.web.pages import page
from convscope.web.panels.attribution import display_controls, lies_over_photo
from convscope.web.stale import fresh, stale
from convscope.web.url_state import View

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

ONE_SCALE = "scale"
"""The link's word for one scale over all maps."""


@page("/look", "Look", order=1)
async def build(view: View, place: "Place") -> None:
    """The page on which a person asks why a network answered what it did."""
    Look(view, place).open()


def candidates() -> list[LensSpec]:
    """The lenses of a gallery: those that explain an answer from a model and an image alone."""
    explaining = [spec for spec in lenses() if spec.attributes and "unit" not in spec.inputs]
    return [spec for spec in explaining if spec.each_image and set(spec.required) <= {"model", "image"}]


def shown() -> list[str]:
    """The lenses that a link may name: those of the gallery, and those that no other page shows."""
    return [spec.command for spec in lenses() if page_of(spec) == "/look" and spec.command != "predict"]


class Look(Told):
    """The page of one person: what is looked at, and the cards that show it."""

    def __init__(self, view: View, place: "Place") -> None:
        self.place, self.library = place, place.bench.library
        self.choices = candidates()
        say_what_is_amiss(self._amiss(view))
        self.view = self._settled(view)
        self.cards: list[Card] = []
        self._turn = self._asks = 0
        with ui.element("div").classes("look"):
            with ui.element("aside").classes("side").props(f'aria-label="{place.say("What is looked at")}"'):
                self.source = Source(place, self.view, self.pick_model, self.pick_image, self._uploading)
                self.answer = Answer(place, self.view, self.pick_target, self.pick_layer)
            with ui.element("div").classes("main-part"):
                self._draw_head()
                self.gallery = ui.element("section").classes("gallery")
                self.pins = Pins(place, self._pinned)
        background_tasks.create(self.pins.recall(self.view.pinned))

    def _settled(self, view: View) -> View:
        """The view with what was left open filled in, so that its link says everything."""
        view = _own(view)
        known = shown()
        named = [name for name in view.lens.replace("_", "-").split(",") if name in known]
        listed = [one.key for one in self.library.images() if not one.key.startswith("upload:")]
        return view.but(
            lens=",".join(dict.fromkeys(named or DEFAULT_COMPARISON)),
            model=view.model or self.library.addresses[0],
            image=view.image or (listed[0] if listed else ""),
        )

    def _amiss(self, view: View) -> list[str]:
        """What the link says that nothing here can follow; what is wrong with a card is said there."""
        known = shown()
        given = [name for name in _own(view).parameters if name != ONE_SCALE and name.partition(".")[0] not in known]
        of_nobody = [self.place.say("No lens here takes the link's parameter {}.").format(name) for name in given]
        return wrong_lenses(view, [*known, "predict"], self.place) + of_nobody

    @property
    def names(self) -> list[str]:
        """The lenses of the gallery, in its order."""
        return [name for name in self.view.lens.split(",") if name]

    def _draw_head(self) -> None:
        say = self.place.say
        self.title = ui.html(escape(self.answer.question(self.view)), sanitize=False, tag="h1")
        self.chooser = Chooser(self.place, self.choices, self.choose)
        with ui.element("div").classes("row-of tools").props(f'role="group" aria-label="{say("Display")}"'):
            self.chooser.draw_button()
            ui.html(display_controls(self.place), sanitize=False).classes("row-of")
            self.one_scale = button(say("One scale"), self._toggle_scale)
            hint = say("All maps on one scale: compare strengths where the numbers have one unit")
            self.one_scale.props(f'title="{escape(hint)}"')
            self._mark_scale()
            button(say("Report"), self._report, style="end").props(
                f'title="{escape(say("Everything shown here in one HTML file"))}"'
            )
        self.chooser.draw()

    # -- what a person picks ------------------------------------------------------------------------------------

    def pick_image(self, key: str) -> None:
        """Look at another image; its own top answer is explained."""
        self._change(image=key, target="")

    def _uploading(self, comes: bool) -> None:
        """An image is on its way, and what is shown belongs to an earlier one; or it did not come after all."""
        if not comes:
            self.begin(chosen=False)
            return
        stale(self.title, self.answer.box)
        for card in self.cards:
            card.mark_stale()

    def pick_model(self, address: str) -> None:
        """Ask another model; its layers are others."""
        self._change(model=address, target="", layer=())

    def pick_target(self, target: str) -> None:
        """Explain another answer; where the network has no such class, that is said and the present one stays."""
        self._asks += 1
        background_tasks.create(self._pick_target(target, self._asks, self._turn))

    async def _pick_target(self, target: str, asks: int, turn: int) -> None:
        why = await refusal(self.place, self.view.but(target=target)) if target else ""
        if self.place.client.is_deleted or (asks, turn) != (self._asks, self._turn):
            return  # something else was typed or picked meanwhile
        if why:
            self.answer.refuse(target, why)
        elif target != self.view.target:
            self._change(target=target)
        else:
            self.answer.follow(self.view)

    def pick_layer(self, layer: str) -> None:
        """Look at another layer."""
        if (layer,) != (self.view.layer or ("",)):
            self._change(layer=(layer,) if layer else ())

    def choose(self, names: list[str]) -> None:
        """Show these lenses; those that were not there look now."""
        before = {card.spec.command for card in self.cards}
        self.view = self.view.but(lens=",".join(names))
        self.place.remember(self.view)
        self.chooser.mark(names)
        if self._missing() is None:
            self._lay_out()
            for card in self.cards:
                if card.spec.command not in before:
                    card.run(self._asked(card.spec))

    # -- looking ------------------------------------------------------------------------------------------------

    def _change(self, **changes: Any) -> None:
        self.view = self.view.but(**changes)
        self.begin()

    def open(self) -> None:
        """Look at what the link names."""
        if not self.view.target:
            self.begin(chosen=False)
            return
        if self._missing() is None:
            self._lay_out()
        background_tasks.create(self._open(self.view.target))

    async def _open(self, target: str) -> None:
        """Look at what the link names; a class that the network lacks is refused, and its answer is explained."""
        why = await refusal(self.place, self.view)
        if self.place.client.is_deleted or self._turn:
            return  # something else was picked meanwhile
        if why:
            self.view = self.view.but(target="")
        self.begin(chosen=False)
        if why:
            self.answer.refuse(target, why)

    def begin(self, *, chosen: bool = True) -> None:
        """Look at what the view says now; whatever was looked at before is left."""
        self._turn += 1
        self.place.remember(self.view, chosen=chosen)
        self.source.mark(self.view.image)
        self.source.caveats.show([self.view.model])
        self.answer.follow(self.view)
        if self.view.image:
            stale(self.title)
        self.chooser.mark(self.names)
        background_tasks.create(self._ask(self._turn))
        why = self._missing()
        if why is not None:
            self._empty(why)
            return
        self._lay_out()
        for card in self.cards:
            card.run(self._asked(card.spec))

    def _missing(self) -> str | None:
        """Why there is no image to look at; nothing where there is one."""
        if not self.view.image:
            return ""
        try:
            self.library.fingerprint(self.view.image)
        except (ConvScopeError, OSError) as error:
            return str(error)
        return None

    def _asked(self, spec: LensSpec) -> View:
        """What a lens is asked; units and collections only of those that take them, so that like requests are alike."""
        view = self.view
        own = {name: getattr(view, name) for name in ("images", "unit") if name in spec.inputs}
        return View(model=view.model, image=view.image, target=view.target, layer=view.layer, **own)

    async def _ask(self, turn: int) -> None:
        """Have the model answer; show the image, the answer, and what else can be explained."""
        view = self.view
        if view.image:
            found = await self._answer_to(view)
            more: Prediction | str = found
            asked: int | None = None
            if isinstance(found, Prediction) and view.target:
                more, asked = await with_asked(self.place, found, view)
            if turn == self._turn and not self.place.client.is_deleted:
                self.answer.show(found, view, asked, more)
                self.title.set_content(escape(self.answer.question(view)))
                fresh(self.title)
        try:
            model = await aside(self.library.model, view.model)
        except ConvScopeError:
            return  # said beside the answer
        if turn == self._turn and not self.place.client.is_deleted:
            self.answer.offer(model, view)

    async def _answer_to(self, view: View) -> Prediction | str:
        try:
            job = self.place.bench.look(View(lens="predict", model=view.model, image=view.image))
            await self.source.portray(view.image)
            await self.place.wait(job)
        except (ConvScopeError, OSError) as error:
            return str(error)
        return job.value if isinstance(job.value, Prediction) else job.error or self.place.say("Stopped.")

    def _lay_out(self) -> None:
        """One card for each lens of the link, in its order; cards that stay are kept."""
        if self.cards and [card.spec.command for card in self.cards] == self.names:
            return
        kept = {card.spec.command: card for card in self.cards}
        for name, card in kept.items():
            if name not in self.names:
                card.leave()
        if not kept:
            self.gallery.clear()
        self.cards = []
        for place, name in enumerate(self.names):
            card = kept.get(name) or self._card(name)
            card.box.move(self.gallery, place)
            self.cards.append(card)
        if not self.cards:
            self._say_empty(self.place.say("No lens yet"), "", self.place.say("Choose lenses above."))

    def _card(self, name: str) -> Card:
        start = f"{name}."  # the link writes LENS.NAME
        own = {n.removeprefix(start): v for n, v in self.view.parameters.items() if n.startswith(start)}
        with self.gallery:
            return Card(find(name), own, self.place, self)

    def _empty(self, why: str) -> None:
        for card in self.cards:
            card.leave()
        self.cards = []
        say = self.place.say
        does = say("Choose an image on the left, or drop one there: its answer is explained here.")
        self._say_empty(say("No image yet"), why, does)

    def _say_empty(self, title: str, why: str, does: str) -> None:
        self.gallery.clear()
        with self.gallery, ui.element("div").classes("empty").style("grid-column: 1 / -1"):
            ui.label(title).classes("label")
            if why:
                ui.label(why).classes("warning")
            ui.label(does)

    # -- one scale, one report ----------------------------------------------------------------------------------

    def _toggle_scale(self) -> None:
        on = ONE_SCALE not in self.view.parameters
        kept = {name: value for name, value in self.view.parameters.items() if name != ONE_SCALE}
        self.view = self.view.but(parameters=kept | ({ONE_SCALE: "one"} if on else {}))
        self._mark_scale()
        self.place.remember(self.view)
        background_tasks.create(self._rescale())

    def _mark_scale(self) -> None:
        self.one_scale.props(f"aria-pressed={'true' if ONE_SCALE in self.view.parameters else 'false'}")

    async def _rescale(self) -> None:
        """Draw all maps on one scale, those with a sign and those without apart; or each on its own again."""
        for signed in (True, False):
            alike = [(card, value) for card in self.cards if (value := _map(card.value)) and value.signed == signed]
            one = ONE_SCALE in self.view.parameters and alike
            limit = scale_of([value for _, value in alike]).limit or None if one else None
            for card, _ in alike:
                if card.limit != limit:
                    card.limit = limit
                    await card.show()

    async def _report(self) -> None:
        shown = [card.value for card in self.cards if not card.waits]
        values = [v for v in (self.answer.prediction, *shown) if v is not None]
        if not self.cards or not values:
            self.place.complain(self.place.say("There is nothing to report yet: choose an image and a lens."))
            return
        refused = {card.spec.title: card.error for card in self.cards if card.error}
        await self.place.hand_over(partial(report_of, values, refused), "convscope-report.html")

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
        card.run(self._asked(card.spec))

    def swap(self, card: Card, lens: str) -> None:
        """Another lens in its place; one that is there already changes places with it."""
        old = card.spec.command
        if lens != old:
            exchange = {old: lens, lens: old}
            self.choose([exchange.get(name, name) for name in self.names])
            card.swap.value = old  # where the card stays, at another place

    def remove(self, card: Card) -> None:
        """One card fewer."""
        self.choose([name for name in self.names if name != card.spec.command])

    def pin(self, card: Card) -> None:
        """Keep a map below, whatever is looked at next."""
        if (value := _map(card.value)) is not None and not card.waits:
            self.pins.add(card.looked, value)

    def _pinned(self, queries: tuple[str, ...]) -> None:
        self.view = self.view.but(pinned=queries)
        self.place.remember(self.view)

    def advise(self, card: Card) -> None:
        """Find out which lenses fit this network, where it is this lens that does not."""
        background_tasks.create(self._advise(card))

    async def _advise(self, card: Card) -> None:
        view = self._asked(card.spec)
        fit = [one for one in self.choices if not (view.layer and one.takes_layer)]  # the layer may be the reason
        found = await self.place.fitting(view, [one.command for one in fit if one.command not in self.names])
        own = any(one.value is not None for one in self.cards)  # others answer: it is the lens, not the request
        if card.error and card in self.cards and own and found:
            card.suggest(found)


def _own(view: View) -> View:
    """The view with the parameters of its one lens written as this page writes them: ``LENS.NAME``."""
    lens = view.lens.replace("_", "-")
    if not lens or "," in lens:
        return view
    plain = {name: name if "." in name or name == ONE_SCALE else f"{lens}.{name}" for name in view.parameters}
    return view.but(parameters={plain[name]: value for name, value in view.parameters.items()})


def _map(value: Value | None) -> Attribution | None:
    """The map of a card, where it has one that lies over a photo."""
    return value if isinstance(value, Attribution) and lies_over_photo(value) else None
