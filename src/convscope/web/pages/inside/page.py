"""Inside: the network as a graph, beside it the outputs of one layer, and beside that one unit of the layer."""

import asyncio
import json
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from nicegui import background_tasks, ui

from convscope.engine.inputs.named_inputs import NamedInputs
from convscope.engine.layers.addresses import split_brackets
from convscope.engine.network.model import Model
from convscope.errors import ConvScopeError
from convscope.spec import LensSpec
from convscope.values import Structure, Value
from convscope.values.formatting import format_count
from convscope.web.frame.page_context import PageContext
from convscope.web.frame.page_registry import page
from convscope.web.jobs.async_wait import run_in_thread
from convscope.web.page_parts.buttons import button
from convscope.web.page_parts.link_checks import lookup_error, name_problems, show_link_problems
from convscope.web.page_parts.model_caveats import Caveats
from convscope.web.page_parts.outdated import mark_current, mark_outdated
from convscope.web.page_parts.thumbnails import thumbnail_uri
from convscope.web.page_parts.written_fields import WrittenFields
from convscope.web.pages.inside.evidence_tab import evidence_lenses
from convscope.web.pages.inside.layer_column import TABS, LayerColumn
from convscope.web.pages.inside.network_graph import FoldState, GraphView, initial_depth, max_depth
from convscope.web.pages.inside.selection import Selection, UnitName
from convscope.web.pages.inside.unit_column import UnitColumn
from convscope.web.pages.inside.widgets import error_label
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.url_state import View
from convscope.web.requests.written_inputs import named_keys

ON_GRAPH_CLICK = (
    "(e) => {const element = e.target.closest('[data-node],[data-open],[data-fold]'); if (!element) return; "
    "if (e.type === 'keydown') {if (e.key !== 'Enter' && e.key !== ' ') return; e.preventDefault();} "
    "emit({...element.dataset});}"
)
"""Emits which node or button of the graph was clicked, or activated by keyboard."""
ON_IMAGE_CLICK = (
    "(e) => {const element = e.target.closest('[data-image]'); if (!element) return; "
    "element.parentElement.querySelectorAll('[data-image]').forEach("
    "(other) => other.setAttribute('aria-pressed', other === element)); "
    "emit(element.dataset.image);}"
)
"""Emits the key of the image that was clicked, and marks it at once."""
LENS_TABS = {
    "structure": "",
    "feature-maps": "maps",
    "kernels": "kernels",
    "activations": "distribution",
    "attention": "attention",
    "step-through": "",
    "top-inputs": "",
}
"""The lenses that this page shows, and the tab of each; an empty text where it is shown outside the tabs."""
INITIAL_THUMBNAILS = 24
"""Images that are listed at first; a button shows the others."""


def _shows(spec: LensSpec) -> bool:
    return spec.command in LENS_TABS


def _lens_in_link(view: View, spec: LensSpec) -> View:
    """The view in a link to this page, with the tab of the lens."""
    return view.replace(lens=spec.command, tab=LENS_TABS[spec.command])


@page("/inside", "Inside", order=2, shows=_shows, link_view=_lens_in_link)
async def build(view: View, context: PageContext) -> None:
    """Build the page for the layer and unit in the link."""
    await InsidePage(context, view).open()


class InsidePage:
    """One open page: the choice of model and image, the graph, and the columns of a layer and a unit."""

    def __init__(self, context: PageContext, view: View) -> None:
        self.context, self.library, self.tr = context, context.services.library, context.tr
        self.requested = view
        self.selection = Selection(context, _initial_view(view, self.library))
        self.folds = FoldState()
        self.layer_column = LayerColumn(self.selection, self)
        self.unit_column = UnitColumn(self.selection, self)
        self._turn = 0

    async def open(self) -> None:
        """Build the page, and fill it."""
        tr, tab = self.tr, self.requested.tab
        ui.html(escape(tr("Inside")), sanitize=False, tag="h1").classes("hidden-text")
        ui.add_css(_read_text("inside.css"))
        ui.add_body_html(f"<script>{_read_text('inside.js')}</script>")
        unknown_tab = [] if tab in ("", *TABS) else [tr("There is no tab {} here.").format(tab)]
        unknown_names = name_problems(self.requested, self.context, without=("network", "image", "second image"))
        show_link_problems([*unknown_tab, *unknown_names])
        self.problems = ui.element("div")
        self._draw_bar()
        self.caveats = Caveats(self.context)
        with ui.element("div").classes("inside"):
            with ui.element("section").classes("pane map").props(f'aria-label="{escape(tr("Architecture"))}"'):
                self._draw_graph_column()
            self.layer_column.build()
            self.unit_column.build()
        ui.timer(0, self.reload, once=True)
        ui.timer(0, lambda: self._show_thumbnails(INITIAL_THUMBNAILS), once=True)

    # The choice of model and image

    def _draw_bar(self) -> None:
        tr, library, view = self.tr, self.library, self.selection.view
        with ui.element("div").classes("inside-bar"):
            ui.select(
                library.names(view.model),
                value=view.model,
                label=tr("Model"),
                on_change=self._on_model_chosen,
            ).props("outlined dense options-dense stack-label")
            images = self._image_names(view.model)
            self.image_select = ui.select(
                images,
                value=view.image if view.image in images else None,
                label=tr("Image"),
                on_change=self._on_image_chosen,
                with_input=len(images) > 30,
            ).props("outlined dense options-dense stack-label")
            self.written = WrittenFields(self.context, self._on_written)
            self.thumbnails = ui.element("div").classes("thumbs")
            self.thumbnails.props(f'role="group" aria-label="{escape(tr("Images"))}"')

    async def _show_thumbnails(self, limit: int | None) -> None:
        """Add the thumbnails of the images."""
        listed = self.library.images(self.library.listed_kind(self.selection.view.model))
        shown = listed[:limit]
        thumbnails = await run_in_thread(lambda: [self._thumbnail(image.key, image.name) for image in shown])
        if not self.selection.is_closed and thumbnails:
            self.thumbnails.clear()
            with self.thumbnails:
                ui.html("".join(thumbnails), sanitize=False).classes("thumbs").on(
                    "click", lambda e: self._show_input(self.written.replaced(str(e.args))), js_handler=ON_IMAGE_CLICK
                )
                if more := len(listed) - len(shown):
                    button(f"+{more}", lambda: self._show_thumbnails(None), style="plain", name=self.tr("All images"))
            self._mark_thumbnails()

    def _thumbnail(self, key: str, name: str) -> str:
        try:
            uri = thumbnail_uri(self.library, key)
        except (ConvScopeError, OSError):
            return ""
        return (
            f'<button class="thumb" type="button" data-image="{escape(key)}" title="{escape(name)}" '
            f'aria-label="{escape(name)}"><img src="{uri}" alt=""></button>'
        )

    def _mark_thumbnails(self) -> None:
        key = self.selection.view.image
        chosen = json.dumps([key, *named_keys(key).values()])
        self.context.client.run_javascript(
            "document.querySelectorAll('.inside-bar [data-image]').forEach("
            f"(element) => element.setAttribute('aria-pressed', {chosen}.includes(element.dataset.image)))"
        )

    async def _on_model_chosen(self, event: Any) -> None:
        image = self.library.image_for(event.value, self.selection.view.image)
        self.selection.update(model=event.value, image=image, layer=(), unit=(), page="")
        names = self._image_names(event.value)
        self.image_select.set_options(names, value=image if image in names else None)
        await asyncio.gather(self.reload(), self._show_thumbnails(INITIAL_THUMBNAILS))

    def _image_names(self, model: str) -> dict[str, str]:
        """The names of the images that a model may take, by key."""
        return {image.key: image.name for image in self.library.images(self.library.listed_kind(model))}

    async def _on_image_chosen(self, event: Any) -> None:
        if event.value and event.value != self.selection.view.image:  # else another model was chosen, or a text typed
            await self._show_input(event.value)

    def _on_written(self, key: str) -> None:
        background_tasks.create(self._show_input(key))

    async def _show_input(self, key: str) -> None:
        """Show everything for another image, text or row."""
        self.selection.update(image=key)
        self.image_select.set_value(key if key in self.image_select.options else None)
        self._show_fields(await run_in_thread(self.library.model, self.selection.view.model))
        self._mark_thumbnails()
        await self._refresh_columns()

    def _show_fields(self, model: Model) -> None:
        """Show the fields of what is typed; a network of several inputs has a field for each, instead of one list."""
        self.written.show(model.input, self.selection.view.image)
        self.image_select.props(f'label="{escape(self.selection.tr("Image"))}"')
        self.image_select.set_visibility(bool(self.image_select.options) and not isinstance(model.input, NamedInputs))

    async def _refresh_columns(self) -> None:
        await asyncio.gather(self.layer_column.refresh(), self.unit_column.refresh())

    # The graph

    def _draw_graph_column(self) -> None:
        tr = self.tr
        ui.html(f"<h2>{escape(tr('Architecture'))}</h2>", sanitize=False)
        self.summary = ui.label("").classes("hint")
        with ui.element("div").classes("hand"):
            ui.label(tr("Depth"))
            self.depth = ui.slider(min=1, max=2, value=1, step=1).props(
                f'dense markers snap aria-label="{escape(tr("Levels of unfolded modules"))}"'
            )
            self.depth.on("change", self._on_depth_changed)
            for label, title, factor in (("−", "Smaller", 1 / 1.25), ("+", "Larger", 1.25), ("⤢", "Fit", 0)):
                name = escape(tr(title))
                ui.html(
                    f'<button class="plain" aria-label="{name}" title="{name}">{label}</button>', sanitize=False
                ).on("click", js_handler=f"() => convscopeZoom({factor})")
        self.scroll_area = ui.element("div").classes("graph-scroll")
        with self.scroll_area:
            self.error_box = ui.element("div")
            self.picture = ui.html("", sanitize=False)
            self.picture.on("click", self._on_graph_event, js_handler=ON_GRAPH_CLICK)
            self.picture.on("keydown", self._on_graph_event, js_handler=ON_GRAPH_CLICK)
        key = (
            f'<i style="background:var(--accent)"></i>FLOPs &nbsp; <i style="background:var(--warning)"></i>'
            f"{escape(tr('Parameters, relative to the largest'))}"
        )
        ui.html(key, sanitize=False).classes("key hint q-mt-sm")

    async def reload(self) -> None:
        """Compute the structure of the selected model, and show everything anew."""
        selection = self.selection
        self.caveats.show([selection.view.model])
        selection.structure = selection.graph = None
        self._turn += 1
        turn = self._turn
        mark_outdated(self.summary, self.scroll_area)
        mark_outdated(self.layer_column.head, self.layer_column.body, self.unit_column.body)
        value = await selection.run("structure", image="", **selection.link_parameters("structure"))
        if turn != self._turn or selection.is_closed:
            return  # another network was chosen meanwhile
        if isinstance(value, Structure):
            self._show_fields(await run_in_thread(self.library.model, selection.view.model))
        mark_current(self.summary, self.scroll_area)
        self.error_box.clear()
        if isinstance(value, str):
            self._show_error(value)
            return
        assert isinstance(value, Structure)
        selection.structure = value
        self.depth.props(f"max={max(2, max_depth(value))}")
        self.folds = FoldState(value.record.parameters.get("depth") or initial_depth(value))
        self.depth.set_value(self.folds.depth)
        await self._drop_unknown_names({module.address for module in value.modules})
        if turn != self._turn or selection.is_closed:
            return
        self.summary.set_text(
            self.tr(
                "{count} parameters · {flops} FLOPs · {operations} operations",
                count=format_count(value.parameters),
                flops=format_count(value.flops),
                operations=len(value.operations),
            )
        )
        if selection.layer:
            self.folds = self.folds.reveal(selection.layer)
        else:
            selection.view = selection.view.replace(layer=_first_layer(GraphView(value, self.folds)))
        self.draw()
        await self._refresh_columns()

    def _show_error(self, error: str) -> None:
        """Show why there is no graph, and remove what belongs to an earlier model."""
        self.summary.set_text("")
        self.picture.set_content("")
        with self.error_box:
            error_label(error)
        self.layer_column.clear()
        self.unit_column.clear()

    async def _drop_unknown_names(self, known: set[str]) -> None:
        """Show which layer or unit of the link the network lacks, and remove it from the selection."""
        selection, units = self.selection, self.selection.view.unit
        error: Value | str = ""
        if selection.layer and selection.layer not in known:
            error = await selection.run("feature-maps", layer=selection.view.layer)
            selection.view = selection.view.replace(layer=(), unit=())
        elif units and UnitName.parse(units[0]) is None:
            error = await selection.run("step-through", unit=units)
            selection.view = selection.view.replace(unit=())
        if selection.is_closed:
            return
        self.problems.clear()
        with self.problems:
            show_link_problems([error] if isinstance(error, str) and error else [])

    def draw(self, focus: str = "") -> None:
        """Draw the graph in its fold state, and scroll to the selected layer, or to the element with the focus."""
        selection = self.selection
        assert selection.structure is not None
        selection.graph = GraphView(selection.structure, self.folds)
        self.picture.set_content(selection.graph.svg(selection.layer, self.tr))
        selector = focus or "svg.graph .chosen"
        self.context.client.run_javascript(
            f"setTimeout(() => convscopeShow({selector!r}, {'true' if focus else 'false'}), 60)"
        )

    async def _on_graph_event(self, event: Any) -> None:
        """A node was clicked, unfolded or folded."""
        graph = self.selection.graph
        if graph is None:
            return
        if "open" in event.args:
            self.folds = self.folds.open(event.args["open"])
            self.draw(f'[data-fold="{event.args["open"]}"]')
        elif "fold" in event.args:
            self.folds = self.folds.fold(event.args["fold"])
            self.draw(f'[data-open="{event.args["fold"]}"]')
        elif event.args.get("node", "").isdecimal():
            members = graph.members(int(event.args["node"]))
            if members:
                await self.show_layer(members[0], focus=f'[data-node="{int(event.args["node"])}"]')

    def _on_depth_changed(self) -> None:
        if self.selection.structure is not None:
            self.folds = FoldState(int(self.depth.value))
            self.draw()

    # Navigation

    async def show_layer(self, address: str, *, focus: str = "") -> None:
        """Select a layer.

        Args:
            focus: the CSS selector of the element that gets the focus after the graph is redrawn.
        """
        selection = self.selection
        if selection.graph is None or address == selection.layer:
            return
        selection.update(layer=(address,), unit=(), page="")
        if selection.graph.node_of(address) is None:  # it is unfolded; folding it makes it a node
            self.folds = self.folds.reveal(address).fold(address)
        self.draw(focus)
        self.context.client.run_javascript("convscopeReveal('.inside .module')")
        await self._refresh_columns()

    async def show_unit(self, unit: UnitName) -> None:
        """Select a unit, or one position of its map."""
        if unit.layer != self.selection.layer:
            await self.show_layer(unit.layer)
        self.selection.update(unit=(str(unit),))
        self.layer_column.mark(unit)
        if not unit.position:
            self.context.client.run_javascript("convscopeReveal('.inside .unit')")
        await self.unit_column.refresh()


def _initial_view(view: View, library: Library) -> View:
    """The selection of a link, with defaults for model and image, and without what this page does not use."""
    layer = view.layer[:1] or tuple(_layer_of(name) for name in view.unit[:1])
    lens = view.lens.replace("_", "-")
    is_shown = lens in LENS_TABS or (view.tab == "evidence" and lens in evidence_lenses())
    parameters: Mapping[str, Any] = view.parameters if is_shown else {}
    model = view.model or library.addresses[0]
    return View(
        model=model,
        image=view.image or library.image_for(model),
        images="" if lookup_error(library.collection, view.images) else view.images,
        layer=layer,
        unit=view.unit[:1],
        tab=view.tab if view.tab in TABS else "",
        page=view.page,
        lens=lens if is_shown else "",
        parameters=parameters,
    )


def _layer_of(unit: str) -> str:
    """The layer of a unit; a text without brackets is a layer itself."""
    parts = split_brackets(unit)
    return unit if parts is None else parts[0]


def _first_layer(graph: GraphView) -> tuple[str, ...]:
    """The first module that the input passes through; empty if there is none."""
    nodes = (graph.members(number) for number in range(len(graph.graph.nodes)))
    return next((tuple(members[:1]) for members in nodes if members), ())


@cache
def _read_text(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")
