"""Activation maximization of one unit, shown while it runs: the current picture, the score curve, and a stop button."""

import asyncio
from html import escape
from typing import Any

import numpy as np
import torch
from nicegui import ui

from convscope import feature_maps, render
from convscope.engine.optimize.results import displayable
from convscope.errors import ConvScopeError
from convscope.render.input_preview import prepared_pixels
from convscope.render.layer_images import picture_png
from convscope.values import FeatureMaps, Pictures, Value
from convscope.web.jobs.async_wait import progress_updates
from convscope.web.jobs.job import Job, State
from convscope.web.pages.inside.selection import Selection, UnitName
from convscope.web.pages.inside.widgets import error_label, img_tag, score_curve

UPDATE_INTERVAL = 0.2
"""Seconds between updates of the picture, at least."""
MORE = (
    "It activates the unit more strongly than the best known image: {reached} at its strongest position, "
    "compared with {best}."
)
LESS = (
    "It activates the unit no more strongly than the best known image: {reached} at its strongest position, "
    "compared with {best}. More steps may help."
)
"""The comparison of a finished picture with the strongest known image."""
HINT = "Optimizes a picture, step by step, to activate the unit as strongly as possible. It can be stopped at any time."
PICTURE_SIDE = 384
"""The pixels that an optimized signal or volume is drawn wide."""
STEPS = (64, 128, 256, 512, 1024)


class UnitDrawing:
    """The optimized picture of one unit, with the buttons that start and stop it.

    Attributes:
        has_map: whether the unit has a map, so that its score is a mean over positions.
    """

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.job: Job | None = None
        self.waiting: asyncio.Task[Job] | None = None
        self.steps = 128
        self.has_map = False
        self.reached: float | None = None
        self.best_known: float | None = None

    def build(self, unit: UnitName) -> None:
        """Add the buttons and the empty elements for a unit."""
        tr = self.selection.tr
        self.unit = unit
        self.has_map = False
        self.reached = self.best_known = None
        with ui.element("div").classes("hand"):
            self.start_button = ui.html(f'<button class="plain draw">{escape(tr("Draw"))}</button>', sanitize=False)
            self.start_button.on("click", self._start)
            self.stop_button = ui.html(f'<button class="plain cancel">{escape(tr("Cancel"))}</button>', sanitize=False)
            self.stop_button.on("click", self._cancel)
            self.stop_button.set_visibility(False)
            ui.select(list(STEPS), value=self.steps, label=tr("Steps")).props(
                "outlined dense options-dense stack-label"
            ).bind_value(self, "steps")
        self.hint = ui.label(tr(HINT)).classes("hint")
        self.live = ui.element("div").classes("drawing")
        self.live.set_visibility(False)
        with self.live:
            self.picture = ui.html("", sanitize=False).classes("picture")
            with ui.element("div"):
                self.status = ui.label("").classes("result").props('aria-live="polite"')
                self.curve = ui.html("", sanitize=False)
                self.comparison = ui.label("").classes("hint").props('aria-live="polite"')
        self.error_box = ui.element("div")

    def stop(self) -> None:
        """Stop watching the running job, which stops unless another tab watches it."""
        self.job = None
        if self.waiting is not None:
            self.waiting.cancel()

    def _cancel(self) -> None:
        if self.job is None:
            return
        if self.selection.context.services.jobs.stop(self.job):
            self.status.set_text(self.selection.tr("Stopping …"))
        else:
            self.stop()
            self._show_running(False)
            self.status.set_text(self.selection.tr("Stopped here; it continues in another tab."))

    async def _start(self) -> None:
        selection, tr = self.selection, self.selection.tr
        if self.job is not None:
            return
        unit = (str(self.unit.channel),)
        view = selection.lens_view("activation-maximization", unit=unit, image="", steps=self.steps)
        self.error_box.clear()
        try:
            job = selection.context.services.submit(view)
        except (ConvScopeError, OSError) as error:
            with self.error_box:
                error_label(str(error))
            return
        self.job = job
        self.reached = None
        self.comparison.set_text("")
        self.hint.set_visibility(False)
        self.live.set_visibility(True)
        self._show_running(True)
        waiting = self.waiting = asyncio.create_task(selection.context.wait(job))
        async for _ in progress_updates(job, waiting, UPDATE_INTERVAL):
            if self.job is job:
                self._update(job)
        if self.job is not job:
            return  # another unit was selected, or the drawing was left to another tab
        await waiting
        self.job = None
        if selection.is_closed:
            return
        self._show_running(False)
        if isinstance(job.value, Pictures):
            self._show_finished(job, job.value)
            await self._measure(job.value, job.id)
        elif job.state is State.CANCELLED:
            self.status.set_text(tr("Stopped."))
        else:
            with self.error_box:
                error_label(job.error)

    def _show_running(self, running: bool) -> None:
        self.start_button.set_visibility(not running)
        self.stop_button.set_visibility(running)

    def _update(self, job: Job) -> None:
        """Show the current state of a running job."""
        done, total = job.progress
        if job.stop_requested:
            return
        scores = [step_scores[0] for step_scores in list(job.scores) if step_scores]
        tr = self.selection.tr
        self.status.set_text(f"{tr('Step')} {done} / {total}" if total else tr("Waiting …"))
        if scores:
            self.curve.set_content(score_curve(scores))
        if job.preview is not None:
            self._show_preview(job.preview)

    def _show_preview(self, prepared: torch.Tensor) -> None:
        photos = displayable(self.selection.library.model(self.selection.view.model).input, prepared[:1])
        self._show_picture(prepared[0].float().cpu() if photos is None else photos[0])

    def _show_finished(self, job: Job, value: Pictures) -> None:
        score, initial_score = value.scores[0], value.score_curves[0][0][1]
        tr, done = self.selection.tr, value.curves.shape[1]
        status = tr("Stopped." if job.stop_requested else "Finished.")
        steps = tr("{done} steps, mean over the map:", done=done) if self.has_map else tr("{done} steps:", done=done)
        self.status.set_text(f"{status} {steps} {initial_score:.3g} → {score:.3g}")
        self.curve.set_content(score_curve([step_score for _, step_score in value.score_curves[0]]))
        self._show_picture(value.values[0] if value.photos is None else value.photos[0])

    def _show_picture(self, drawn: Any) -> None:
        """Show pixels, or the numbers of a signal or a volume."""
        array = np.asarray(drawn)
        pixels = array if array.dtype == np.uint8 else prepared_pixels(array, PICTURE_SIDE)
        self.picture.set_content(img_tag(picture_png(pixels), self._alt()))

    async def _measure(self, value: Pictures, job_id: str) -> None:
        """Compute the unit's largest activation on the picture, as is done for images.

        Args:
            job_id: the job that drew the picture.
        """
        selection, unit, comparison = self.selection, self.unit, self.comparison

        def maps_of_picture() -> Value:
            with selection.library.borrow(selection.view.model) as model:
                maps = feature_maps(model, value.values[:1], layer=unit.layer, channels=0)
            return maps[0] if isinstance(maps, list) else maps

        model, jobs = selection.view.model, selection.context.services.jobs
        key = f"peak of drawing\n{model}\n{unit.channel}\n{job_id}"
        job = await selection.context.wait(jobs.submit(key, maps_of_picture, owner=model))
        if comparison.is_deleted or not isinstance(job.value, FeatureMaps):
            return  # another unit is shown
        row = job.value.channels[unit.layer].index(unit.number)
        self.reached = float(np.asarray(job.value.maps[unit.layer][row]).max())
        self._compare()

    def add_known_maximum(self, maximum: float) -> None:
        """Take note of the unit's largest activation on an image."""
        self.best_known = maximum if self.best_known is None else max(maximum, self.best_known)
        self._compare()

    def _compare(self) -> None:
        """Compare the picture with the strongest known image, once both are measured."""
        if self.reached is None or self.best_known is None:
            return
        sentence = MORE if self.reached > self.best_known else LESS
        reached, best = render.format_number(self.reached), render.format_number(self.best_known)
        self.comparison.set_text(self.selection.tr(sentence, reached=reached, best=best))

    def _alt(self) -> str:
        return self.selection.tr("Picture that maximizes {unit}", unit=self.unit.channel)
