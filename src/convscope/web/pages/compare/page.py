"""Compare: one lens on several networks or images, side by side on one scale, and the difference of any two.

The view's model and image are the first of each kind; further ones are in ``beside``. Every cell is a view of its own,
so that it shares cached results with other pages.
"""

import asyncio
from functools import partial
from html import escape
from typing import Any

from nicegui import background_tasks, ui

from convscope.catalogue import default_comparison, find, lenses
from convscope.errors import ConvScopeError
from convscope.render.scale import scale_of
from convscope.spec import INPUT_KINDS, InputKind, LensSpec, inputs_with
from convscope.spec.tasks import Task
from convscope.values import Comparison
from convscope.web.frame.page_context import PageContext
from convscope.web.frame.page_registry import page
from convscope.web.jobs.async_wait import run_in_thread
from convscope.web.page_parts.buttons import button, toggle
from convscope.web.page_parts.link_checks import lens_problems, show_link_problems
from convscope.web.page_parts.model_caveats import Caveats
from convscope.web.page_parts.outdated import mark_current, mark_outdated
from convscope.web.page_parts.parameter_form import parameter_form
from convscope.web.page_parts.suggestions import split_names, suggestion_field
from convscope.web.page_parts.thumbnails import image_title, thumbnail_box, thumbnail_uri
from convscope.web.page_parts.written_fields import WrittenFields
from convscope.web.pages.compare.cell import Cell, overlay_html
from convscope.web.pages.compare.difference import Difference
from convscope.web.panels.attribution import display_controls, show_lens_notes
from convscope.web.requests.export import file_bytes
from convscope.web.requests.url_state import View
from convscope.web.requests.written_inputs import TEXT, named_keys, takes_text, text_of

DEFAULT_IMAGES = 3
"""Images that are compared by default."""
MAX_CELLS = 24
"""Cells, at most."""
INITIAL_THUMBNAILS = 60
"""Images that are listed at first; a button shows the others."""


@page("/compare", "Compare", order=4)
async def build(view: View, context: PageContext) -> None:
    """Build the form on the left, and the maps and their difference on the right."""
    ui.html(f'<h1 class="page-title">{escape(context.tr("Compare"))}</h1>', sanitize=False)
    show_link_problems(lens_problems(view, _commands(), context))
    compare_page = ComparePage(view, context)
    with ui.element("div").classes("look"):
        with ui.element("div").classes("side"):
            compare_page.form()
        with ui.element("div").classes("main-part"):
            compare_page.results()
    ui.timer(0.01, compare_page.start, once=True)


class ComparePage:
    """One open page: the form, the cells, and the difference."""

    def __init__(self, view: View, context: PageContext) -> None:
        self.context, self.library = context, context.services.library
        self._by_default = _command(view) not in _commands()
        self.view = self._complete(view)
        self.cells: list[Cell] = []
        self.toggles: dict[str, ui.html] = {}
        self._target_field: ui.element | None = None
        self._running: asyncio.Task[Any] | None = None
        self._cell_tasks: list[asyncio.Future[None]] = []

    @property
    def spec(self) -> LensSpec:
        """The chosen lens."""
        return find(self.view.lens)

    @property
    def models(self) -> list[str]:
        """Addresses of the compared networks, in order."""
        return [self.view.model, *(name for name in self.view.beside if not self._is_image(name))]

    @property
    def images(self) -> list[str]:
        """Keys of the compared images, in order."""
        return [self.view.image, *(key for key in self.view.beside if self._is_image(key))]

    @property
    def _kind(self) -> str:
        """The kind of input that the first network takes; empty if unknown."""
        return self.library.kind_of(self.view.model)

    def _is_image(self, name: str) -> bool:
        return name.startswith(("sample:", "folder:", "upload:", TEXT)) or bool(named_keys(name))

    def _complete(self, view: View) -> View:
        """The view with defaults for lens, model and images."""
        lens, names_image = _command(view), bool(view.lens and view.image)
        model = view.model or self.library.addresses[0]
        if lens not in _commands():
            lens = self._default_lens(model)
            view = view.replace(parameters={}, target="") if view.lens else view
        keys = [image.key for image in self.library.images(self.library.kind_of(model))]
        whole = self.library.image_for(model, view.image)
        if named_keys(whole):  # of several inputs one sample to begin with
            view = view.replace(image=whole)
        elif not view.beside and not names_image:
            first = keys.index(view.image) if view.image in keys else 0
            shown = keys[first : first + DEFAULT_IMAGES]
            view = view.replace(image=view.image or (shown[0] if shown else whole), beside=tuple(shown[1:]))
        return view.replace(lens=lens, model=model)

    def _default_lens(self, model: str) -> str:
        """The first of the lenses that suit what a network does, as far as that is known."""
        return default_comparison(self.library.task_of(model))[0]

    async def _choose_for_task(self) -> None:
        """Choose the lens by a task that only a prediction shows."""
        if not self._by_default or self.library.task_of(self.view.model) is not None:
            return
        await self.context.run(View(lens="predict", model=self.view.model, image=self.view.image))
        lens = self._default_lens(self.view.model)
        if lens != self.view.lens and not self.context.client.is_deleted:
            self.view = self.view.replace(lens=lens)
            self.context.update_url(self.view, by_user=False)
            self.form.refresh()

    # --- the form

    @ui.refreshable_method
    def form(self) -> None:
        """The form: lens, target, layer, networks, images, parameters."""
        tr, spec = self.context.tr, self.spec
        self.toggles = {}  # those of the previous form are deleted
        with ui.element("div").classes("box"):
            titles = {lens.command: tr(lens.title) for lens in comparable_lenses()}
            field = ui.select(
                titles, label=tr("Lens"), value=spec.command, with_input=True, on_change=self._on_lens_changed
            )
            field.props("outlined dense stack-label options-dense hide-bottom-space").mark("lens")
            ui.label(tr(spec.asks)).classes("asks")
            for kind in INPUT_KINDS.values():
                if kind.content == "address" and kind.name in spec.inputs:
                    self._text_field(kind)
        with ui.element("div").classes("box"):
            with ui.element("div").classes("row-of").style("gap: 0 8px"):
                ui.label(tr("Networks")).classes("label")
                ui.label(tr("Click to add or remove.")).classes("small")
            with ui.element("div").classes("chips"):
                for address, name in self.library.names(*self.models).items():
                    chip = toggle(name, address in self.models, partial(self._toggle, address))
                    self.toggles[address] = chip
            ui.label(tr("Images")).classes("label")
            background_tasks.create(self._load_thumbnails(thumbnail_box(self.library, self._kind)))
            self._written_inputs()
        if spec.options:
            with ui.element("div").classes("box"), ui.element("details"):
                ui.html(escape(tr("Parameters")), tag="summary", sanitize=False)
                parameter_form(spec, self.view.parameters, self._on_parameter_changed, self.context.lang)

    def _written_inputs(self) -> None:
        """What was typed, each as a chip, and a field for more, where the first network takes a text or a row."""
        spec = self.library.input_of(self.view.model)
        if not takes_text(spec):
            return
        with ui.element("div").classes("chips"):
            for key in (key for key in self.images if key.startswith(TEXT)):
                self.toggles[key] = toggle(text_of(key), True, partial(self._remove_written, key))
        WrittenFields(self.context, self._add_written).show(spec, "")

    def _add_written(self, key: str) -> None:
        if key not in self.images:
            self._toggle(key)
        self.form.refresh()

    def _remove_written(self, key: str) -> None:
        self._toggle(key)
        self.form.refresh()

    def _text_field(self, kind: InputKind) -> None:
        value = self.view.input(kind.name)
        text = ", ".join(value) if kind.several else value
        changed = lambda text: self._on_text_changed(kind, text)  # noqa: E731
        field = suggestion_field(kind, text, self.context, self.view.model, changed)
        if kind.suggests == ("classes",):
            self._target_field = field
            self._name_default_target()
        else:
            field.props["placeholder"] = self.context.tr("by default")

    def _name_default_target(self) -> None:
        """Say in the field of the target what is explained without one, as far as the task is known."""
        task = self.library.task_of(self.view.model)
        if self._target_field is not None and not self._target_field.is_deleted:
            self._target_field.props["placeholder"] = self.context.tr((task or Task).default_target)

    async def _load_thumbnails(self, box: ui.element, start: int = 0, end: int | None = INITIAL_THUMBNAILS) -> None:
        """Add the thumbnails as they are loaded."""
        listed = self.library.images(self._kind)
        for image in listed[start:end]:
            try:
                source = await run_in_thread(thumbnail_uri, self.library, image.key)
            except ConvScopeError:
                source = ""
            if box.is_deleted:
                return
            with box:
                if source:
                    self._thumbnail_button(image.key, image.name, source)
        if more := len(listed) - len(listed[:end]):

            async def show_rest() -> None:
                rest.delete()
                await self._load_thumbnails(box, end or 0, None)

            with box:
                rest = button(f"+{more}", show_rest, style="thumb", name=self.context.tr("All images"))

    def _thumbnail_button(self, key: str, name: str, source: str) -> None:
        key = self.library.image_for(self.view.model, key)  # of several inputs, a sample with this image
        pressed = "true" if key in self.images else "false"
        element = ui.html(f'<img src="{source}" alt="">', sanitize=False, tag="button").classes("thumb")
        element.props("type=button").props.update({"aria-pressed": pressed, "title": name, "aria-label": name})
        element.on("click", partial(self._toggle, key))
        self.toggles[key] = element

    # --- the choice

    def _on_lens_changed(self, event: Any) -> None:
        if event.value:
            self._by_default = False
            self._change(self.view.replace(lens=event.value, parameters={}))
            self.form.refresh()

    def _on_text_changed(self, kind: InputKind, text: str) -> None:
        self._change(self.view.replace(**{kind.name: split_names(text) if kind.several else text.strip()}))

    def _on_parameter_changed(self, name: str, value: Any) -> None:
        others = {key: other for key, other in self.view.parameters.items() if key != name}
        self._change(self.view.replace(parameters=others if value is None else {**others, name: value}))

    def _toggle(self, name: str) -> None:
        """Add or remove a network or an image; at least one of each kind stays.

        A network that takes another kind of input replaces all others, since they can have no input in common.
        """
        if not self._is_image(name) and self.library.kind_of(name) != self._kind:
            self._change(self._complete(View(lens="" if self._by_default else self.view.lens, model=name)))
            self.form.refresh()
            return
        kind = self.images if self._is_image(name) else self.models
        kind = [other for other in kind if other != name] if name in kind else [*kind, name]
        if not kind:
            return
        models, images = (self.models, kind) if self._is_image(name) else (kind, self.images)
        beside = (*models[1:], *images[1:])
        self._change(self.view.replace(model=models[0], image=images[0], beside=beside))
        for key, element in self.toggles.items():
            element.props(f"aria-pressed={'true' if key in (*self.models, *self.images) else 'false'}")

    def _change(self, view: View) -> None:
        self.view = view
        self.context.update_url(view)
        self.start()

    # --- the results

    def results(self) -> None:
        """Add the maps, and the difference of two of them."""
        tr = self.context.tr
        with ui.element("div").classes("row-of tools"):
            ui.html(display_controls(self.context), sanitize=False).classes("own-tools row-of")
            self.progress = ui.html("", sanitize=False).props('aria-live="polite"')
            self.stop_button = button(tr("Stop"), self.stop)
            self.stop_button.set_visibility(False)
            button(tr("Picture .png"), self._download_picture).classes("end")
        self.caveats = Caveats(self.context)
        self.gallery = ui.element("div").classes("gallery")
        self.difference = Difference(self.context)
        self.explanation = ui.element("div").classes("main-part")

    def start(self) -> None:
        """Run the lens for all cells; earlier jobs are no longer watched."""
        self.caveats.show(self.models)
        self.cells = []  # the cells on the page belong to an earlier choice
        mark_outdated(self.gallery, self.difference.box, self.explanation)
        if self._running is not None:
            self._running.cancel()
        self._running = background_tasks.create(self._run())

    async def _run(self) -> None:
        await self._choose_for_task()
        several = len(self.models) > 1, len(self.images) > 1
        cells = [
            Cell(self._cell_view(model, image), self._title(model, image, *several))
            for image in self.images
            for model in self.models
        ]
        if len(cells) > MAX_CELLS:
            self.progress.set_content(
                escape(self.context.tr("Too many combinations: choose fewer networks or images."))
            )
            return
        self.stop_button.set_visibility(True)
        remaining = len(cells)
        self._show_progress(0, remaining)

        async def run_cell(cell: Cell) -> None:
            nonlocal remaining
            await cell.run(self.context)
            remaining -= 1
            self._show_progress(len(cells) - remaining, len(cells))

        self._cell_tasks = [asyncio.ensure_future(run_cell(cell)) for cell in cells]
        for outcome in await asyncio.gather(*self._cell_tasks, return_exceptions=True):
            if isinstance(outcome, Exception):  # a cancelled cell raises CancelledError, which is no Exception
                raise outcome
        if self.context.client.is_deleted:
            return
        self.progress.set_content("")
        self.stop_button.set_visibility(False)
        self.cells = cells
        await self._show_cells()

    def stop(self) -> None:
        """Stop watching running jobs; the results so far are shown."""
        for task in self._cell_tasks:
            task.cancel()

    def _show_progress(self, done: int, total: int) -> None:
        label = escape(self.context.tr("Running"))
        self.progress.set_content(f'<progress value="{done}" max="{total}" aria-label="{label}"></progress>')

    def _cell_view(self, model: str, image: str) -> View:
        """The view of one cell."""
        unused = [name for name in inputs_with("address") if name not in self.spec.inputs]
        unused += inputs_with("data set", "second image")
        view = self.view.replace(**{name: INPUT_KINDS[name].nothing for name in unused})
        return view.replace(model=model, image=image, beside=())

    def _title(self, model: str, image: str, many_models: bool, many_images: bool) -> str:
        """The title of a cell: its network or image, whichever differs."""
        name, model = image_title(self.library, image), self.library.names(*self.models)[model]
        return " · ".join([model] * (many_models or not many_images) + [name] * (many_images or not many_models))

    async def _show_cells(self) -> None:
        """Show all cells on one scale."""
        values = [cell.value for cell in self.cells if cell.value is not None]
        limit = scale_of(values).limit or None if values else None
        figures = [await overlay_html(cell.value, self.context, limit) for cell in self.cells]
        if self.context.client.is_deleted:
            return
        mark_current(self.gallery, self.explanation)
        self._name_default_target()
        self.gallery.clear()
        with self.gallery:
            for cell, html in zip(self.cells, figures, strict=True):
                cell.show(html, self.context, limit)
        self.explanation.clear()
        with self.explanation:
            if values:
                show_lens_notes(values[0], self.context)
        await self.difference.show(self.cells)
        mark_current(self.difference.box)
        await self._suggest_lenses()

    async def _suggest_lenses(self) -> None:
        """Suggest lenses that fit if a network has a prediction but the lens was refused."""
        refused = next((cell for cell in self.cells if cell.value is None and cell.prediction is not None), None)
        if refused is None or self.view.target or self.view.parameters:  # these may be the reason, rather than the lens
            return
        candidates = [lens.command for lens in comparable_lenses() if not (self.view.layer and lens.takes_layer)]
        others = [command for command in candidates if command != self.spec.command]
        suggestions = await self.context.fitting_lenses(refused.view, others)
        if not suggestions or refused not in self.cells or self.context.client.is_deleted:
            return
        with self.explanation, ui.element("div").classes("main-part").style("gap: 8px"):
            ui.label(self.context.tr("Lenses that fit this network")).classes("label")
            with ui.element("div").classes("chips"):
                for command, title in suggestions:
                    chip = ui.html(escape(title), sanitize=False, tag="button").classes("chip").props("type=button")
                    chip.on("click", partial(self._choose_lens, command))

    def _choose_lens(self, lens: str) -> None:
        self._by_default = False
        self._change(self.view.replace(lens=lens, parameters={}))
        self.form.refresh()

    async def _download_picture(self) -> None:
        """Download all maps as one picture, with a row per image and a column per network."""
        values = [cell.value for cell in self.cells]
        if not values or any(value is None for value in values):
            self.context.show_error(self.context.tr("The picture cannot be made: some maps are missing."))
            return
        width = len(self.models)
        rows = tuple(tuple(values[at : at + width]) for at in range(0, len(values), width))
        comparison = Comparison(rows=rows, titles=tuple(self.models), scales=(0,) * width)  # type: ignore[arg-type]
        theme = "dark" if self.context.dark else "light"
        await self.context.download(
            partial(file_bytes, comparison, ".png", theme=theme), f"compare-{self.spec.command}.png"
        )


def _command(view: View) -> str:
    """The lens that a link names, with dashes."""
    return view.lens.replace("_", "-")


def _commands() -> list[str]:
    """The names of the lenses that can be compared."""
    return [spec.command for spec in comparable_lenses()]


def comparable_lenses() -> list[LensSpec]:
    """The lenses that can be compared: those that give one map for each image."""
    return [spec for spec in lenses() if spec.gives_map and spec.each_image]
