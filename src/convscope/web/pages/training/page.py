"""Training: the logs named at start, drawn again whenever a training writes to them."""

import asyncio
from collections.abc import Sequence
from html import escape

from nicegui import background_tasks, ui
from nicegui.events import GenericEventArguments
from watchfiles import awatch

from convscope.training.report import Film
from convscope.training.run import TrainingLog
from convscope.web.frame.page_context import PageContext
from convscope.web.frame.page_registry import page
from convscope.web.jobs.async_wait import run_in_thread
from convscope.web.page_parts.buttons import toggle
from convscope.web.page_parts.outdated import mark_current, mark_outdated
from convscope.web.pages.training.run_drawing import Drawing, Section, draw
from convscope.web.requests.url_state import View

SETTLED = 500
"""Milliseconds that a log has to grow no further until it is drawn again, within `DELAY`."""
DELAY = 2000
"""Milliseconds after which a log that keeps growing is drawn again."""


@page("/training", "Training", order=5)
async def build(view: View, context: PageContext) -> None:
    """Build the choice of a log and what is drawn of it."""
    tr, logs = context.tr, context.services.logs
    ui.html(f'<h1 class="page-title">{escape(tr("Training"))}</h1>', sanitize=False)
    if not logs:
        with ui.element("div").classes("box"):
            ui.label(tr("No training is shown here")).classes("asks")
            ui.label(
                tr("Name the log directory of a training when the workbench is started; TensorBoard's are read too.")
            )
            ui.html("<pre><code>convscope train digits\nconvscope serve --log runs/digits</code></pre>", sanitize=False)
        return
    chosen = int(view.tab) if view.tab.isdecimal() and int(view.tab) < len(logs) else 0
    if len(logs) > 1:
        links = "".join(
            f'<a class="chip" href="{escape(context.link(view.replace(tab=str(number))))}"'
            f"{' aria-current=true' if number == chosen else ''}>{escape(folder.name)}</a>"
            for number, folder in enumerate(logs)
        )
        ui.html(links, sanitize=False, tag="nav").classes("chips").props(f'aria-label="{escape(tr("Logs"))}"')
    training_page = TrainingPage(TrainingLog(logs[chosen]), context)
    background_tasks.create(training_page.follow())


class TrainingPage:
    """One open page: a log, and what is drawn of it."""

    def __init__(self, log: TrainingLog, context: PageContext) -> None:
        self.log, self.context = log, context
        self.slow = False
        self.frame = -1
        self._updating = asyncio.Lock()
        self.status = ui.label(context.tr("Reading the log")).classes("asks").props('aria-live="polite"').mark("status")
        with ui.element("div").classes("chips"):
            self.slow_button = toggle(context.tr("Distributions over time"), False, self._toggle_slow)
        self.content = ui.element("div").classes("main-part").style("margin-top: 16px")

    async def follow(self) -> None:
        """Draw the log now and whenever it grows, until the tab is closed."""
        await self.update()
        async for _ in awatch(self.log.folder, stop_event=self.context.closed, step=SETTLED, debounce=DELAY):
            await self.update()

    async def update(self) -> None:
        """Read what was added, and draw everything again; one update after another, since all read the same log."""
        mark_outdated(self.content)
        async with self._updating:
            drawing = await run_in_thread(draw, self.log, slow=self.slow)
            if self.context.client.is_deleted:
                return
            self.status.set_text(self._status_of(drawing))
            self.content.clear()
            with self.content:
                self._show(drawing)
            mark_current(self.content)

    async def _toggle_slow(self) -> None:
        self.slow = not self.slow
        self.slow_button.props(f"aria-pressed={'true' if self.slow else 'false'}")
        await self.update()

    def _status_of(self, drawing: Drawing) -> str:
        tr = self.context.tr
        if drawing.error:
            return drawing.error
        if not drawing.steps:
            return tr("Nothing has been recorded yet; the page follows the log.")
        last = tr(", ").join(
            f"{run}{tr(': ')}{tr('step {step}', step=f'{step:,}')}" for run, step in drawing.steps.items()
        )
        return f"{last}{tr(', ')}{tr('followed live')}"

    def _show(self, drawing: Drawing) -> None:
        tr = self.context.tr
        for problem in drawing.problems:
            ui.label(tr(problem)).classes("warning")
        if drawing.steps:
            self._show_findings(drawing)
        for section in drawing.sections:
            self._show_section(section)
        if drawing.films:
            self._show_films(drawing.films)

    def _show_findings(self, drawing: Drawing) -> None:
        tr = self.context.tr
        with ui.element("section").classes("box").mark("findings"):
            ui.html(escape(tr("Findings")), tag="h2", sanitize=False)
            if not drawing.findings:
                ui.label(tr("None of the checks of a run found anything wrong."))
            for finding, picture in drawing.findings:
                ui.label(f"{tr(finding.title)}{tr(': ')}{tr(finding.evidence)}").classes("warning")
                if picture is not None:
                    image = f'<img class="whole" alt="{escape(picture[1])}" src="{picture[0]}">'
                    ui.html(image, sanitize=False).classes("plots")
                ui.label(f"{tr('Likely cause')}{tr(': ')}{tr(finding.cause)}").classes("small")
                ui.html(f"<pre><code>{escape(finding.remedy)}</code></pre>", sanitize=False)

    def _show_section(self, section: Section) -> None:
        tr, view = self.context.tr, section.view
        with ui.element("section").classes("box").mark(view.name):
            ui.html(escape(tr(view.title)), tag="h2", sanitize=False)
            ui.label(tr(view.asks)).classes("asks")
            pictures = "".join(f'<img class="whole" alt="{escape(alt)}" src="{uri}">' for uri, alt in section.pictures)
            ui.html(pictures, sanitize=False).classes("plots")
            ui.label(tr(view.reads)).classes("reads")

    def _show_films(self, films: Sequence[Film]) -> None:
        """The pictures of the run at one step, which a slider chooses; the last one until it is moved."""
        tr, most = self.context.tr, max(len(film.steps) for film in films)
        with ui.element("section").classes("box").mark("films"):
            ui.html(escape(tr("Pictures over time")), tag="h2", sanitize=False)
            ui.label(tr("What does training do to them? The slider moves through the recorded steps.")).classes("asks")
            shown = most - 1 if self.frame < 0 else min(self.frame, most - 1)
            with ui.element("label").classes("slider"):
                ui.label(tr("Step"))
                slider = ui.element("input").props(f"type=range min=0 max={most - 1} value={shown}")
            tiles = ui.html(self._tiles(films, shown), sanitize=False).classes("plots")

            def move(event: GenericEventArguments) -> None:
                frame = int(event.args)
                self.frame = -1 if frame == most - 1 else frame
                tiles.set_content(self._tiles(films, frame))

            slider.on("input", move, js_handler="(e) => emit(e.target.value)")

    def _tiles(self, films: Sequence[Film], frame: int) -> str:
        tiles = []
        for film in films:
            index = min(frame, len(film.steps) - 1)
            step = self.context.tr("step {step}", step=f"{film.steps[index]:,}")
            caption = escape(f"{self.context.tr(film.title)} · {step}")
            tiles.append(
                f'<figure><img class="whole coarse" alt="{caption}" src="{film.uris[index]}">'
                f'<figcaption class="small">{caption}</figcaption></figure>'
            )
        return "".join(tiles)
