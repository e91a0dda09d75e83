"""The picture that is being optimized: its progress, the current picture, the objective so far, and a stop button."""

import asyncio
from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np
from nicegui import ui

from convscope import render
from convscope.engine.optimize.results import displayable
from convscope.render.input_preview import prepared_pixels
from convscope.web.frame.page_context import PageContext
from convscope.web.jobs.async_wait import progress_updates, run_in_thread
from convscope.web.jobs.job import Job
from convscope.web.page_parts.buttons import button
from convscope.web.page_parts.line_plot import line_plot
from convscope.web.panels.pictures import picture_tiles

UPDATE_INTERVAL = 0.25
"""Seconds between updates of the picture, at least."""

PICTURE_SIDE = 384
"""The pixels that an optimized signal or volume is drawn wide."""


class LivePreview:
    """The live view of one job, placed where this is constructed and hidden while no job runs.

    Args:
        stop: called by the stop button.
    """

    def __init__(self, context: PageContext, stop: Callable[[], object]) -> None:
        self.context = context
        tr = context.tr
        self.box = ui.element("section").classes("box live").props(f'aria-label="{escape(tr("In progress"))}"')
        self.box.set_visibility(False)
        with self.box:
            with ui.element("div").classes("row-of"):
                self._status = ui.label().classes("asks").props('aria-live="polite"')
                button(tr("Stop"), stop).classes("end").mark("stop")
            self._bar = ui.html("", sanitize=False)
            self._picture = ui.html("", sanitize=False).classes("tiles")
            self._curve = ui.html("", sanitize=False)
            ui.label(tr("Stopping keeps the best picture so far.")).classes("small")

    async def watch(self, job: Job, waiting: "asyncio.Task[Job]", model: str) -> None:
        """Show the progress of a job until it is finished, or the task that waits for it is cancelled."""
        self.show_status(self.context.tr("Waiting in the queue"))
        self._show_progress(0, 0)
        for part in (self._picture, self._curve):
            part.set_content("")
        self.box.set_visibility(True)
        async for _ in progress_updates(job, waiting, UPDATE_INTERVAL):
            if not self.context.client.is_deleted:
                await self._update(job, model)
        if not self.context.client.is_deleted:
            self.box.set_visibility(False)

    def show_status(self, text: str) -> None:
        """Show what is being done now."""
        self._status.set_text(text)

    def _show_progress(self, done: int, total: int) -> None:
        share = f' value="{done}" max="{total}"' if total else ""
        self._bar.set_content(f'<progress{share} aria-label="{escape(self.context.tr("Running"))}"></progress>')

    async def _update(self, job: Job, model: str) -> None:
        """Show the current state of a job."""
        done, total = job.progress
        if total and not job.stop_requested:
            self.show_status(f"{self.context.tr('Step')} {done} / {total}")
            self._show_progress(done, total)
        preview, scores = job.preview, [list(row) for row in job.scores]
        if preview is not None:
            self._picture.set_content(await run_in_thread(self._render, model, preview, scores[-1] if scores else []))
        if scores:
            same_length = [row for row in scores if len(row) == len(scores[-1])]
            alt = self.context.tr("The objective over the steps, measured on the pictures that the network received")
            self._curve.set_content(line_plot(list(zip(*same_length, strict=True)), alt))

    def _render(self, model: str, preview: Any, scores: list[float]) -> str:
        """The current pictures as HTML."""
        photos = displayable(self.context.services.library.model(model).input, preview)
        if photos is None:
            numbers = np.asarray(preview.detach().float().cpu())
            pixels = [prepared_pixels(values, PICTURE_SIDE) for values in numbers]
        else:
            pixels = [np.asarray(photo) for photo in photos]
        captions = [render.format_number(score) for score in scores] + [""] * len(pixels)
        return picture_tiles(pixels, captions[: len(pixels)])
