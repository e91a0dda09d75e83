"""The middle column: a layer with its facts, its feature maps, its kernels, and the distribution of its activations."""

from html import escape
from typing import Any

from nicegui import ui

from convscope import render
from convscope.render.distribution import explain_histograms, layer_histogram
from convscope.render.kernels import VIEW_DESCRIPTIONS
from convscope.render.layer_images import filter_tiles, kernel_legend, layer_maps
from convscope.values import AttentionMaps, Attribution, Distribution, FeatureMaps, Kernels, Value
from convscope.web.page_parts.download_buttons import download_buttons
from convscope.web.page_parts.outdated import mark_current, mark_outdated
from convscope.web.pages.inside.attention_tab import AttentionTab, attends
from convscope.web.pages.inside.evidence_tab import EvidenceTab
from convscope.web.pages.inside.network_graph import layer_facts
from convscope.web.pages.inside.paging import Pager
from convscope.web.pages.inside.selection import Navigator, Selection, UnitName
from convscope.web.pages.inside.widgets import color_bar, error_label, histogram_svg, img_tag

ON_UNIT_CLICK = (
    "(e) => {const element = e.target.closest('[data-unit]'); if (!element) return; "
    "element.parentElement.querySelectorAll('[data-unit]').forEach("
    "(other) => other.setAttribute('aria-pressed', other === element)); "
    "emit(element.dataset.unit);}"
)
"""Emits the number of the unit that was clicked, and marks its tile at once."""
ON_LINK_CLICK = "(e) => {const element = e.target.closest('[data-go]'); if (element) emit(element.dataset.go);}"
"""Emits the address of the layer whose link was clicked."""
FOCUS_PAGE_BUTTON = (
    "document.querySelector(`.inside .module [data-turn='{}']:not([disabled])`)?.focus({{preventScroll: true}})"
)
"""Focuses a page button again after it was redrawn."""
INITIAL_MAPS = 32
"""Maps that are shown at first; a button shows all of them in pages."""

TABS = {
    "maps": "Feature maps",
    "kernels": "Kernels",
    "distribution": "Distribution",
    "attention": "Attention",
    "evidence": "Evidence",
}
"""The tabs of a layer: their names in links, and their titles."""


class LayerColumn:
    """Shows the selected layer; each tab is computed when it is opened."""

    def __init__(self, selection: Selection, navigator: Navigator) -> None:
        self.selection, self.navigator = selection, navigator
        self.images = selection.view.images if selection.view.lens == "activations" else ""
        self.attention = AttentionTab(selection, self._show_tab)
        self.evidence = EvidenceTab(selection, self._show_tab)
        self._turn = 0

    @property
    def tab(self) -> str:
        """The tab that is open."""
        return self.selection.view.tab or next(iter(TABS))

    def build(self) -> None:
        """Add the empty column."""
        tr = self.selection.tr
        with ui.element("section").classes("pane module").props(f'aria-label="{escape(tr("Layer"))}"'):
            self.head = ui.element("div")
            self.tabs = ui.tabs().props("dense no-caps align=left")
            with self.tabs:
                self.tab_heads = {name: ui.tab(name, label=tr(title)) for name, title in TABS.items()}
            self.tabs.set_value(self.tab)
            self.tabs.on_value_change(self._on_tab_chosen)
            self.body = ui.element("div")

    def clear(self) -> None:
        """Remove everything from the column, and forget what is being computed for it."""
        self._turn += 1
        for element in (self.head, self.body):
            element.clear()
            mark_current(element)
        self.tabs.set_visibility(False)

    async def refresh(self) -> None:
        """Show the selected layer."""
        self._draw_head()
        await self._show_tab()

    def mark(self, unit: UnitName | None) -> None:
        """Mark the tile of the selected unit."""
        number = "null" if unit is None else str(unit.number)
        self.selection.context.client.run_javascript(
            "document.querySelectorAll('.inside .maps [data-unit]').forEach("
            f"(element) => element.setAttribute('aria-pressed', element.dataset.unit === '{number}'))"
        )

    def _draw_head(self) -> None:
        selection, tr = self.selection, self.selection.tr
        structure, layer = selection.structure, selection.layer
        self.head.clear()
        self.tabs.set_visibility(bool(layer))
        mark_current(self.head)
        with self.head:
            if structure is None:
                return
            self.tab_heads["attention"].set_visibility(self.tab == "attention" or attends(structure))
            if not layer:
                ui.html(
                    f'<h2>{escape(structure.name)}</h2><div class="nothing">'
                    f"{escape(tr('Choose a layer in the graph to see what it computes on the image.'))}</div>",
                    sanitize=False,
                )
            else:
                ui.html(self._breadcrumbs(), sanitize=False).on(
                    "click", self._on_link_clicked, js_handler=ON_LINK_CLICK
                )
                module = structure.module(layer)
                kind = f"{module.kind} {module.detail}".strip()
                ui.html(f'<h2>{escape(layer)}</h2><p class="hint">{escape(kind)}</p>', sanitize=False)
            rows = "".join(
                f'<div title="{escape(tr(hint))}"><dt>{escape(tr(name))}</dt><dd>{escape(tr(fact))}</dd></div>'
                for name, fact, hint in layer_facts(structure, layer)
            )
            ui.html(f'<dl class="told">{rows}</dl>', sanitize=False)
            self._draw_chain()

    def _breadcrumbs(self) -> str:
        """Links to the modules that contain the layer."""
        assert self.selection.structure is not None
        parts = self.selection.layer.split(".")
        links = [
            f'<button data-go="{escape(".".join(parts[:n]))}">{escape(parts[n - 1])}</button>'
            if n < len(parts)
            else f"<span>{escape(parts[n - 1])}</span>"
            for n in range(1, len(parts) + 1)
        ]
        start = f"<span>{escape(self.selection.structure.name)}</span>"
        return f'<nav class="crumbs">{" › ".join([start, *links])}</nav>'

    def _draw_chain(self) -> None:
        """Add links to the modules that share the layer's node in the graph."""
        graph, layer = self.selection.graph, self.selection.layer
        number = graph.node_of(layer) if graph and layer else None
        members = graph.members(number) if graph and number is not None else []
        if len(members) > 1 and layer in members:
            chips = "".join(
                f'<button class="chip" data-go="{escape(address)}" aria-pressed="{str(address == layer).lower()}">'
                f"{escape(address.rpartition('.')[2])}</button>"
                for address in members
            )
            ui.html(f'<div class="chips">{chips}</div>', sanitize=False).on(
                "click", self._on_link_clicked, js_handler=ON_LINK_CLICK
            )

    async def _on_link_clicked(self, event: Any) -> None:
        await self.navigator.show_layer(str(event.args))

    async def _on_tab_chosen(self, event: Any) -> None:
        self.selection.update(tab=event.value, page="")
        self.body.clear()  # the content of another tab would be mistaken for this one's
        with self.body:
            ui.label(self.selection.tr("Computing …")).classes("hint")
        await self._show_tab()

    async def _show_tab(self) -> None:
        """Compute and show the content of the open tab, unless something else is selected meanwhile."""
        self._turn += 1
        turn, selection, layer = self._turn, self.selection, self.selection.layer
        if not layer:
            self.body.clear()
            mark_current(self.body)
            return
        requests: dict[str, tuple[str, dict[str, Any]]] = {
            "maps": ("feature-maps", {"channels": 0 if selection.view.page else INITIAL_MAPS}),
            "kernels": ("kernels", {"most": 0, "image": ""}),
            "distribution": ("activations", {"images": self.images, **({"image": ""} if self.images else {})}),
        }
        requests["attention"] = ("attention", {})
        mark_outdated(self.body)
        if self.tab == "evidence":
            value = await self.evidence.compute()
        else:
            lens, parameters = requests[self.tab]
            if not selection.view.page:  # pages need all channels, whatever the link's parameters are
                parameters |= selection.link_parameters(lens)
            names = {} if lens == "attention" else {"layer": (layer,)}
            value = await selection.run(lens, **names, **parameters)
        if isinstance(value, AttentionMaps):
            value = await self.attention.complete(value)
        if turn != self._turn or selection.is_closed:
            return
        self.body.clear()
        mark_current(self.body)
        with self.body:
            if isinstance(value, FeatureMaps):
                self._show_maps(value, layer)
            elif isinstance(value, Kernels):
                self._show_kernels(value, layer)
            elif isinstance(value, Distribution):
                self._show_distribution(value, layer)
            elif isinstance(value, AttentionMaps):
                self.attention.show(value)
            elif isinstance(value, Attribution):
                self.evidence.show(value)
            else:
                error_label(str(value))
            if isinstance(value, Value):
                download_buttons(value, selection.context)

    def _show_maps(self, value: FeatureMaps, layer: str) -> None:
        tr = self.selection.tr
        maps, total = layer_maps(value, layer), len(value.strengths[layer])
        rows, columns = maps.shape()
        indices = range(len(maps.channels))
        if len(maps.channels) < total:
            with ui.element("div").classes("hand q-mt-sm"):
                caption = tr(
                    "{few} / {all} channels, the largest mean magnitude first", few=len(indices), all=f"{total:,}"
                )
                ui.label(caption).mark("shown")
                ui.html(f'<button class="plain">{escape(tr("Show all"))}</button>', sanitize=False).on(
                    "click", lambda: self._turn_page(1, "›")
                )
        else:
            pager = Pager.parse(self.selection.view.page, total)
            caption = tr("{first}–{last} of {all} channels, the largest mean magnitude first", **pager.numbers())
            pager.draw(caption, tr, self._turn_page)
            indices = pager.indices
        ui.html(color_bar(maps.legend, tr), sanitize=False)
        wide = ' style="--shape:4"' if columns / rows >= 4 or maps.maps.ndim == 1 else ""
        single = maps.maps.ndim == 1
        tiles = "".join(
            self._tile(
                maps.channels[index],
                maps.tile(index),
                tr("Map of unit {number}", number=maps.channels[index]),
                f"<br>{render.format_number(float(maps.maps[index]))}" if single else "",
            )
            for index in indices
        )
        ui.html(f'<div class="maps" data-layer="{escape(layer)}"{wide}>{tiles}</div>', sanitize=False).on(
            "click", self._on_unit_chosen, js_handler=ON_UNIT_CLICK
        )
        interpretation = value.read.get(layer)
        if interpretation:
            ui.label(tr(interpretation)).classes("hint")

    async def _turn_page(self, number: int, button: str) -> None:
        """Open another page of tiles, and keep the focus on the button that was pressed."""
        self.selection.update(page=str(number))
        await self._show_tab()
        if not self.selection.is_closed:
            self.selection.context.client.run_javascript(FOCUS_PAGE_BUTTON.format(button))

    async def _on_unit_chosen(self, event: Any) -> None:
        await self.navigator.show_unit(UnitName(self.selection.layer, int(event.args)))

    def _show_kernels(self, value: Kernels, layer: str) -> None:
        tr, kernels = self.selection.tr, value.layers[layer]
        ui.label(tr(kernels.kind)).classes("hint q-mt-sm")
        ui.label(tr("Each tile: {what}", what=tr(VIEW_DESCRIPTIONS[kernels.view]))).classes("hint")
        if (legend := kernel_legend(value, layer)) is not None:
            ui.html(color_bar(legend, tr), sanitize=False)
        pager = Pager.parse(self.selection.view.page, len(kernels.shown))
        pager.draw(tr("{first}–{last} of {all} kernels, by number", **pager.numbers()), tr, self._turn_page)
        remarks = {
            **{unit: tr("near zero") for unit in kernels.near_zero},
            **{unit: tr("like noise") for unit in kernels.noise_like},
            **{unit: f"= {other}" for unit, other, _ in kernels.near_duplicate},
        }
        shown = {*sorted(kernels.shown)[pager.indices.start : pager.indices.stop]}
        tiles = "".join(
            self._tile(unit, png, tr("Kernel of unit {number}", number=unit), escape(remarks.get(unit, "")))
            for unit, png in sorted(filter_tiles(value, layer, shown))
        )
        ui.html(f'<div class="maps">{tiles}</div>', sanitize=False).on(
            "click", self._on_unit_chosen, js_handler=ON_UNIT_CLICK
        )

    def _tile(self, number: int, png: bytes, alt: str, remark: str = "") -> str:
        """One unit as a button with its picture."""
        selected = self.selection.unit
        pressed = str(selected is not None and selected.number == number).lower()
        picture = img_tag(png, alt)
        return f'<button data-unit="{number}" aria-pressed="{pressed}">{picture}{number} {remark}</button>'

    def _show_distribution(self, value: Distribution, layer: str) -> None:
        tr, statistics = self.selection.tr, value[layer]
        library, model = self.selection.library, self.selection.view.model
        choices = {"": tr("this image"), **library.collections(self.images, kind=library.kind_of(model))}
        with ui.element("div").classes("hand q-mt-sm"):
            ui.select(choices, value=self.images, label=tr("Computed over"), on_change=self._on_images_chosen).props(
                "outlined dense options-dense stack-label"
            )
        rows = [
            ("Mean", render.format_number(statistics.mean)),
            ("Spread", render.format_number(statistics.spread)),
            ("Range", f"{render.format_number(statistics.low)} … {render.format_number(statistics.high)}"),
            ("Exactly zero", f"{statistics.zeros:.0%}"),
            *(
                (name, f"{count} / {statistics.channels}")
                for name, count in (
                    ("Dead units", statistics.dead),
                    ("Saturated units", statistics.saturated),
                    ("Duplicate units", statistics.duplicates),
                )
                if count is not None
            ),
        ]
        table = "".join(f"<tr><th>{escape(tr(name))}</th><td>{escape(number)}</td></tr>" for name, number in rows)
        ui.html(f'<table class="numbers">{table}</table>', sanitize=False)
        alt = tr("Distribution of the activations of {layer}", layer=layer)
        histogram = layer_histogram(value, layer)
        ui.html(histogram_svg(histogram, alt), sanitize=False).classes("q-mt-md")
        for sentence in explain_histograms(histogram.outside):
            ui.label(tr(sentence)).classes("hint")
        self._show_silent_units(value, layer)
        for note in render.notes(value):
            ui.label(tr(note.text)).classes("remark")

    def _show_silent_units(self, value: Distribution, layer: str) -> None:
        """Add links to the units that were never above zero."""
        if layer not in value.channels or "not above zero" not in value.columns:
            return
        shares = value.channels[layer][:, value.columns.index("not above zero")].tolist()
        silent = [unit for unit, share in enumerate(shares) if share == 1]
        if silent:
            chips = "".join(f'<button class="chip" data-unit="{unit}">{unit}</button>' for unit in silent)
            ui.html(
                f"<h3>{escape(self.selection.tr('Never above zero on these images'))}</h3>"
                f'<div class="chips many">{chips}</div>',
                sanitize=False,
            ).on("click", self._on_unit_chosen, js_handler=ON_UNIT_CLICK)

    async def _on_images_chosen(self, event: Any) -> None:
        self.images = event.value
        await self._show_tab()
