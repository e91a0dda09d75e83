"""The middle column: a module with its facts, its feature maps on the image, its kernels, how its numbers spread."""

from typing import TYPE_CHECKING, Any

from nicegui import ui

from convscope import render
from convscope.render.distribution import key_of_ridges, ridge_of
from convscope.render.kernels import SHOWN_AS
from convscope.render.tiles import Mapped, filter_tiles, kernel_legend, mapped
from convscope.values import Distribution, FeatureMaps, Kernels, Value
from convscope.web.downloads import downloads
from convscope.web.graph import facts
from convscope.web.inside.paging import Pager
from convscope.web.inside.pieces import colour_bar, image, quoted, ridge, trouble
from convscope.web.inside.unit import UnitName
from convscope.web.stale import fresh, stale

if TYPE_CHECKING:
    from convscope.web.inside.explorer import Explorer

CHOOSE = (
    "(e) => {const one = e.target.closest('[data-unit]'); if (!one) return; "
    "one.parentElement.querySelectorAll('[data-unit]').forEach((o) => o.setAttribute('aria-pressed', o === one)); "
    "emit(one.dataset.unit);}"
)
"""Which unit was chosen; its tile is marked at once."""
GO = "(e) => {const one = e.target.closest('[data-go]'); if (one) emit(one.dataset.go);}"
TURNED = "document.querySelector(`.inside .module [data-turn='{}']:not([disabled])`)?.focus({{preventScroll: true}})"
"""Give the button of a page the focus again after it was drawn anew."""
FEW = 32
"""Maps shown at first, before all of them are asked for in pages."""

TABS = {"maps": "Feature maps", "kernels": "Kernels", "distribution": "Distribution"}
"""What a layer is looked at by, as links name it and as people read it."""


class NodeColumn:
    """Shows the module in view; what takes work is asked for when its tab is opened."""

    def __init__(self, explorer: "Explorer") -> None:
        self.explorer = explorer
        self.images = explorer.view.images if explorer.view.lens == "activations" else ""
        self.turn = 0
        self.maps: Mapped | None = None
        self.value: FeatureMaps | None = None

    @property
    def tab(self) -> str:
        """The tab that is open."""
        return self.explorer.view.tab or next(iter(TABS))

    def build(self) -> None:
        """Draw the empty column."""
        say = self.explorer.say
        with ui.element("section").classes("pane module").props(f'aria-label="{quoted(say("Layer"))}"'):
            self.head = ui.element("div")
            self.tabs = ui.tabs(value=self.tab, on_change=self._tab_chosen).props("dense no-caps align=left")
            with self.tabs:
                for name, title in TABS.items():
                    ui.tab(name, label=say(title))
            self.body = ui.element("div")

    async def refresh(self) -> None:
        """Show the module in view."""
        self._write_head()
        await self._show_tab()

    def mark(self, unit: "UnitName | None") -> None:
        """Mark the tile of the unit in view."""
        number = "null" if unit is None else str(unit.number)
        self.explorer.place.client.run_javascript(
            "document.querySelectorAll('.inside .maps [data-unit]').forEach("
            f"(one) => one.setAttribute('aria-pressed', one.dataset.unit === '{number}'))"
        )

    def _write_head(self) -> None:
        explorer, say = self.explorer, self.explorer.say
        structure, layer = explorer.structure, explorer.layer
        self.head.clear()
        self.tabs.set_visibility(bool(layer))
        fresh(self.head)
        with self.head:
            if structure is None:
                return
            if not layer:
                ui.html(
                    f'<h2>{quoted(structure.name)}</h2><div class="nothing">'
                    f"{quoted(say('Choose a layer in the graph to see what it computes on the image.'))}</div>",
                    sanitize=False,
                )
                rows = facts(structure, "")
            else:
                rows = facts(structure, layer)
                ui.html(self._crumbs(), sanitize=False).on("click", self._gone, js_handler=GO)
                one = structure.module(layer)
                ui.html(
                    f'<h2>{quoted(layer)}</h2><p class="hint">{quoted(f"{one.kind} {one.detail}".strip())}</p>',
                    sanitize=False,
                )
            told = "".join(
                f'<div title="{quoted(say(hint))}"><dt>{quoted(say(name))}</dt><dd>{quoted(say(what))}</dd></div>'
                for name, what, hint in rows
            )
            ui.html(f'<dl class="told">{told}</dl>', sanitize=False)
            self._write_chain()

    def _crumbs(self) -> str:
        """The modules in which this one lies, each a step back."""
        assert self.explorer.structure is not None
        parts = self.explorer.layer.split(".")
        steps = [
            f'<button data-go="{quoted(".".join(parts[:n]))}">{quoted(parts[n - 1])}</button>'
            if n < len(parts)
            else f"<span>{quoted(parts[n - 1])}</span>"
            for n in range(1, len(parts) + 1)
        ]
        start = f"<span>{quoted(self.explorer.structure.name)}</span>"
        return f'<nav class="crumbs">{" › ".join([start, *steps])}</nav>'

    def _write_chain(self) -> None:
        """The modules that share this one's node in the graph."""
        explorer = self.explorer
        number = explorer.graph.node_of(explorer.layer) if explorer.layer else None
        members = explorer.graph.members(number) if number is not None else []
        if len(members) > 1 and explorer.layer in members:
            chips = "".join(
                f'<button class="chip" data-go="{quoted(one)}" aria-pressed="{str(one == explorer.layer).lower()}">'
                f"{quoted(one.rpartition('.')[2])}</button>"
                for one in members
            )
            ui.html(f'<div class="chips">{chips}</div>', sanitize=False).on("click", self._gone, js_handler=GO)

    async def _gone(self, event: Any) -> None:
        await self.explorer.show(str(event.args))

    async def _tab_chosen(self, event: Any) -> None:
        self.explorer.choose(tab=event.value, page="")
        self.body.clear()  # what another tab showed would be read as this one's
        with self.body:
            ui.label(self.explorer.say("Looking …")).classes("hint")
        await self._show_tab()

    async def _show_tab(self) -> None:
        """Ask for what the open tab shows, and show it, unless something else was chosen meanwhile."""
        self.turn += 1
        turn, layer = self.turn, self.explorer.layer
        if not layer:
            self.body.clear()
            fresh(self.body)
            return
        asked: dict[str, tuple[str, dict[str, Any]]] = {
            "maps": ("feature-maps", {"channels": 0 if self.explorer.view.page else FEW}),
            "kernels": ("kernels", {"most": 0, "image": ""}),
            "distribution": ("activations", {"images": self.images, **({"image": ""} if self.images else {})}),
        }
        lens, parameters = asked[self.tab]
        if not self.explorer.view.page:  # of pages there are as many as all of it needs
            parameters |= self.explorer.given(lens)
        stale(self.body)
        found = await self.explorer.look(lens, layer=(layer,), **parameters)
        if turn != self.turn or self.explorer.place.client.is_deleted:
            return
        self.body.clear()
        fresh(self.body)
        with self.body:
            if isinstance(found, FeatureMaps):
                self._show_maps(found, layer)
            elif isinstance(found, Kernels):
                self._show_kernels(found, layer)
            elif isinstance(found, Distribution):
                self._show_spread(found, layer)
            else:
                trouble(str(found))
            if isinstance(found, Value):
                downloads(found, self.explorer.place)

    def _show_maps(self, value: FeatureMaps, layer: str) -> None:
        say = self.explorer.say
        self.value, self.maps = value, mapped(value, layer)
        maps, total = self.maps, len(value.strengths[layer])
        rows, columns = maps.shape()
        places = range(len(maps.channels))
        if len(maps.channels) < total:
            with ui.element("div").classes("hand q-mt-sm"):
                told = say(
                    "{few} / {all} channels, the largest mean magnitude first", few=len(places), all=f"{total:,}"
                )
                ui.label(told).mark("shown")
                ui.html(f'<button class="plain">{quoted(say("Show all"))}</button>', sanitize=False).on(
                    "click", lambda: self._turn(1, "›")
                )
        else:
            pager = Pager.read(self.explorer.view.page, total)
            told = say("{first}–{last} of {all} channels, the largest mean magnitude first", **pager.numbers())
            pager.draw(told, say, self._turn)
            places = pager.places
        ui.html(colour_bar(maps.legend, say), sanitize=False)
        wide = ' style="--shape:4"' if columns / rows >= 4 or maps.maps.ndim == 1 else ""
        single = maps.maps.ndim == 1
        tiles = "".join(
            self._tile(
                maps.channels[place],
                maps.tile(place),
                say("Map of unit {number}", number=maps.channels[place]),
                f"<br>{render.number(float(maps.maps[place]))}" if single else "",
            )
            for place in places
        )
        ui.html(f'<div class="maps" data-layer="{quoted(layer)}"{wide}>{tiles}</div>', sanitize=False).on(
            "click", self._unit_chosen, js_handler=CHOOSE
        )
        where = value.read.get(layer)
        if where:
            ui.label(say(where)).classes("hint")

    async def _turn(self, number: int, button: str) -> None:
        """Open another page of maps or kernels, and leave the focus on the button that led there."""
        self.explorer.choose(page=str(number))
        await self._show_tab()
        if not self.explorer.place.client.is_deleted:
            self.explorer.place.client.run_javascript(TURNED.format(button))

    async def _unit_chosen(self, event: Any) -> None:
        await self.explorer.show_unit(UnitName(self.explorer.layer, int(event.args)))

    def _show_kernels(self, value: Kernels, layer: str) -> None:
        say, about = self.explorer.say, value.layers[layer]
        ui.label(say(about.kind)).classes("hint q-mt-sm")
        ui.label(say("Each tile: {what}", what=say(SHOWN_AS[about.view]))).classes("hint")
        if (legend := kernel_legend(value, layer)) is not None:
            ui.html(colour_bar(legend, say), sanitize=False)
        pager = Pager.read(self.explorer.view.page, len(about.shown))
        pager.draw(say("{first}–{last} of {all} kernels, by number", **pager.numbers()), say, self._turn)
        repeats = {one: other for one, other, _ in about.near_duplicate}
        odd = {
            **{one: say("near zero") for one in about.near_zero},
            **{one: say("like noise") for one in about.noise_like},
            **{one: f"= {other}" for one, other in repeats.items()},
        }
        shown = {*sorted(about.shown)[pager.places.start : pager.places.stop]}
        tiles = "".join(
            self._tile(one, png, say("Kernel of unit {number}", number=one), quoted(odd.get(one, "")))
            for one, png in sorted(filter_tiles(value, layer, shown))
        )
        ui.html(f'<div class="maps">{tiles}</div>', sanitize=False).on("click", self._unit_chosen, js_handler=CHOOSE)

    def _tile(self, number: int, png: bytes, alt: str, remark: str = "") -> str:
        """One unit as a button with its picture."""
        chosen = self.explorer.unit.name
        pressed = str(chosen is not None and chosen.number == number).lower()
        drawn = image(png, alt)
        return f'<button data-unit="{number}" aria-pressed="{pressed}">{drawn}{number} {remark}</button>'

    def _show_spread(self, value: Distribution, layer: str) -> None:
        say, one = self.explorer.say, value[layer]
        choices = {"": say("this image"), **self.explorer.library.collections(self.images)}
        with ui.element("div").classes("hand q-mt-sm"):
            ui.select(choices, value=self.images, label=say("Over"), on_change=self._images_chosen).props(
                "outlined dense options-dense stack-label"
            )
        rows = [
            ("Mean", render.number(one.mean)),
            ("Spread", render.number(one.spread)),
            ("Range", f"{render.number(one.low)} … {render.number(one.high)}"),
            ("Exactly zero", f"{one.zeros:.0%}"),
            *(
                (name, f"{count} / {one.channels}")
                for name, count in (
                    ("Dead units", one.dead),
                    ("Saturated units", one.saturated),
                    ("Duplicate units", one.duplicates),
                )
                if count is not None
            ),
        ]
        table = "".join(f"<tr><th>{quoted(say(name))}</th><td>{quoted(what)}</td></tr>" for name, what in rows)
        ui.html(f'<table class="numbers">{table}</table>', sanitize=False)
        alt = say("How the numbers of {layer} are spread", layer=layer)
        histogram = ridge_of(value, layer)
        ui.html(ridge(histogram, alt), sanitize=False).classes("q-mt-md")
        for sentence in key_of_ridges(histogram.outside):
            ui.label(say(sentence)).classes("hint")
        self._show_silent(value, layer)
        for note in render.notes(value):
            ui.label(say(note.text)).classes("remark")

    def _show_silent(self, value: Distribution, layer: str) -> None:
        """The units that never rose above zero, each to be looked at."""
        if layer not in value.channels or "not above zero" not in value.columns:
            return
        column = value.channels[layer][:, value.columns.index("not above zero")].tolist()
        silent = [unit for unit, share in enumerate(column) if share == 1]
        if silent:
            chips = "".join(f'<button class="chip" data-unit="{unit}">{unit}</button>' for unit in silent)
            ui.html(
                f"<h3>{quoted(self.explorer.say('Never above zero on these images'))}</h3>"
                f'<div class="chips many">{chips}</div>',
                sanitize=False,
            ).on("click", self._unit_chosen, js_handler=CHOOSE)

    async def _images_chosen(self, event: Any) -> None:
        self.images = event.value
        await self._show_tab()
