"""The page as a whole: what is chosen, and the three columns that follow the choice."""

import asyncio
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from nicegui import ui

from convscope.errors import ConvScopeError
from convscope.values import Structure, Value
from convscope.values.formatting import many
from convscope.web.buttons import button
from convscope.web.caveats import Caveats
from convscope.web.graph import Folds, Graph, deepest, first_depth
from convscope.web.inside.node import TABS, NodeColumn
from convscope.web.inside.pieces import quoted, trouble
from convscope.web.inside.unit import UnitColumn, UnitName
from convscope.web.jobs.waiting import aside
from convscope.web.lens_page import INSIDE
from convscope.web.link_checks import refused, say_what_is_amiss, wrong_names
from convscope.web.page_layout import Place
from convscope.web.pictures import thumbnail
from convscope.web.stale import fresh, stale
from convscope.web.url_state import View

FOLLOW = (
    "(e) => {const one = e.target.closest('[data-node],[data-open],[data-fold]'); if (!one) return; "
    "if (e.type === 'keydown') {if (e.key !== 'Enter' && e.key !== ' ') return; e.preventDefault();} "
    "emit({...one.dataset});}"
)
"""Which node or button of the graph was meant, by mouse or by keyboard."""


PICTURE = (
    "(e) => {const one = e.target.closest('[data-image]'); if (!one) return; "
    "one.parentElement.querySelectorAll('[data-image]').forEach((o) => o.setAttribute('aria-pressed', o === one)); "
    "emit(one.dataset.image);}"
)
"""Which image was picked; it is marked at once."""
THUMBS = 24
"""So many images are shown to pick at first; the rest when they are asked for."""


class Explorer:
    """What a person has chosen, and the columns that show it.

    Attributes:
        view: the choice as the link carries it.
        structure: the network's, once it is known.
    """

    def __init__(self, place: Place, view: View) -> None:
        library = place.bench.library
        self.place, self.library = place, library
        first = next((one.key for one in library.images()), "")
        layer = view.layer[:1] or tuple(one.partition("[")[0] for one in view.unit[:1])
        lens = view.lens.replace("_", "-")
        self.view = View(
            model=view.model or library.addresses[0],
            image=view.image or first,
            images="" if refused(library.collection, view.images) else view.images,
            layer=layer,
            unit=view.unit[:1],
            tab=view.tab if view.tab in TABS else "",
            page=view.page,
            lens=lens if lens in INSIDE else "",
            parameters=view.parameters if lens in INSIDE else {},
        )
        self.asked = view
        self.structure: Structure | None = None
        self.turn = 0
        self.folds = Folds()
        self.node, self.unit = NodeColumn(self), UnitColumn(self)

    def say(self, english: str, **values: object) -> str:
        """A text in the person's language."""
        return self.place.say(english, **values)

    async def look(self, lens: str, **parameters: Any) -> Value | str:
        """What a lens gives for the model and image in view; or why it does not, in one sentence."""
        try:
            return await self.place.look(self.asking(lens, **parameters))
        except (ConvScopeError, OSError) as error:
            return str(error)

    def asking(self, lens: str, **parameters: Any) -> View:
        """What a lens is asked for the model and image in view."""
        known = {name: parameters.pop(name) for name in ("image", "images", "layer", "unit") if name in parameters}
        return View(lens=lens, model=self.view.model, parameters=parameters, **{"image": self.view.image, **known})

    def given(self, lens: str) -> Mapping[str, Any]:
        """The parameters that the link has for a lens."""
        return self.view.parameters if lens == self.view.lens else {}

    @property
    def layer(self) -> str:
        """The address in view; empty where none was chosen."""
        return self.view.layer[0] if self.view.layer else ""

    async def open(self) -> None:
        """Draw the page, and fill it."""
        ui.html(quoted(self.say("Inside")), sanitize=False, tag="h1").classes("hidden-text")
        ui.add_css(_text("inside.css"))
        ui.add_body_html(f"<script>{_text('inside.js')}</script>")
        unknown = [] if self.asked.tab in ("", *TABS) else [self.say("There is no tab {} here.").format(self.asked.tab)]
        named = wrong_names(self.asked, self.place, without=("model", "image", "style", "guide"))
        say_what_is_amiss([*unknown, *named])
        self.amiss = ui.element("div")
        self._bar()
        self.caveats = Caveats(self.place)
        with ui.element("div").classes("inside"):
            with ui.element("section").classes("pane map").props(f'aria-label="{quoted(self.say("Architecture"))}"'):
                self._graph_column()
            self.node.build()
            self.unit.build()
        ui.timer(0, self.reload, once=True)
        ui.timer(0, lambda: self._show_thumbs(THUMBS), once=True)

    # What is looked at

    def _bar(self) -> None:
        library = self.library
        with ui.element("div").classes("inside-bar"):
            ui.select(
                library.names(self.view.model),
                value=self.view.model,
                label=self.say("Model"),
                on_change=self._model_chosen,
            ).props("outlined dense options-dense stack-label")
            images = {one.key: one.name for one in library.images()}
            self.images = ui.select(
                images,
                value=self.view.image if self.view.image in images else None,
                label=self.say("Image"),
                on_change=self._image_chosen,
                with_input=len(images) > 30,
            ).props("outlined dense options-dense stack-label")
            self.thumbs = ui.element("div").classes("thumbs")
            self.thumbs.props(f'role="group" aria-label="{quoted(self.say("Images"))}"')

    async def _show_thumbs(self, most: int | None) -> None:
        """The images to pick, small."""
        listed = self.library.images()
        shown = listed[:most]
        drawn = await aside(lambda: [self._thumb(one.key, one.name) for one in shown])
        if not self.place.client.is_deleted and drawn:
            self.thumbs.clear()
            with self.thumbs:
                ui.html("".join(drawn), sanitize=False).classes("thumbs").on(
                    "click", lambda e: self.images.set_value(str(e.args)), js_handler=PICTURE
                )
                if more := len(listed) - len(shown):
                    button(f"+{more}", lambda: self._show_thumbs(None), style="plain", name=self.say("All images"))
            self._mark_thumbs()

    def _thumb(self, key: str, name: str) -> str:
        try:
            address = thumbnail(self.library, key)
        except (ConvScopeError, OSError):
            return ""
        return (
            f'<button class="thumb" type="button" data-image="{quoted(key)}" title="{quoted(name)}" '
            f'aria-label="{quoted(name)}"><img src="{address}" alt=""></button>'
        )

    def _mark_thumbs(self) -> None:
        self.place.client.run_javascript(
            "document.querySelectorAll('.inside-bar [data-image]').forEach("
            f"(one) => one.setAttribute('aria-pressed', one.dataset.image === {json.dumps(self.view.image)}))"
        )

    async def _model_chosen(self, event: Any) -> None:
        self.choose(model=event.value, layer=(), unit=(), page="")
        await self.reload()

    async def _image_chosen(self, event: Any) -> None:
        self.choose(image=event.value or "")
        self._mark_thumbs()
        await asyncio.gather(self.node.refresh(), self.unit.refresh())

    def choose(self, **changes: Any) -> None:
        """Change the choice, and the link with it."""
        self.view = self.view.but(**changes)
        self.place.remember(self.view)

    # The graph

    def _graph_column(self) -> None:
        ui.html(f"<h2>{quoted(self.say('Architecture'))}</h2>", sanitize=False)
        self.told = ui.label("").classes("hint")
        with ui.element("div").classes("hand"):
            ui.label(self.say("Depth"))
            self.depth = ui.slider(min=1, max=2, value=1, step=1).props(
                f'dense markers snap aria-label="{quoted(self.say("Levels of modules that are open"))}"'
            )
            self.depth.on("change", self._deepened)
            for label, words, factor in (("−", "Smaller", 1 / 1.25), ("+", "Larger", 1.25), ("⤢", "Fit", 0)):
                button = (
                    f'<button class="plain" aria-label="{quoted(self.say(words))}" title="{quoted(self.say(words))}">'
                )
                ui.html(f"{button}{label}</button>", sanitize=False).on(
                    "click", js_handler=f"() => convscopeZoom({factor})"
                )
        self.scroll = ui.element("div").classes("graph-scroll")
        with self.scroll:
            self.failure = ui.element("div")
            self.picture = ui.html("", sanitize=False)
            self.picture.on("click", self._followed, js_handler=FOLLOW)
            self.picture.on("keydown", self._followed, js_handler=FOLLOW)
        key = (
            f'<i style="background:var(--accent)"></i>FLOPs &nbsp; <i style="background:var(--warning)"></i>'
            f"{quoted(self.say('Parameters, in shares of the largest'))}"
        )
        ui.html(key, sanitize=False).classes("key hint q-mt-sm")

    async def reload(self) -> None:
        """Begin anew with the model in view."""
        self.caveats.show([self.view.model])
        self.structure = None
        self.turn += 1
        turn = self.turn
        stale(self.told, self.scroll, self.node.head, self.node.body, self.unit.body)
        found = await self.look("structure", image="", **self.given("structure"))
        if turn != self.turn or self.place.client.is_deleted:
            return  # another network was chosen meanwhile
        fresh(self.told, self.scroll)
        self.failure.clear()
        if isinstance(found, str):
            self._show_failure(found)
            return
        assert isinstance(found, Structure)
        self.structure = found
        self.depth.props(f"max={max(2, deepest(found))}")
        self.folds = Folds(found.record.parameters.get("depth") or first_depth(found))
        self.depth.set_value(self.folds.depth)
        await self._settle({one.address for one in found.modules})
        self.told.set_text(
            self.say(
                "{count} parameters · {flops} FLOPs · {operations} operations",
                count=many(found.parameters),
                flops=many(found.flops),
                operations=len(found.operations),
            )
        )
        if self.layer:
            self.folds = self.folds.showing(self.layer)
        else:
            self.view = self.view.but(layer=self._first())
        self.draw()
        await asyncio.gather(self.node.refresh(), self.unit.refresh())

    def _show_failure(self, why: str) -> None:
        """Say why there is nothing of the network in view, and show nothing of an earlier one."""
        self.told.set_text("")
        self.picture.set_content("")
        with self.failure:
            trouble(why)
        for column in (self.node.head, self.node.body, self.unit.body):
            column.clear()
            fresh(column)
        self.node.tabs.set_visibility(False)
        self.unit.shown = ()

    async def _settle(self, known: set[str]) -> None:
        """Say which layer or unit of the choice the network does not have, and go on without."""
        units = self.view.unit
        why: Value | str = ""
        if self.layer and self.layer not in known:
            why = await self.look("feature-maps", layer=self.view.layer)
            self.view = self.view.but(layer=(), unit=())
        elif units and UnitName.read(units[0]) is None:
            why = await self.look("step-through", unit=units)
            self.view = self.view.but(unit=())
        self.amiss.clear()
        with self.amiss:
            say_what_is_amiss([why] if isinstance(why, str) and why else [])

    def _first(self) -> tuple[str, ...]:
        """Where to begin: the first module that the input goes through."""
        graph = Graph(self.structure, self.folds) if self.structure else None
        found = (graph.members(n) for n in range(len(graph.graph.nodes))) if graph else iter(())
        return next((tuple(members[:1]) for members in found if members), ())

    def draw(self, focus: str = "") -> None:
        """Draw the graph as it is folded now, and bring the choice, or what has the focus, into sight."""
        assert self.structure is not None
        self.graph = Graph(self.structure, self.folds)
        self.picture.set_content(self.graph.svg(self.layer, self.say))
        selector = focus or "svg.graph .chosen"
        self.place.client.run_javascript(
            f"setTimeout(() => convscopeShow({selector!r}, {'true' if focus else 'false'}), 60)"
        )

    async def _followed(self, event: Any) -> None:
        """A node was chosen, opened or folded."""
        if self.structure is None:
            return
        if "open" in event.args:
            self.folds = self.folds.open(event.args["open"])
            self.draw(f'[data-fold="{event.args["open"]}"]')
        elif "fold" in event.args:
            self.folds = self.folds.fold(event.args["fold"])
            self.draw(f'[data-open="{event.args["fold"]}"]')
        elif event.args.get("node", "").isdecimal():
            members = self.graph.members(int(event.args["node"]))
            if members:
                await self.show(members[0], focus=f'[data-node="{int(event.args["node"])}"]')

    def _deepened(self) -> None:
        if self.structure is not None:
            self.folds = Folds(int(self.depth.value))
            self.draw()

    # The choice

    async def show(self, address: str, *, focus: str = "") -> None:
        """Look at a module."""
        if self.structure is None or address == self.layer:
            return
        self.choose(layer=(address,), unit=(), page="")
        if self.graph.node_of(address) is None:  # it is open, and so no node: as one it can be looked at
            self.folds = self.folds.showing(address).fold(address)
        self.draw(focus)
        self.place.client.run_javascript("convscopeReveal('.inside .module')")
        await asyncio.gather(self.node.refresh(), self.unit.refresh())

    async def show_unit(self, unit: UnitName) -> None:
        """Look at a unit of the module, or at one place of it."""
        if unit.layer != self.layer:
            await self.show(unit.layer)
        self.choose(unit=(str(unit),))
        self.node.mark(unit)
        if not unit.position:
            self.place.client.run_javascript("convscopeReveal('.inside .unit')")
        await self.unit.refresh()


@cache
def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")
