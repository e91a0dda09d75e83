"""The map of a unit over the image: a position can be picked, and its receptive field is framed on the image."""

from html import escape
from typing import Any

import numpy as np
from nicegui import ui

from convscope import render
from convscope.render import BACKGROUNDS
from convscope.render.tiles import LayerMaps, layer_maps, picture_png
from convscope.values import FeatureMaps
from convscope.web.pages.inside.selection import Navigator, Selection, UnitName
from convscope.web.pages.inside.widgets import color_bar, error_label, img_tag, position_frame

ON_CLICK = (
    "(e) => {const r = e.currentTarget.getBoundingClientRect(); "
    "emit((e.clientY - r.top) / r.height, (e.clientX - r.left) / r.width);}"
)
"""Emits where a map was clicked, as fractions of its height and width."""
ON_ARROW_KEY = (
    "(e) => {const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[e.key]; "
    "if (step) {e.preventDefault(); emit(...step);}}"
)
"""Emits the step of an arrow key, as rows and columns."""
SET_OPACITY = "(v) => document.querySelectorAll('.inside .sheet').forEach((s) => s.style.setProperty('--ink', v))"


class UnitMap:
    """The map of the selected unit.

    Attributes:
        extent: the size of the map; empty if the unit gives a single number.
        at: the unit with the position whose arithmetic is shown.
        strongest: the unit with the position of its largest activation.
    """

    def __init__(self, selection: Selection, navigator: Navigator) -> None:
        self.selection, self.navigator = selection, navigator
        self.reset()

    def reset(self) -> None:
        """Forget the previous unit."""
        self.extent: tuple[int, ...] = ()
        self.at: UnitName | None = None
        self.strongest: UnitName | None = None
        self._photo_extent: tuple[int, ...] = ()
        self._field_frame: ui.html | None = None
        self._position_frame: ui.html | None = None

    def draw(self, value: FeatureMaps, unit: UnitName) -> float | None:
        """Add the map to the page; returns the unit's largest activation, or None if there is no such unit."""
        tr, maps = self.selection.tr, layer_maps(value, unit.layer)
        if unit.number not in maps.channels:
            error_label(tr("{layer}: no such unit {number}", layer=unit.layer, number=unit.number))
            return None
        row = maps.channels.index(unit.number)
        self.extent, unit_map = maps.maps.shape[1:], maps.maps[row]
        maximum = float(unit_map.max())
        if not self.extent:
            ui.html(f'<p class="result">{render.format_number(float(unit_map))}</p>', sanitize=False)
            ui.label(tr("This unit gives a single value for the whole image.")).classes("hint")
            return maximum
        strength = tr(
            "mean {mean}, largest {largest}",
            mean=render.format_number(float(unit_map.mean())),
            largest=render.format_number(maximum),
        )
        ui.html(f'<p class="result">{escape(strength)}</p>', sanitize=False)
        with ui.element("div").classes("pair"):
            self._draw_over_photo(value, maps, row)
            self._draw_map(maps, row)
        ui.html(color_bar(maps.legend, tr), sanitize=False).classes("q-mt-sm")
        if unit_map.ndim:
            position = np.unravel_index(int(unit_map.argmax()), unit_map.shape)
            self.strongest = UnitName(unit.layer, unit.number, tuple(int(index) for index in position))
            self.at = self.at or self.strongest
        self.mark_position()
        return maximum

    def mark_position(self) -> None:
        """Frame the position on the map, and its receptive field on the image."""
        structure = self.selection.structure
        if self.at is None or structure is None or not self.extent or len(self.at.position) != len(self.extent):
            return
        tr, position = self.selection.tr, self.at.position[-2:]
        if self._position_frame is not None and not self._position_frame.is_deleted:
            spans = tuple((index, index) for index in position)
            self._position_frame.set_content(position_frame(spans, self.extent[-2:], tr("the position")))
        frame = self._field_frame
        if frame is not None and not frame.is_deleted and len(self._photo_extent) == len(position):
            spans = structure.module(self.at.layer).box(position, self._photo_extent)
            is_empty = any(first > last for first, last in spans)  # a position that reads only padding has no frame
            label = tr("receptive field of the position")
            frame.set_content("" if is_empty else position_frame(spans, self._photo_extent, label))

    def _draw_over_photo(self, value: FeatureMaps, maps: LayerMaps, row: int) -> None:
        """Add the photo with the map over it, if the input can be shown as a photo."""
        tr = self.selection.tr
        photo = np.asarray(value.photo) if value.photo is not None else None
        if photo is None or photo.ndim != 3 or photo.dtype != np.uint8:
            self._photo_extent = ()
            return
        self._photo_extent = photo.shape[:2]
        with ui.element("figure").classes("q-ma-none"):
            background = f"--ground:rgb{BACKGROUNDS[maps.scale.signed]}"
            with ui.element("div").classes("sheet under").style(background):
                ui.html(img_tag(picture_png(photo), tr("The image"), "grey"), sanitize=False)
                if len(self.extent) == 2:
                    ui.html(img_tag(maps.ink(row), tr("The unit's feature map over it"), "over"), sanitize=False)
                self._field_frame = ui.html("", sanitize=False)
            with ui.element("div").classes("hand q-mt-xs"):
                ui.label(tr("Opacity"))
                ui.slider(min=0, max=1, step=0.05, value=0.85).props(
                    f'dense aria-label="{escape(tr("Opacity of the map"))}"'
                ).on("update:model-value", js_handler=SET_OPACITY)

    def _draw_map(self, maps: LayerMaps, row: int) -> None:
        """Add the map itself, with a button over it that receives clicks and arrow keys."""
        tr = self.selection.tr
        label = escape(
            tr("The unit's feature map. Click a position, or use the arrow keys, to see how its value is computed.")
        )
        with ui.element("figure").classes("q-ma-none"):
            with ui.element("div").classes("sheet"):
                ui.html(img_tag(maps.tile(row), tr("The unit's feature map")), sanitize=False)
                self._position_frame = ui.html("", sanitize=False)
                button = f'<button class="pick" aria-label="{label}"></button>'
                pick = ui.html(button, sanitize=False).classes("pick")
                pick.on("click", self._on_click, js_handler=ON_CLICK)
                pick.on("keydown", self._on_arrow_key, js_handler=ON_ARROW_KEY)
            ui.label(tr("Click a position on the map.")).classes("caption")

    async def _on_click(self, event: Any) -> None:
        down, across = (min(max(float(fraction), 0.0), 0.999999) for fraction in event.args)
        unit = self.selection.unit
        if unit is None:
            return
        if len(self.extent) == 1:
            position: tuple[int, ...] = (int(across * self.extent[0]),)
        else:
            position = (int(down * self.extent[-2]), int(across * self.extent[-1]))
            if len(self.extent) == 3:
                position = (unit.position[0] if unit.position else self.extent[0] // 2, *position)
        await self.navigator.show_unit(UnitName(unit.layer, unit.number, position))

    async def _on_arrow_key(self, event: Any) -> None:
        unit = self.selection.unit
        if unit is None or self.at is None or not self.at.position:
            return
        position = list(self.at.position)
        steps = [int(step) for step in event.args][-len(position) :]
        for axis, step in enumerate(steps, start=len(position) - len(steps)):
            position[axis] = min(max(position[axis] + step, 0), self.extent[axis] - 1)
        await self.navigator.show_unit(UnitName(unit.layer, unit.number, tuple(position)))
