"""The right column: a unit on the image, its arithmetic, kernel, strongest inputs and optimized picture."""

import asyncio
from html import escape
from typing import Any

from nicegui import ui

from convscope.render.layer_images import filter_tiles, slice_tiles
from convscope.values import Arithmetic, Exemplars, FeatureMaps, Kernels
from convscope.web import panels
from convscope.web.page_parts.outdated import mark_current, mark_outdated
from convscope.web.pages.inside.selection import Navigator, Selection, UnitName
from convscope.web.pages.inside.unit_drawing import UnitDrawing
from convscope.web.pages.inside.unit_map import UnitMap
from convscope.web.pages.inside.widgets import color_bar, error_label, exemplar_crops, img_tag

ON_PART_CLICK = "(e) => {const element = e.target.closest('[data-part]'); if (element) emit(element.dataset.part);}"
"""Emits the address of the submodule whose chip was clicked."""
HINT = "Choose a feature map to examine one unit: its map, its arithmetic, its kernel, and what activates it."
_EXEMPLARS = 9


class UnitColumn:
    """Shows the selected unit. All sections are computed at once, and each is shown as soon as it is ready."""

    def __init__(self, selection: Selection, navigator: Navigator) -> None:
        self.selection, self.navigator = selection, navigator
        self.map = UnitMap(selection, navigator)
        self.drawing = UnitDrawing(selection)
        self._turn = 0
        self._shown: tuple[str, ...] = ()

    def build(self) -> None:
        """Add the empty column."""
        section = ui.element("section").classes("pane unit")
        with section.props(f'aria-label="{escape(self.selection.tr("Unit"))}"'):
            self.body = ui.element("div")

    def clear(self) -> None:
        """Remove everything from the column, and forget what is being computed for it."""
        self._turn += 1
        self.drawing.stop()
        self.map.reset()
        self.body.clear()
        mark_current(self.body)
        self._shown = ()

    async def refresh(self) -> None:
        """Show the selected unit, or another position of the unit that is shown."""
        unit, view = self.selection.unit, self.selection.view
        current = (view.model, view.image, str(unit.channel)) if unit else ()
        if unit and current == self._shown:
            if self.map.lies_in_another_slice(unit):
                self.sections["map"].clear()
                await self._show_map(unit)
            await self._show_arithmetic(unit)
            return
        self._shown = current
        self._turn += 1
        self.drawing.stop()
        self.map.reset()
        self.body.clear()
        mark_current(self.body)
        with self.body:
            if unit is None:
                ui.label(self.selection.tr(HINT)).classes("nothing")
                return
            self._draw_sections(unit)
        await asyncio.gather(
            self._show_map(unit), self._show_arithmetic(unit), self._show_kernel(unit), self._show_exemplars(unit)
        )

    def _draw_sections(self, unit: UnitName) -> None:
        """Add the head and the empty sections."""
        tr = self.selection.tr
        with ui.element("div").classes("unit-head"):
            ui.html(f"<h2>{escape(str(unit.channel))}</h2>", sanitize=False)
            with ui.element("div").classes("hand"):
                for label, title, step in (("‹", "Previous unit", -1), ("›", "Next unit", 1)):
                    button = f'<button class="plain" aria-label="{escape(tr(title))}">{label}</button>'
                    ui.html(button, sanitize=False).on("click", lambda _, step=step: self._show_neighbour(step))
        self.sections = {}
        for key, title in (
            ("map", "On this image"),
            ("sums", "How one value is computed"),
            ("kernel", "Kernel"),
            ("drawn", "Optimized picture"),
            ("best", "Images that activate it most"),
        ):
            with ui.element("div").classes(f"part-{key}"):
                ui.html(f"<h3>{escape(tr(title))}</h3>", sanitize=False)
                self.sections[key] = ui.element("div")
        with self.sections["drawn"]:
            self.drawing.build(unit)

    async def _show_neighbour(self, step: int) -> None:
        unit, structure = self.selection.unit, self.selection.structure
        if unit is None or structure is None:
            return
        shape = structure.module(unit.layer).shape
        total = shape[1] if len(shape) > 1 else 1
        await self.navigator.show_unit(UnitName(unit.layer, (unit.number + step) % total))

    def _is_current(self, turn: int) -> bool:
        """Whether a result that was requested in this turn is still needed."""
        return turn == self._turn and not self.selection.is_closed

    async def _show_map(self, unit: UnitName) -> None:
        turn = self._turn
        value = await self.selection.run("feature-maps", layer=(unit.layer,), channels=0)
        if not self._is_current(turn):
            return
        with self.sections["map"]:
            if not isinstance(value, FeatureMaps):
                error_label(str(value))
                return
            maximum = self.map.draw(value, unit)
        self.drawing.has_map = bool(self.map.extent)
        if maximum is not None:
            self.drawing.add_known_maximum(maximum)

    async def _show_arithmetic(self, unit: UnitName) -> None:
        """Show how the activation at the selected position, or at the strongest one, is computed."""
        turn = self._turn
        self.map.at = unit if unit.position else self.map.strongest
        self.map.mark_position()
        body = self.sections["sums"]
        mark_outdated(body)
        value = await self.selection.run("step-through", unit=(str(unit),))
        if not self._is_current(turn) or unit != self.selection.unit:
            return
        body.clear()
        mark_current(body)
        with body:
            if isinstance(value, Arithmetic):
                self.map.at = UnitName(unit.layer, unit.number, value.position)
                panels.show(value, self.selection.context)
            else:
                self._offer_submodules(unit, str(value))
        self.map.mark_position()

    def _offer_submodules(self, unit: UnitName, error: str) -> None:
        """Offer the submodules with the same units if the layer is made of several; otherwise show the error."""
        structure = self.selection.structure
        assert structure is not None
        channels = structure.module(unit.layer).shape[1]
        prefix = f"{unit.layer}."
        addresses = [
            module.address
            for module in structure.modules
            if module.leaf and module.calls and module.address.startswith(prefix) and module.shape[1] == channels
        ]
        if not addresses:
            error_label(error)
            return
        hint = self.selection.tr("This module consists of several layers. Show the same unit of one of them:")
        ui.label(hint).classes("hint")
        chips = "".join(
            f'<button class="chip" data-part="{escape(address)}">{escape(address.removeprefix(prefix))}</button>'
            for address in addresses
        )
        ui.html(f'<div class="chips many">{chips}</div>', sanitize=False).on(
            "click", self._on_submodule_chosen, js_handler=ON_PART_CLICK
        )

    async def _on_submodule_chosen(self, event: Any) -> None:
        if (unit := self.selection.unit) is not None:
            await self.navigator.show_unit(UnitName(str(event.args), unit.number))

    async def _show_kernel(self, unit: UnitName) -> None:
        """Show the unit's kernel, or why it has none."""
        turn, tr = self._turn, self.selection.tr
        body = self.sections["kernel"]
        with body:
            ui.label(tr("Computing …")).classes("hint")
        value = await self.selection.run("kernels", layer=(unit.layer,), most=0, image="")
        if not self._is_current(turn):
            return
        body.clear()
        with body:
            if not isinstance(value, Kernels):
                ui.label(str(value)).classes("hint").props('role="status"')
                return
            layer = value.layers[unit.layer]
            ui.label(tr(layer.kind)).classes("caption")
            if unit.number >= layer.total:
                message = "{layer} has {total} kernels, 0 to {last}: there is none for unit {number}."
                total, last = f"{layer.total:,}", layer.total - 1
                ui.label(tr(message, layer=unit.layer, total=total, last=last, number=unit.number)).classes("hint")
                return
            self._draw_kernel(value, unit)

    def _draw_kernel(self, value: Kernels, unit: UnitName) -> None:
        """Add the filter: in colour if its inputs are colours, and its strongest kernels channel by channel."""
        tr, inputs = self.selection.tr, value.weights[unit.layer].shape[1]
        if value.layers[unit.layer].view == "colour":
            [(_, tile)] = filter_tiles(value, unit.layer, {unit.number}, 144)
            alt = tr("Kernel of unit {number}", number=unit.number)
            ui.html(img_tag(tile, alt), sanitize=False).classes("in-colour")
            ui.label(tr("weights in red, green and blue")).classes("caption")
        slices, legend = slice_tiles(value, unit.layer, unit.number)
        figures = "".join(
            f'<figure data-channel="{channel}">{img_tag(png, tr("Kernel for channel {number}", number=channel))}'
            f"<figcaption>{channel}</figcaption></figure>"
            for channel, png in slices
        )
        caption = "{few} of {all} kernels, one for each input channel, the largest norm first"
        ui.label(tr(caption, few=len(slices), all=inputs)).classes("caption")
        ui.html(f'<div class="slices">{figures}</div>', sanitize=False)
        ui.html(color_bar(legend, tr), sanitize=False)

    async def _show_exemplars(self, unit: UnitName) -> None:
        turn, selection = self._turn, self.selection
        tr, collections = selection.tr, _collections(selection)
        body = self.sections["best"]
        if not collections:
            with body:
                ui.label(tr("Start the server with --input FOLDER to search your own images.")).classes("hint")
            return
        images = selection.view.images or _collection_of(selection.view.image, list(collections))
        with body:
            if len(collections) > 1:
                ui.select(
                    collections, value=images, label=tr("Collection"), on_change=self._on_collection_chosen
                ).props("outlined dense options-dense stack-label")
            placeholder = ui.label(tr("Computing …")).classes("hint")
        parameters = {"k": _EXEMPLARS, **selection.link_parameters("top-inputs")}
        value = await selection.run("top-inputs", unit=(str(unit.channel),), images=images, image="", **parameters)
        if not self._is_current(turn) or placeholder.is_deleted:
            return  # another unit or collection was chosen meanwhile
        placeholder.delete()
        with body:
            if isinstance(value, Exemplars):
                self.drawing.add_known_maximum(max(exemplar.value for exemplar in value.units[0].exemplars))
                ui.html(exemplar_crops(value, tr), sanitize=False)
            else:
                error_label(str(value))

    async def _on_collection_chosen(self, event: Any) -> None:
        self.selection.update(images=event.value)
        self.sections["best"].clear()
        if (unit := self.selection.unit) is not None:
            await self._show_exemplars(unit)


def _collections(selection: Selection) -> dict[str, str]:
    """The collections of inputs that the network may take."""
    library, view = selection.library, selection.view
    return library.collections(view.images, kind=library.kind_of(view.model))


def _collection_of(image_key: str, collections: list[str]) -> str:
    """The collection that contains an image, or the first one."""
    return next((key for key in collections if image_key.startswith(key.partition("/")[0])), collections[0])
