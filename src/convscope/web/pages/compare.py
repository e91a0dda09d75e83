"""One lens on several networks or several images, side by side on one scale, and the difference of any two.

The view's model and image are the first of each kind; further ones stand in ``beside``. Every cell is a view of its
own, so that what was found on another page is not computed again.
"""

import asyncio
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from nicegui import background_tasks, ui

from convscope.catalogue import find, lenses
from convscope.errors import ConvScopeError
from convscope.render.scale import scale_of
from convscope.spec import LensSpec
from convscope.values import Comparison
from convscope.web.buttons import button, toggle
from convscope.web.caveats import Caveats
from convscope.web.comparison.cell import Cell, over_photo
from convscope.web.comparison.difference import Difference
from convscope.web.export import file_of
from convscope.web.forms import parameter_form
from convscope.web.jobs.waiting import aside
from convscope.web.link_checks import say_what_is_amiss, wrong_lenses
from convscope.web.pages import page
from convscope.web.panels.attribution import display_controls, how_to_read
from convscope.web.pictures import called, thumbnail, thumbs
from convscope.web.stale import fresh, stale
from convscope.web.suggestions import several, suggesting
from convscope.web.url_state import View

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

LENS = "grad-cam"
"""Where the page begins."""
IMAGES = 3
"""So many images stand side by side where the link names none."""
MOST = 24
"""More cells than this are refused: nobody compares so many."""
OFFERED = 60
"""So many images are offered as thumbnails at first; the rest when they are asked for."""


@page("/compare", "Compare", order=4)
async def compare(view: View, place: "Place") -> None:
    """What is compared on one side, the maps and their difference on the other."""
    ui.html(f'<h1 class="page-title">{escape(place.say("Compare"))}</h1>', sanitize=False)
    say_what_is_amiss(wrong_lenses(view, [one.command for one in choices()], place))
    table = Table(view, place)
    with ui.element("div").classes("look"):
        with ui.element("div").classes("side"):
            table.form()
        with ui.element("div").classes("main-part"):
            table.stage()
    ui.timer(0.01, table.start, once=True)


class Table:
    """One open page: what is compared, and what was found."""

    def __init__(self, view: View, place: "Place") -> None:
        self.place, self.library = place, place.bench.library
        self.view = self._fitted(view)
        self.cells: list[Cell] = []
        self.toggles: dict[str, ui.html] = {}
        self._running: asyncio.Task[Any] | None = None
        self._filling: list[asyncio.Future[None]] = []

    @property
    def spec(self) -> LensSpec:
        """The lens that was chosen."""
        return find(self.view.lens)

    @property
    def models(self) -> list[str]:
        """Addresses of the networks, the first first."""
        return [self.view.model, *(one for one in self.view.beside if not self._is_image(one))]

    @property
    def images(self) -> list[str]:
        """Keys of the images, the first first."""
        return [self.view.image, *(one for one in self.view.beside if self._is_image(one))]

    def _is_image(self, name: str) -> bool:
        return name.startswith(("sample:", "folder:", "upload:"))

    def _fitted(self, view: View) -> View:
        """The view with a lens that gives maps, a model, and images where it names none."""
        fitting = [one.command for one in choices()]
        asked, named = view.lens.replace("_", "-"), bool(view.lens and view.image)
        if asked not in fitting:
            asked = LENS if LENS in fitting else fitting[0]
            view = view.but(parameters={}, target="") if view.lens else view
        known = [one.key for one in self.library.images()]
        if not view.beside and not named:
            begin = known.index(view.image) if view.image in known else 0
            row = known[begin : begin + IMAGES]
            view = view.but(image=view.image or (row[0] if row else ""), beside=tuple(row[1:]))
        return view.but(lens=asked, model=view.model or self.library.addresses[0])

    # --- the form

    @ui.refreshable_method  # type: ignore[untyped-decorator]
    def form(self) -> None:
        """Lens, networks, images, target, layer, parameters."""
        say, spec = self.place.say, self.spec
        with ui.element("div").classes("box"):
            titles = {one.command: say(one.title) for one in choices()}
            field = ui.select(titles, label=say("Lens"), value=spec.command, with_input=True, on_change=self._lens)
            field.props("outlined dense stack-label options-dense hide-bottom-space").mark("lens")
            ui.label(say(spec.asks)).classes("asks")
            if "target" in spec.inputs:
                self._text("target", "Target", self.view.target, say("the best answer"))
            if "layer" in spec.inputs:
                self._text("layer", "Layer", ", ".join(self.view.layer), say("by default"))
        with ui.element("div").classes("box"):
            with ui.element("div").classes("row-of").style("gap: 0 8px"):
                ui.label(say("Networks")).classes("label")
                ui.label(say("Click to add or remove.")).classes("small")
            with ui.element("div").classes("chips"):
                for address, name in self.library.names(*self.models).items():
                    made = toggle(name, address in self.models, partial(self._toggle, address))
                    self.toggles[address] = made
            ui.label(say("Images")).classes("label")
            background_tasks.create(self._fill_thumbs(thumbs(self.library)))
        if spec.options:
            with ui.element("div").classes("box"), ui.element("details"):
                ui.html(escape(say("Parameters")), tag="summary", sanitize=False)
                parameter_form(spec, self.view.parameters, self._parameter, self.place.lang)

    def _text(self, name: str, label: str, value: str, empty: str) -> None:
        field = suggesting(name, label, value, self.place, self.view.model, lambda text: self._typed(name, text))
        field.props(f'placeholder="{escape(empty)}"')

    async def _fill_thumbs(self, thumbs: ui.element, begin: int = 0, end: int | None = OFFERED) -> None:
        """The images to choose from, as soon as they are read."""
        listed = self.library.images()
        for one in listed[begin:end]:
            try:
                source = await aside(thumbnail, self.library, one.key)
            except ConvScopeError:
                continue
            if thumbs.is_deleted:
                return
            with thumbs:
                self._thumb(one.key, one.name, source)
        if more := len(listed) - len(listed[:end]):

            async def show_rest() -> None:
                rest.delete()
                await self._fill_thumbs(thumbs, end or 0, None)

            with thumbs:
                rest = button(f"+{more}", show_rest, style="thumb", name=self.place.say("All images"))

    def _thumb(self, key: str, name: str, source: str) -> None:
        pressed = "true" if key in self.images else "false"
        made = ui.html(f'<img src="{source}" alt="">', sanitize=False, tag="button").classes("thumb")
        made.props("type=button").props.update({"aria-pressed": pressed, "title": name, "aria-label": name})
        made.on("click", partial(self._toggle, key))
        self.toggles[key] = made

    # --- what was chosen

    def _lens(self, event: Any) -> None:
        if event.value:
            self._change(self.view.but(lens=event.value, parameters={}))
            self.form.refresh()

    def _typed(self, name: str, text: str) -> None:
        self._change(self.view.but(**{name: several(text) if name == "layer" else text.strip()}))

    def _parameter(self, name: str, value: Any) -> None:
        others = {key: one for key, one in self.view.parameters.items() if key != name}
        self._change(self.view.but(parameters=others if value is None else {**others, name: value}))

    def _toggle(self, name: str) -> None:
        """Take a network or an image in, or out; the last of its kind stays."""
        kind = self.images if self._is_image(name) else self.models
        kind = [one for one in kind if one != name] if name in kind else [*kind, name]
        if not kind:
            return
        models, images = (self.models, kind) if self._is_image(name) else (kind, self.images)
        beside = (*models[1:], *images[1:])
        self._change(self.view.but(model=models[0], image=images[0], beside=beside))
        for key, made in self.toggles.items():
            made.props(f"aria-pressed={'true' if key in (*self.models, *self.images) else 'false'}")

    def _change(self, view: View) -> None:
        self.view = view
        self.place.remember(view)
        self.start()

    # --- what was found

    def stage(self) -> None:
        """The maps, and the difference of two of them."""
        say = self.place.say
        with ui.element("div").classes("row-of tools"):
            ui.html(display_controls(self.place), sanitize=False).classes("own-tools row-of")
            self.progress = ui.html("", sanitize=False).props('aria-live="polite"')
            self.halt = button(say("Stop"), self.stop)
            self.halt.set_visibility(False)
            button(say("Picture .png"), self._download).classes("end")
        self.caveats = Caveats(self.place)
        self.gallery = ui.element("div").classes("gallery")
        self.difference = Difference(self.place)
        self.reading = ui.element("div").classes("main-part")

    def start(self) -> None:
        """Look anew at all that is compared now; what still runs for what was compared before is left."""
        self.caveats.show(self.models)
        self.cells = []  # those that are still seen belong to an earlier choice
        stale(self.gallery, self.difference.box, self.reading)
        if self._running is not None:
            self._running.cancel()
        self._running = background_tasks.create(self._run())

    async def _run(self) -> None:
        several = len(self.models) > 1, len(self.images) > 1
        cells = [
            Cell(self._one(model, image), self._title(model, image, *several))
            for image in self.images
            for model in self.models
        ]
        if len(cells) > MOST:
            self.progress.set_content(escape(self.place.say("That is too much to compare: choose less.")))
            return
        self.halt.set_visibility(True)
        left = len(cells)
        self._progress(0, left)

        async def found(cell: Cell) -> None:
            nonlocal left
            await cell.look(self.place)
            left -= 1
            self._progress(len(cells) - left, len(cells))

        self._filling = [asyncio.ensure_future(found(cell)) for cell in cells]
        for outcome in await asyncio.gather(*self._filling, return_exceptions=True):
            if isinstance(outcome, Exception):  # one that was stopped is none
                raise outcome
        if self.place.client.is_deleted:
            return
        self.progress.set_content("")
        self.halt.set_visibility(False)
        self.cells = cells
        await self._show()

    def stop(self) -> None:
        """Leave what still runs; what was found by now is shown."""
        for one in self._filling:
            one.cancel()

    def _progress(self, done: int, total: int) -> None:
        said = escape(self.place.say("Running"))
        self.progress.set_content(f'<progress value="{done}" max="{total}" aria-label="{said}"></progress>')

    def _one(self, model: str, image: str) -> View:
        """The view of one cell."""
        spare = [name for name in ("layer", "unit", "target") if name not in self.spec.inputs]
        view = self.view.but(**{name: "" if name == "target" else () for name in spare})
        return view.but(model=model, image=image, beside=(), images="", style="", guide="")

    def _title(self, model: str, image: str, many_models: bool, many_images: bool) -> str:
        """What sets a cell apart."""
        name, model = called(self.library, image), self.library.names(*self.models)[model]
        return " · ".join([model] * (many_models or not many_images) + [name] * (many_images or not many_models))

    async def _show(self) -> None:
        """All cells on one scale."""
        values = [cell.value for cell in self.cells if cell.value is not None]
        limit = scale_of(values).limit or None if values else None
        drawn = [await over_photo(cell.value, self.place, limit) for cell in self.cells]
        fresh(self.gallery, self.reading)
        self.gallery.clear()
        with self.gallery:
            for cell, html in zip(self.cells, drawn, strict=True):
                cell.show(html, self.place, limit)
        self.reading.clear()
        with self.reading:
            if values:
                how_to_read(values[0], self.place)
        await self.difference.show(self.cells)
        fresh(self.difference.box)
        await self._advise()

    async def _advise(self) -> None:
        """Name lenses that do fit, where a network answers and yet the lens gives nothing of it."""
        refused = next((cell for cell in self.cells if cell.value is None and cell.answer is not None), None)
        asked = (self.view.target, self.view.parameters)  # which may be the reason, rather than the lens
        if refused is None or any(asked):
            return
        fit = [one.command for one in choices() if not (self.view.layer and one.takes_layer)]
        found = await self.place.fitting(refused.view, [one for one in fit if one != self.spec.command])
        if not found or refused not in self.cells or self.place.client.is_deleted:
            return
        with self.reading, ui.element("div").classes("main-part").style("gap: 8px"):
            ui.label(self.place.say("Lenses that fit this network")).classes("label")
            with ui.element("div").classes("chips"):
                for command, title in found:
                    chip = ui.html(escape(title), sanitize=False, tag="button").classes("chip").props("type=button")
                    chip.on("click", partial(self._take, command))

    def _take(self, lens: str) -> None:
        self._change(self.view.but(lens=lens, parameters={}))
        self.form.refresh()

    async def _download(self) -> None:
        """All maps as one picture, a row an image and a column a network."""
        values = [cell.value for cell in self.cells]
        if not values or any(value is None for value in values):
            self.place.complain(self.place.say("There is no whole picture: some maps are missing."))
            return
        width = len(self.models)
        rows = tuple(tuple(values[at : at + width]) for at in range(0, len(values), width))
        whole = Comparison(rows=rows, titles=tuple(self.models), scales=(0,) * width)  # type: ignore[arg-type]
        theme = "dark" if self.place.dark else "light"
        await self.place.hand_over(partial(file_of, whole, ".png", theme=theme), f"compare-{self.spec.command}.png")


def choices() -> list[LensSpec]:
    """The lenses that can be compared: those that give a map of each image."""
    return [one for one in lenses() if one.returns == "Attribution" and one.each_image]
