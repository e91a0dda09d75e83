"""One card of the gallery: a lens with its picture, its parameters, its cost and its downloads."""

import asyncio
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from nicegui import background_tasks, ui

from convscope import render
from convscope.errors import ConvScopeError
from convscope.reporting.reproduce import recipe
from convscope.spec import LensSpec
from convscope.values import Attribution, JointAttribution, Value
from convscope.web import panels
from convscope.web.frame.page_context import PageContext
from convscope.web.jobs.async_wait import progress_updates, run_in_thread
from convscope.web.page_parts.buttons import button
from convscope.web.page_parts.download_buttons import download_buttons
from convscope.web.page_parts.input_field import input_field
from convscope.web.page_parts.outdated import mark_current, mark_outdated
from convscope.web.page_parts.parameter_form import parameter_form, parameter_text, parameter_title
from convscope.web.panels.attribution import figure_with_layers, has_overlay, show_explanation
from convscope.web.requests.url_state import View

if TYPE_CHECKING:
    from convscope.web.jobs.job import Job

_ICON = '<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" fill="none" stroke="currentColor" '
PIN_ICON = f'{_ICON}stroke-width="1.4"><path d="M5.5 2h5M6.5 2v4.5L4 9.5h8L9.5 6.5V2M8 9.5V14.5"/></svg>'
CLOSE_ICON = f'{_ICON}stroke-width="1.6" stroke-linecap="round"><path d="M4 4l8 8M12 4l-8 8"/></svg>'

PAGE_INPUTS = ("model", "image", "target", "layer")
"""The inputs that the page chooses for all cards; a card has fields for the others."""

PROGRESS_DELAY = 0.4
"""Seconds after which a running lens shows a progress bar."""
PROGRESS_INTERVAL = 0.1
"""Seconds between updates of the progress bar, at least."""


class Card:
    """A lens in the gallery; ``shown_view`` is the view of its value, ``pending`` whether a newer one is computed.

    Args:
        spec: the lens.
        parameters: its parameters that differ from the defaults, as the link carries them.
        host: the page, which handles what concerns other cards.
    """

    def __init__(self, spec: LensSpec, parameters: dict[str, Any], context: PageContext, host: "CardHost") -> None:
        self.spec, self.parameters, self.context, self.host = spec, parameters, context, host
        self.value: Value | None = None
        self.shown_view = View()
        self.error = ""
        self.limit: float | None = None
        self.pending = False
        self._turn = 0
        self._waiting: asyncio.Task[Job] | None = None
        self._draw()

    def close(self) -> None:
        """Remove the card and stop watching its job."""
        self._stop_watching()
        self.box.delete()

    def run(self, view: View) -> None:
        """Run the lens; its previous job is no longer watched."""
        self._stop_watching()
        self.mark_outdated()
        background_tasks.create(self._run(view.replace(lens=self.spec.name, parameters=self.parameters), self._turn))

    def mark_outdated(self) -> None:
        """Mark the shown value as belonging to an earlier choice."""
        self.pending = True
        mark_outdated(self.picture, self.explanation, self.details)

    def _stop_watching(self) -> None:
        """Stop watching the running job, which stops unless others watch it."""
        self._turn += 1
        if self._waiting is not None:
            self._waiting.cancel()

    async def _run(self, view: View, turn: int) -> None:
        if turn != self._turn:
            return  # the card was closed or started again before this task began
        services, client = self.context.services, self.context.client
        try:
            job = services.submit(view)
        except ConvScopeError as error:
            await self._set_result(None, str(error))
            return
        self._waiting = waiting = asyncio.create_task(self.context.wait(job))
        await asyncio.wait([waiting], timeout=PROGRESS_DELAY)
        async for _ in progress_updates(job, waiting, PROGRESS_INTERVAL):
            if turn == self._turn and not client.is_deleted:
                self._show_progress(*job.progress)
        if turn == self._turn and not client.is_deleted:
            self.shown_view = view
            await self._set_result(job.value, job.error or self.context.tr("Stopped."))

    def _show_progress(self, done: int, total: int) -> None:
        self.progress.set_visibility(True)
        share = f'value="{done}" max="{total}"' if total else ""
        with self.progress:
            self.bar.set_content(f'<progress {share} aria-label="{escape(self.context.tr("Running"))}"></progress>')

    async def _set_result(self, value: Value | None, error: str) -> None:
        self.value, self.error, self.pending = value, "" if value else error, False
        self.host.on_result(self)
        await self.show()

    async def show(self) -> None:
        """Show the value or the error."""
        if self.box.is_deleted:
            return
        self.progress.set_visibility(False)
        html, value, limit = None, self.value, self.limit
        if isinstance(value, (Attribution, JointAttribution)):
            html = await run_in_thread(figure_with_layers, value, self.context, limit=limit)
        if self.box.is_deleted or value is not self.value or limit != self.limit:
            return  # the card was closed, or a later call shows another value or scale
        if not self.pending:  # it may be redrawn on another scale while its next value is pending
            mark_current(self.picture, self.explanation, self.details)
        self.picture.clear()
        is_wide = self.value is not None and not has_overlay(self.value)
        self.box.classes(add="wide") if is_wide else self.box.classes(remove="wide")
        with self.picture:
            if self.value is None:
                self._show_error()
            elif html is not None:
                ui.html(html, sanitize=False)
            else:
                panels.show(self.value, self.context)
        self._show_explanation()

    def _draw(self) -> None:
        tr = self.context.tr
        with ui.element("article").classes("card").props(f'aria-label="{escape(tr(self.spec.title))}"') as self.box:
            with ui.element("div").classes("card-head"):
                choices = self.host.choices if self.spec in self.host.choices else [self.spec, *self.host.choices]
                names = {spec.command: tr(spec.title) for spec in choices}
                self.lens_select = select = ui.select(
                    names, value=self.spec.command, on_change=lambda e: self.host.swap(self, e.value)
                )
                select.props("borderless dense options-dense").mark("swap")
                select.props(f'aria-label="{escape(tr("Lens"))}" title="{escape(tr(self.spec.title))}"')
                small_button(PIN_ICON, tr("Pin for comparison"), lambda: self.host.pin(self))
                small_button(CLOSE_ICON, tr("Remove"), lambda: self.host.remove(self))
            self.asks = ui.label(tr(self.spec.asks)).classes("asks")
            with ui.element("div").classes("in-place"):
                self.picture = ui.element("div").classes("picture")
                with self.picture:
                    ui.element("div").classes("empty-map")
                self.progress = ui.element("div").classes("row-of how-far")
                with self.progress:
                    self.bar = ui.html("", sanitize=False).style("flex: 1")
                    button(tr("Stop"), self.stop)
                self.progress.set_visibility(False)
            self.explanation = ui.element("div").classes("main-part").style("gap: 8px")
            further_inputs = [kind for kind in self.spec.input_kinds if kind.name not in PAGE_INPUTS]
            if self.spec.options or further_inputs:
                with ui.element("details"):
                    ui.html(escape(tr("Parameters")), sanitize=False, tag="summary")
                    for kind in further_inputs:
                        required = kind.name in self.spec.required
                        input_field(kind, self.host.view, self.context, self.host.set_input, required=required)
                    parameter_form(self.spec, self.parameters, self._on_parameter_changed, self.context.lang)
            self.details = ui.element("details")
            self.details.set_visibility(False)

    def stop(self) -> None:
        """Stop a long run; the previous value is not shown again."""
        self._stop_watching()
        background_tasks.create(self._set_result(None, self.context.tr("Stopped.")))

    def _on_parameter_changed(self, name: str, value: Any) -> None:
        self.parameters = {key: current for key, current in self.parameters.items() if key != name}
        if value is not None:
            self.parameters[name] = value
        self.host.on_parameters_changed(self)

    def _show_explanation(self) -> None:
        tr, value = self.context.tr, self.value
        self.explanation.clear()
        self.details.clear()
        self.details.set_visibility(value is not None)
        if value is None:
            return
        self.asks.set_text(value.record.adapt_wording(tr(self.spec.asks)))
        with self.explanation:
            ui.label(tr(render.subject(value))).classes("small")
            if isinstance(value, (Attribution, JointAttribution)):
                show_explanation(value, self.context, limit=self.limit)
        with self.details:
            summary = f"{tr('How it was computed')} · {tr(value.record.cost.describe())}"
            ui.html(escape(summary), sanitize=False, tag="summary")
            ui.html(_facts(value, self.context), sanitize=False)
            download_buttons(value, self.context)

    def _show_error(self) -> None:
        tr = self.context.tr
        with ui.element("div").classes("refusal").props('role="note"'):
            ui.label(tr("No map from this lens")).classes("label")
            ui.label(self.error)
            self.alternatives = ui.element("div").classes("main-part").style("gap: 8px")
        self.host.suggest_alternatives(self)

    def show_alternatives(self, lenses: list[tuple[str, str]]) -> None:
        """Suggest lenses that fit, as buttons that replace this card's lens."""
        self.alternatives.clear()
        with self.alternatives:
            ui.label(self.context.tr("Lenses that fit this network")).classes("label")
            with ui.element("div").classes("chips"):
                for command, title in lenses:
                    chip = ui.html(escape(title), sanitize=False, tag="button").classes("chip").props("type=button")
                    chip.on("click", lambda command=command: self.host.swap(self, command))


class CardHost:
    """What a card needs from the page that shows it."""

    choices: list[LensSpec]
    view: View
    """The current choice of the page."""

    def on_result(self, card: Card) -> None:
        """The card has a new value or error."""

    def on_parameters_changed(self, card: Card) -> None:
        """The user changed the card's parameters."""

    def set_input(self, name: str, value: Any) -> None:
        """The user chose another input that only some lenses have."""

    def swap(self, card: Card, lens: str) -> None:
        """Show another lens in place of this card."""

    def pin(self, card: Card) -> None:
        """Keep the card's map on the page."""

    def remove(self, card: Card) -> None:
        """Remove the card."""

    def suggest_alternatives(self, card: Card) -> None:
        """The card's lens was refused: suggest lenses that fit."""


def small_button(icon: str, text: str, on_click: Callable[[], Any]) -> None:
    """A button that shows an icon, with its text as tooltip."""
    element = ui.html(icon, sanitize=False, tag="button").classes("button plain")
    element.props(f'type=button aria-label="{escape(text)}" title="{escape(text)}"').on("click", on_click)


def _facts(value: Value, context: PageContext) -> str:
    """The origin of a value, and the code that reproduces it."""
    record = value.record
    rows = [
        (context.tr("model"), record.model.get("source", "")),
        (context.tr("input"), render.short_name(record.input)),
    ]
    rows += [
        (parameter_title(name, context.lang), parameter_text(record, name, context.lang)) for name in record.parameters
    ]
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(text))}</dd>" for name, text in rows if text)
    reproduction = recipe(record)
    code = escape(reproduction.shell or f"{reproduction.opening}\n{reproduction.call}")
    heading = escape(context.tr("Reproduce this result") + context.tr(": "))
    return f'<dl class="facts">{items}</dl><p class="small">{heading}</p><pre>{code}</pre>'
