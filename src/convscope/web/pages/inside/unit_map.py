"""The map of a unit over the image: a position can be picked, and its receptive field is framed on the image."""

from html import escape
from typing import Any

import numpy as np
from nicegui import ui

from convscope import render
from convscope.render import BACKGROUNDS
from convscope.render.input_preview import prepared_pixels
from convscope.render.layer_images import LayerMaps, layer_maps, picture_png
from convscope.render.non_image_input import first_channel_grey
from convscope.render.palette import Pixels
from convscope.render.token_panel import tokens_of
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
LINE_WIDTH = 480
"""The least number of pixels that a signal is drawn wide."""
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
        self._drawn_slice: int | None = None
        self._input_extent: tuple[int, ...] = ()
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
        position = np.unravel_index(int(unit_map.argmax()), unit_map.shape)
        self.strongest = UnitName(unit.layer, unit.number, tuple(int(index) for index in position))
        self.at = unit if unit.position else self.at or self.strongest
        self._drawn_slice = self._depth
        with ui.element("div").classes("lanes" if len(self.extent) == 1 else "pair"):
            self._draw_over_input(value, maps, row)
            self._draw_map(maps, row)
        if len(self.extent) == 1 and (words := tokens_of(value, self.extent[0])):
            cells = "".join(f"<span>{escape(word)}</span>" for word in words)
            ui.html(f'<div class="tokens">{cells}</div>', sanitize=False)
        if len(self.extent) == 3:
            self._draw_slice_choice(unit)
        ui.html(color_bar(maps.legend, tr), sanitize=False).classes("q-mt-sm")
        self.mark_position()
        return maximum

    def mark_position(self) -> None:
        """Frame the position on the map, and its receptive field on the image."""
        structure = self.selection.structure
        if self.at is None or structure is None or not self.extent or len(self.at.position) != len(self.extent):
            return
        tr, position = self.selection.tr, self.at.position
        if self._position_frame is not None and not self._position_frame.is_deleted:
            spans = tuple((index, index) for index in position[-2:])
            self._position_frame.set_content(position_frame(spans, self.extent[-2:], tr("the position")))
        frame = self._field_frame
        if frame is not None and not frame.is_deleted and len(self._input_extent) == len(position):
            spans = structure.module(self.at.layer).box(position, self._input_extent)
            is_empty = any(first > last for first, last in spans)  # a position that reads only padding has no frame
            label = tr("receptive field of the position")
            frame.set_content("" if is_empty else position_frame(spans[-2:], self._input_extent[-2:], label))

    def lies_in_another_slice(self, unit: UnitName) -> bool:
        """Whether the position of a unit is in another slice of a volume than the one that is drawn."""
        return self._drawn_slice is not None and len(unit.position) == 3 and unit.position[0] != self._drawn_slice

    @property
    def _depth(self) -> int | None:
        """The slice of a volume's map that is shown."""
        return self.at.position[0] if self.at is not None and len(self.at.position) == 3 else None

    def _draw_over_input(self, value: FeatureMaps, maps: LayerMaps, row: int) -> None:
        """Add the input with the map over it: a photo, the lines of a signal, or the slice of a volume."""
        tr, pixels = self.selection.tr, self._input_pixels(value)
        if pixels is None:
            return
        with ui.element("figure").classes("q-ma-none"):
            background = f"--ground:rgb{BACKGROUNDS[maps.scale.signed]}"
            with ui.element("div").classes("sheet under").style(background):
                ui.html(img_tag(picture_png(pixels), tr("The image"), "grey"), sanitize=False)
                ui.html(
                    img_tag(maps.ink(row, self._depth), tr("The unit's feature map over it"), "over"), sanitize=False
                )
                self._field_frame = ui.html("", sanitize=False)
            with ui.element("div").classes("hand q-mt-xs"):
                ui.label(tr("Opacity"))
                ui.slider(min=0, max=1, step=0.05, value=0.85).props(
                    f'dense aria-label="{escape(tr("Opacity of the map"))}"'
                ).on("update:model-value", js_handler=SET_OPACITY)

    def _input_pixels(self, value: FeatureMaps) -> Pixels | None:
        """The input as it lies below the map; None if the value does not contain it, or its axes differ."""
        photo = None if value.photo is None else np.asarray(value.photo)
        self._input_extent = ()
        if photo is None:
            return None
        extent = photo.shape[:2] if photo.dtype == np.uint8 else photo.shape[1:]
        if len(extent) != len(self.extent) or not extent:
            return None
        self._input_extent = tuple(extent)
        if self._depth is not None:
            middle = (self._depth + 0.5) * extent[0] / self.extent[0]
            pixels: Pixels = first_channel_grey(np.nan_to_num(photo))[min(int(middle), extent[0] - 1)]
            return pixels
        return photo if photo.dtype == np.uint8 else prepared_pixels(photo, max(LINE_WIDTH, extent[0]))

    def _draw_slice_choice(self, unit: UnitName) -> None:
        """Add the choice of the slice of a volume's map."""
        depth, count = self._depth or 0, self.extent[0]
        label = self.selection.tr("Slice {number} (0 to {last})", number=depth, last=count - 1)  # as in unit[3, 7, 9]
        with ui.element("div").classes("hand q-mt-xs"):
            ui.label(label)
            slider = ui.slider(min=0, max=count - 1, step=1, value=depth).props(f'dense aria-label="{escape(label)}"')
            slider.on("change", lambda event: self._show_slice(unit, int(event.args)))

    async def _show_slice(self, unit: UnitName, depth: int) -> None:
        """Select the same position in another slice."""
        if self.at is not None:
            await self.navigator.show_unit(UnitName(unit.layer, unit.number, (depth, *self.at.position[1:])))

    def _draw_map(self, maps: LayerMaps, row: int) -> None:
        """Add the map itself, with a button over it that receives clicks and arrow keys."""
        tr = self.selection.tr
        label = escape(
            tr("The unit's feature map. Click a position, or use the arrow keys, to see how its value is computed.")
        )
        with ui.element("figure").classes("q-ma-none"):
            with ui.element("div").classes("sheet"):
                ui.html(img_tag(maps.tile(row, self._depth), tr("The unit's feature map")), sanitize=False)
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
            if self._depth is not None:
                position = (self._depth, *position)
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
