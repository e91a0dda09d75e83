"""Learned: pictures that are optimized for a unit, an image or a style, shown while they are being drawn.

Each lens has its own form. Finished pictures stay in a gallery while the
result cache holds them; the browser tab stores which ones they are.
"""

import asyncio
from functools import partial
from html import escape
from typing import Any

from nicegui import background_tasks, ui

from convscope.catalogue import find, lenses
from convscope.errors import ConvScopeError
from convscope.spec import INPUT_KINDS, InputKind, LensSpec, inputs_with
from convscope.web.frame.page_context import PageContext
from convscope.web.frame.page_registry import page
from convscope.web.jobs.async_wait import run_in_thread
from convscope.web.jobs.job import Job
from convscope.web.page_parts.buttons import button
from convscope.web.page_parts.input_field import input_field
from convscope.web.page_parts.link_checks import lens_problems, name_problems, show_link_problems
from convscope.web.page_parts.model_caveats import Caveats
from convscope.web.page_parts.outdated import mark_current, mark_outdated
from convscope.web.page_parts.parameter_form import parameter_form
from convscope.web.page_parts.suggestions import suggestions
from convscope.web.pages.learned.gallery import DrawnGallery
from convscope.web.pages.learned.live_preview import LivePreview
from convscope.web.requests.url_state import View

OFFERED_UNITS = 8
"""Units that are offered as a starting point."""


def _shows(spec: LensSpec) -> bool:
    """Whether a lens shows what was learned: by optimized pictures, or by a map for a unit instead of a score."""
    maps_a_unit = spec.attributes and "unit" in spec.inputs and not spec.takes_target
    return spec.returns.is_optimized or maps_a_unit


@page("/learned", "Learned", order=3, shows=_shows)
async def build(view: View, context: PageContext) -> None:
    """Build the form on the left, and the current picture and the gallery on the right."""
    learned_page = LearnedPage(view, context)
    ui.html(f'<h1 class="page-title">{escape(context.tr("Learned"))}</h1>', sanitize=False)
    show_link_problems(lens_problems(view, shown_lenses(), context) + name_problems(view, context))
    with ui.element("div").classes("look"):
        with ui.element("div").classes("side"):
            learned_page.form()
        with ui.element("div").classes("main-part"):
            learned_page.results()
    ui.timer(0.01, learned_page.restore, once=True)  # the tab's storage is available once the browser has connected


def shown_lenses() -> dict[str, LensSpec]:
    """The lenses of this page, by command."""
    return {spec.command: spec for spec in lenses() if _shows(spec)}


class LearnedPage:
    """One open page: the form, the picture that is being drawn, and the gallery."""

    def __init__(self, view: View, context: PageContext) -> None:
        self.context = context
        self.view = self._complete(view)
        self.job: Job | None = None
        self.waiting: asyncio.Task[Job] | None = None

    @property
    def spec(self) -> LensSpec:
        """The chosen lens."""
        return find(self.view.lens)

    # --- the form

    @ui.refreshable_method
    def form(self) -> None:
        """The form: lens, model, inputs of the lens, the button that starts, and parameters."""
        tr, spec = self.context.tr, self.spec
        with ui.element("div").classes("box"):
            titles = {lens.command: tr(lens.title) for lens in shown_lenses().values()}
            self._select("Lens", titles, spec.command, self._on_lens_changed).mark("lens")
            ui.label(tr(spec.asks)).classes("asks")
            if "model" in spec.inputs:
                names = self.context.services.library.names(self.view.model)
                self._select("Model", names, self.view.model or next(iter(names)), self._on_model_changed).mark("model")
                Caveats(self.context).show([self.view.model])
            for kind in INPUT_KINDS.values():
                if kind.name in spec.inputs:
                    self._input_field(kind)
        self.draw_button = button(tr("Draw"), self.draw, style="main wide").mark("draw")
        with ui.element("div").classes("box"), ui.element("details"):
            ui.html(escape(tr("Parameters")), tag="summary", sanitize=False)
            parameter_form(spec, self.view.parameters, self._on_parameter_changed, self.context.lang)

    def _input_field(self, kind: InputKind) -> None:
        required = kind.name in self.spec.required
        changed, show_error = self._on_input_changed, self._show_error
        input_field(kind, self.view, self.context, changed, required=required, on_error=show_error)

    def _select(self, label: str, options: dict[str, str], value: str, on_change: Any) -> ui.select:
        selected = value if value in options else None
        field = ui.select(options, label=self.context.tr(label), value=selected, on_change=lambda e: on_change(e.value))
        return field.props("outlined dense stack-label options-dense hide-bottom-space")

    # --- the choice

    def _complete(self, view: View) -> View:
        """The view with a lens of this page, and with its required pictures."""
        choices = shown_lenses()
        lens = view.lens.replace("_", "-")
        if lens not in choices:
            lens = next(iter(choices))
            view = view.replace(parameters={}, target="") if view.lens else view
        library = self.context.services.library
        images = [image.key for image in library.images(library.kind_of(view.model))]
        pictures = [name for name in inputs_with("image", "second image") if name in choices[lens].required]
        missing = [name for name in pictures if not view.input(name)]
        return view.replace(lens=lens, **dict(zip(missing, images, strict=False)))

    def _on_lens_changed(self, lens: str) -> None:
        self.view = self._complete(self.view.replace(lens=lens, parameters={}))
        self._save()
        self.form.refresh()
        self._offer_units()

    def _on_model_changed(self, model: str) -> None:
        library, kind = self.context.services.library, self.context.services.library.kind_of(model)
        fitting = {image.key for image in library.images(kind)} | {*library.collections(kind=kind)}
        pictures = inputs_with("image", "second image", "data set")
        refused = {name: "" for name in pictures if self.view.input(name) and self.view.input(name) not in fitting}
        self.view = self._complete(self.view.replace(**{**refused, "model": model}))
        self._update(True)
        self._offer_units()

    def _on_input_changed(self, name: str, value: Any) -> None:
        pictures = inputs_with("image", "second image")
        self._update(name in pictures, **{name: value})  # the thumbnail of a picture is drawn again

    def _update(self, redraw: bool, **changes: Any) -> None:
        self.view = self.view.replace(**{name: "" if value is None else value for name, value in changes.items()})
        self._save()
        if redraw:
            self.form.refresh()

    def _on_parameter_changed(self, name: str, value: Any) -> None:
        others = {key: other for key, other in self.view.parameters.items() if key != name}
        self.view = self.view.replace(parameters=others if value is None else {**others, name: value})
        self._save()

    def _save(self) -> None:
        self.context.update_url(self.view)

    def run_view(self) -> View:
        """The view without the inputs that the lens does not use, so that equal requests share a result."""
        unused = [kind for name, kind in INPUT_KINDS.items() if name != "model" and name not in self.spec.inputs]
        return self.view.replace(**{kind.name: kind.nothing for kind in unused})

    # --- the picture that is being drawn

    def results(self) -> None:
        """Add the current picture, and below it the gallery."""
        tr = self.context.tr
        self.error_label = ui.label().classes("warning").props('role="alert"')
        self.error_label.set_visibility(False)
        self.live = LivePreview(self.context, self.stop)
        self.empty = ui.element("div").classes("empty")
        with self.empty:
            ui.label(tr("No pictures yet")).classes("asks")
            ui.label(
                tr("Choose a lens and its inputs, then press Draw. The picture is shown while it is being optimized.")
            )
            self.unit_chips = ui.element("div").classes("chips")
        self._offer_units()
        self.gallery = DrawnGallery(self.context, self._update_placeholder)

    def _offer_units(self) -> None:
        """If the lens draws for a unit, offer a few units that can be drawn with one click."""

        async def fill() -> None:
            wanted, model = INPUT_KINDS["unit"].suggests, self.view.model
            units = await run_in_thread(suggestions, wanted, self.context, model) if takes_unit else []
            if self.context.client.is_deleted or lens != self.view.lens:
                return
            self.unit_chips.clear()
            mark_current(self.unit_chips)
            with self.unit_chips:
                if units:
                    ui.label(self.context.tr("Or draw one of these units:")).style("width: 100%")
                for unit in units[:OFFERED_UNITS]:
                    chip = ui.html(escape(unit), sanitize=False, tag="button").classes("chip").props("type=button")
                    chip.on("click", partial(self._draw_unit, unit)).mark("offer")

        lens, takes_unit = self.view.lens, "unit" in self.spec.inputs
        mark_outdated(self.unit_chips)  # they may belong to another network
        background_tasks.create(fill())

    async def _draw_unit(self, unit: str) -> None:
        self._update(True, unit=(unit,))
        await self.draw()

    async def draw(self) -> None:
        """Run the lens with the form's inputs, and add the result to the gallery."""
        if self.job is not None:
            return
        view = self.run_view()
        self._show_error("")
        try:
            self.job = job = self.context.services.submit(view)
        except ConvScopeError as error:
            self._show_error(str(error))
            return
        self.draw_button.props("disabled")
        self.empty.set_visibility(False)
        self.waiting = waiting = asyncio.create_task(self.context.wait(job))
        try:
            await self.live.watch(job, waiting, view.model)
        finally:
            self.job = None
        if self.context.client.is_deleted:
            return
        self.draw_button.props(remove="disabled")
        if waiting.cancelled():
            self._show_error(self.context.tr("Stopped here; it continues in another tab."))
        elif job.value is None:
            self._show_error(job.error or self.context.tr("Stopped."))
        else:
            self.gallery.add(view, job)
        self._update_placeholder()

    def stop(self) -> None:
        """Stop the optimization and keep its best picture; if another tab watches it, it goes on there."""
        if self.job is None or self.waiting is None:
            return
        if self.context.services.jobs.stop(self.job):
            self.live.show_status(self.context.tr("Stopping"))
        else:
            self.waiting.cancel()

    def _show_error(self, sentence: str) -> None:
        self.error_label.set_text(sentence)
        self.error_label.set_visibility(bool(sentence))

    def restore(self) -> None:
        """Restore the gallery of this tab."""
        self.gallery.restore(self.run_view())

    def _update_placeholder(self) -> None:
        self.empty.set_visibility(not self.gallery.cards and self.job is None)
