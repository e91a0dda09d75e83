"""The right column: one unit on the image, its arithmetic, kernel, best inputs, and the picture it looks for."""

import asyncio
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from nicegui import ui

from convscope import render
from convscope.render import GROUNDS
from convscope.render.tiles import filter_tiles, mapped, picture_png, slice_tiles
from convscope.values import Arithmetic, Exemplars, FeatureMaps, Kernels
from convscope.web import panels
from convscope.web.inside.drawing import Drawing
from convscope.web.inside.pieces import colour_bar, crops, frame_box, image, quoted, trouble
from convscope.web.stale import fresh, stale

if TYPE_CHECKING:
    from convscope.web.inside.explorer import Explorer

PICK = (
    "(e) => {const r = e.currentTarget.getBoundingClientRect(); "
    "emit((e.clientY - r.top) / r.height, (e.clientX - r.left) / r.width);}"
)
"""Where a map was clicked, in shares of its height and width."""

ARROWS = (
    "(e) => {const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[e.key]; "
    "if (step) {e.preventDefault(); emit(...step);}}"
)
PART = "(e) => {const one = e.target.closest('[data-part]'); if (one) emit(one.dataset.part);}"
_BEST = 9


@dataclass(frozen=True)
class UnitName:
    """A unit of a layer, or one place of it, as addresses write it: ``layer2[5, 3, 3]``."""

    layer: str
    number: int
    position: tuple[int, ...] = ()

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The unit that an address names; None where it names something else."""
        found = re.fullmatch(r"\s*([^\[\]]+)\[\s*(\d+(?:\s*,\s*\d+)*)\s*\]\s*", text)
        if found is None:
            return None
        number, *position = (int(one) for one in found[2].split(","))
        return cls(found[1], number, tuple(position))

    @property
    def whole(self) -> "UnitName":
        """The unit without a place."""
        return replace(self, position=())

    def __str__(self) -> str:
        return f"{self.layer}[{', '.join(map(str, (self.number, *self.position)))}]"


class UnitColumn:
    """Shows the unit in view. Everything is asked for at once, and shown as it comes."""

    def __init__(self, explorer: "Explorer") -> None:
        self.explorer = explorer
        self.turn = 0
        self.shown: tuple[str, ...] = ()
        self.drawing = Drawing(explorer)

    @property
    def name(self) -> UnitName | None:
        """The unit in view."""
        units = self.explorer.view.unit
        return UnitName.read(units[0]) if units else None

    def build(self) -> None:
        """Draw the empty column."""
        section = ui.element("section").classes("pane unit")
        with section.props(f'aria-label="{quoted(self.explorer.say("Unit"))}"'):
            self.body = ui.element("div")

    async def refresh(self) -> None:
        """Show the unit in view, or where it is the same one, another place of it."""
        name, view = self.name, self.explorer.view
        now = (view.model, view.image, str(name.whole)) if name else ()
        if now and now == self.shown:
            await self._show_place()
            return
        self.shown = now
        self.turn += 1
        self.drawing.stop()
        self.at = self._strongest = None
        self.body.clear()
        fresh(self.body)
        with self.body:
            if name is None:
                said = "Choose a map to see what one unit does: where, by which arithmetic, and what it looks for."
                ui.label(self.explorer.say(said)).classes("nothing")
                return
            self._frame(name)
        await asyncio.gather(self._show_map(), self._show_place(), self._show_kernel(), self._show_best())

    def _frame(self, name: UnitName) -> None:
        """The sections in their order, still empty."""
        say = self.explorer.say
        with ui.element("div").classes("unit-head"):
            ui.html(f"<h2>{quoted(str(name.whole))}</h2>", sanitize=False)
            with ui.element("div").classes("hand"):
                for label, words, step in (("‹", "Previous unit", -1), ("›", "Next unit", 1)):
                    button = f'<button class="plain" aria-label="{quoted(say(words))}">{label}</button>'
                    ui.html(button, sanitize=False).on("click", lambda _, step=step: self._step(step))
        self.sections = {}
        for key, title in (
            ("map", "On this image"),
            ("sums", "How one number comes about"),
            ("kernel", "Kernel"),
            ("drawn", "What it looks for"),
            ("best", "Inputs that excite it most"),
        ):
            with ui.element("div").classes(f"part-{key}"):
                ui.html(f"<h3>{quoted(say(title))}</h3>", sanitize=False)
                self.sections[key] = ui.element("div")
        with self.sections["drawn"]:
            self.drawing.build(name)

    async def _step(self, step: int) -> None:
        name, structure = self.name, self.explorer.structure
        if name is None or structure is None:
            return
        shape = structure.module(name.layer).shape
        total = shape[1] if len(shape) > 1 else 1
        await self.explorer.show_unit(UnitName(name.layer, (name.number + step) % total))

    def _current(self, turn: int) -> bool:
        """Whether what was asked for then is still wanted."""
        return turn == self.turn and not self.explorer.place.client.is_deleted

    # The map over the image

    async def _show_map(self) -> None:
        name, turn = self.name, self.turn
        assert name is not None
        found = await self.explorer.look("feature-maps", layer=(name.layer,), channels=0)
        if not self._current(turn):
            return
        with self.sections["map"]:
            if not isinstance(found, FeatureMaps):
                trouble(str(found))
                return
            self._draw_map(found, name)

    def _draw_map(self, value: FeatureMaps, name: UnitName) -> None:
        say, maps = self.explorer.say, mapped(value, name.layer)
        if name.number not in maps.channels:
            trouble(say("{layer}: no such unit {number}", layer=name.layer, number=name.number))
            return
        at = maps.channels.index(name.number)
        self.extent, own = maps.maps.shape[1:], maps.maps[at]
        self.drawing.know(float(own.max()))
        mean, largest = render.number(float(own.mean())), render.number(float(own.max()))
        strength = say("mean {mean}, largest {largest}", mean=mean, largest=largest)
        if not self.extent:  # a unit without places: its one number is all there is to see
            ui.html(f'<p class="result">{render.number(float(own))}</p>', sanitize=False)
            ui.label(say("This unit gives one number for the whole image.")).classes("hint")
            return
        ui.html(f'<p class="result">{quoted(strength)}</p>', sanitize=False)
        photo = np.asarray(value.photo) if value.photo is not None else None
        seen = photo is not None and photo.ndim == 3 and photo.dtype == np.uint8
        self.photo_extent = photo.shape[:2] if photo is not None and seen else ()
        label = quoted(say("The unit's map. Click a place, or use the arrow keys, to see its arithmetic."))
        with ui.element("div").classes("pair"):
            if seen:
                with ui.element("figure").classes("q-ma-none"):
                    ground = f"--ground:rgb{GROUNDS[maps.scale.signed]}"
                    with ui.element("div").classes("sheet under").style(ground):
                        ui.html(image(picture_png(photo), say("The image"), "grey"), sanitize=False)
                        if len(self.extent) == 2:
                            ui.html(image(maps.ink(at), say("The unit's map over it"), "over"), sanitize=False)
                        self.seen_box = ui.html("", sanitize=False)
                    with ui.element("div").classes("hand q-mt-xs"):
                        ui.label(say("Opacity"))
                        ui.slider(min=0, max=1, step=0.05, value=0.85).props(
                            f'dense aria-label="{quoted(say("Opacity of the map"))}"'
                        ).on("update:model-value", js_handler=self._opacity())
            with ui.element("figure").classes("q-ma-none"):
                with ui.element("div").classes("sheet"):
                    ui.html(image(maps.tile(at), say("The unit's map")), sanitize=False)
                    self.pixel_box = ui.html("", sanitize=False)
                    if self.extent:
                        button = f'<button class="pick" aria-label="{label}"></button>'
                        pick = ui.html(button, sanitize=False).classes("pick")
                        pick.on("click", self._picked, js_handler=PICK)
                        pick.on("keydown", self._moved, js_handler=ARROWS)
                ui.label(say("Click a place of the map.")).classes("caption")
        ui.html(colour_bar(maps.legend, say), sanitize=False).classes("q-mt-sm")
        if own.ndim:
            strongest = np.unravel_index(int(own.argmax()), own.shape)
            self._strongest = UnitName(name.layer, name.number, tuple(int(one) for one in strongest))
            self.at = self.at or self._strongest
        self._mark_place()

    def _opacity(self) -> str:
        return "(v) => document.querySelectorAll('.inside .sheet').forEach((s) => s.style.setProperty('--ink', v))"

    async def _picked(self, event: Any) -> None:
        down, across = (min(max(float(one), 0.0), 0.999999) for one in event.args)
        name = self.name
        if name is None:
            return
        if len(self.extent) == 1:
            place: tuple[int, ...] = (int(across * self.extent[0]),)
        else:
            place = (int(down * self.extent[-2]), int(across * self.extent[-1]))
            if len(self.extent) == 3:
                place = (name.position[0] if name.position else self.extent[0] // 2, *place)
        await self.explorer.show_unit(UnitName(name.layer, name.number, place))

    async def _moved(self, event: Any) -> None:
        name = self.name
        if name is None or self.at is None or not self.at.position:
            return
        steps = [int(one) for one in event.args][-len(self.at.position) :]
        here, first = list(self.at.position), len(self.at.position) - len(steps)
        for axis, step in enumerate(steps, start=first):
            here[axis] = min(max(here[axis] + step, 0), self.extent[axis] - 1)
        await self.explorer.show_unit(UnitName(name.layer, name.number, tuple(here)))

    # One place: what it sees, and its arithmetic

    at: UnitName | None = None
    """The place whose arithmetic is shown."""
    _strongest: UnitName | None = None
    extent: tuple[int, ...] = ()
    photo_extent: tuple[int, ...] = ()
    seen_box: ui.html | None = None
    pixel_box: ui.html | None = None

    async def _show_place(self) -> None:
        """Step through the number at the place in view, or at the strongest one."""
        name, turn = self.name, self.turn
        assert name is not None
        self.at = name if name.position else self._strongest
        self._mark_place()
        stale(self.sections["sums"])
        found = await self.explorer.look("step-through", unit=(str(name),))
        if not self._current(turn) or name != self.name:
            return
        body = self.sections["sums"]
        body.clear()
        fresh(body)
        with body:
            if isinstance(found, Arithmetic):
                self.at = UnitName(name.layer, name.number, found.position)
                panels.show(found, self.explorer.place)
            else:
                self._offer_parts(name, str(found))
        self._mark_place()

    def _offer_parts(self, name: UnitName, why: str) -> None:
        """Why there is no arithmetic; of a module made of parts, the parts that have some."""
        structure = self.explorer.structure
        assert structure is not None
        own = structure.module(name.layer).shape[1]
        within = [
            one.address
            for one in structure.modules
            if one.leaf and one.calls and one.address.startswith(f"{name.layer}.") and one.shape[1] == own
        ]
        if not within:
            trouble(why)
            return
        ui.label(self.explorer.say("This module is made of parts. Look at the same unit of one of them:")).classes(
            "hint"
        )
        chips = "".join(
            f'<button class="chip" data-part="{quoted(one)}">{quoted(one.removeprefix(name.layer + "."))}</button>'
            for one in within
        )
        ui.html(f'<div class="chips many">{chips}</div>', sanitize=False).on(
            "click", self._part_chosen, js_handler=PART
        )

    async def _part_chosen(self, event: Any) -> None:
        if self.name is not None:
            await self.explorer.show_unit(UnitName(str(event.args), self.name.number))

    def _mark_place(self) -> None:
        """Frame the place on the map, and on the image what it can see."""
        structure = self.explorer.structure
        if self.at is None or structure is None or not self.extent or len(self.at.position) != len(self.extent):
            return
        position = self.at.position[-2:]
        if self.pixel_box is not None and not self.pixel_box.is_deleted:
            spans = tuple((one, one) for one in position)
            self.pixel_box.set_content(frame_box(spans, self.extent[-2:], self.explorer.say("the place")))
        if self.seen_box is not None and not self.seen_box.is_deleted and len(self.photo_extent) == len(position):
            spans = structure.module(self.at.layer).box(position, self.photo_extent)
            nothing = any(first > last for first, last in spans)  # a place that reads padding alone has no frame
            words = self.explorer.say("what the place can see")
            self.seen_box.set_content("" if nothing else frame_box(spans, self.photo_extent, words))

    # Kernel and best inputs

    async def _show_kernel(self) -> None:
        """The unit's kernel; or why it has none, in one sentence."""
        name, turn, say = self.name, self.turn, self.explorer.say
        assert name is not None
        body = self.sections["kernel"]
        with body:
            ui.label(say("Looking …")).classes("hint")
        found = await self.explorer.look("kernels", layer=(name.layer,), most=0, image="")
        if not self._current(turn):
            return
        body.clear()
        with body:
            if not isinstance(found, Kernels):
                ui.label(str(found)).classes("hint").props('role="status"')
                return
            layer = found.layers[name.layer]
            ui.label(say(layer.kind)).classes("caption")
            if name.number >= layer.total:
                words = "{layer} has {total} kernels, 0 to {last}: there is none of unit {number}."
                total, last = f"{layer.total:,}", layer.total - 1
                ui.label(say(words, layer=name.layer, total=total, last=last, number=name.number)).classes("hint")
                return
            self._draw_kernel(found, name)

    def _draw_kernel(self, value: Kernels, name: UnitName) -> None:
        """The filter itself: in colour where it reads colours, else its strongest kernels channel by channel."""
        say, inputs = self.explorer.say, value.weights[name.layer].shape[1]
        if value.layers[name.layer].view == "colour":
            [(_, tile)] = filter_tiles(value, name.layer, {name.number}, 144)
            alt = say("Kernel of unit {number}", number=name.number)
            ui.html(image(tile, alt), sanitize=False).classes("in-colour")
            ui.label(say("weights in red, green and blue")).classes("caption")
        drawn, legend = slice_tiles(value, name.layer, name.number)
        figures = "".join(
            f'<figure data-channel="{channel}">{image(png, say("Kernel for channel {number}", number=channel))}'
            f"<figcaption>{channel}</figcaption></figure>"
            for channel, png in drawn
        )
        told = "{few} of {all} kernels, one for each input channel, the largest norm first"
        ui.label(say(told, few=len(drawn), all=inputs)).classes("caption")
        ui.html(f'<div class="slices">{figures}</div>', sanitize=False)
        ui.html(colour_bar(legend, say), sanitize=False)

    async def _show_best(self) -> None:
        name, turn, collections = self.name, self.turn, self.explorer.library.collections(self.explorer.view.images)
        assert name is not None
        body, say = self.sections["best"], self.explorer.say
        if not collections:
            with body:
                ui.label(say("Start the server with --input FOLDER to look through your own images.")).classes("hint")
            return
        images = self.explorer.view.images or _collection_for(self.explorer.view.image, list(collections))
        with body:
            if len(collections) > 1:
                ui.select(collections, value=images, label=say("Out of"), on_change=self._collection_chosen).props(
                    "outlined dense options-dense stack-label"
                )
            waiting = ui.label(say("Looking …")).classes("hint")
        unit = (str(name.whole),)
        own = {"k": _BEST, **self.explorer.given("top-inputs")}
        found = await self.explorer.look("top-inputs", unit=unit, images=images, image="", **own)
        if not self._current(turn):
            return
        waiting.delete()
        with body:
            if isinstance(found, Exemplars):
                self.drawing.know(max(one.value for one in found.units[0].exemplars))
                ui.html(crops(found, say), sanitize=False)
            else:
                trouble(str(found))

    async def _collection_chosen(self, event: Any) -> None:
        self.explorer.choose(images=event.value)
        self.sections["best"].clear()
        await self._show_best()


def _collection_for(image_key: str, collections: list[str]) -> str:
    """The collection out of which an image comes, or the first."""
    return next((one for one in collections if image_key.startswith(one.partition("/")[0])), collections[0])
