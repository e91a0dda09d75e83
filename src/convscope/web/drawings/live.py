"""The picture that is being drawn: how far it is, how it looks, how it climbed, and a way to stop."""

import asyncio
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import ui

from convscope import render
from convscope.engine.optimize.results import shown
from convscope.web.buttons import button
from convscope.web.curves import curves
from convscope.web.jobs.job import Job
from convscope.web.jobs.waiting import aside
from convscope.web.panels.pictures import tiles

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

EVERY = 0.25
"""Seconds between two looks at a picture that is being drawn."""


class Live:
    """One job, watched; drawn where this is made, and hidden while there is none.

    Args:
        stop: called by the button that stops the picture.
    """

    def __init__(self, place: "Place", stop: Callable[[], object]) -> None:
        self.place = place
        say = place.say
        self.box = ui.element("section").classes("box live").props(f'aria-label="{escape(say("Being drawn"))}"')
        self.box.set_visibility(False)
        with self.box:
            with ui.element("div").classes("row-of"):
                self._doing = ui.label().classes("asks").props('aria-live="polite"')
                button(say("Stop"), stop).classes("end").mark("stop")
            self._bar = ui.html("", sanitize=False)
            self._picture = ui.html("", sanitize=False).classes("tiles")
            self._curve = ui.html("", sanitize=False)
            ui.label(say("Stopping keeps the best picture so far.")).classes("small")

    async def watch(self, job: Job, waiting: "asyncio.Task[Job]", model: str) -> None:
        """Show how a picture comes about until it is there, or nobody waits for it here any more."""
        self.say(self.place.say("Waiting for its turn"))
        self._far(0, 0)
        for part in (self._picture, self._curve):
            part.set_content("")
        self.box.set_visibility(True)
        while not waiting.done() and not self.place.client.is_deleted:
            await self._look(job, model)
            await asyncio.wait([waiting], timeout=EVERY)
        await asyncio.wait([waiting])
        if not self.place.client.is_deleted:
            self.box.set_visibility(False)

    def say(self, doing: str) -> None:
        """What is being done now."""
        self._doing.set_text(doing)

    def _far(self, done: int, total: int) -> None:
        share = f' value="{done}" max="{total}"' if total else ""
        self._bar.set_content(f'<progress{share} aria-label="{escape(self.place.say("Running"))}"></progress>')

    async def _look(self, job: Job, model: str) -> None:
        """The present state of a picture."""
        done, total = job.progress
        if total and not job.stopping:
            self.say(f"{self.place.say('Step')} {done} / {total}")
            self._far(done, total)
        preview, scores = job.preview, [list(row) for row in job.scores]
        if preview is not None:
            self._picture.set_content(await aside(self._drawn, model, preview, scores[-1] if scores else []))
        if scores:
            alike = [row for row in scores if len(row) == len(scores[-1])]
            alt = self.place.say("The objective over the steps, of the picture as it was shown to the network")
            self._curve.set_content(curves(list(zip(*alike, strict=True)), alt))

    def _drawn(self, model: str, preview: Any, scores: list[float]) -> str:
        """The pictures as they stand, for people."""
        photos = shown(self.place.bench.library.model(model).input, preview)
        if photos is None:
            return ""
        told = [render.number(score) for score in scores] + [""] * len(photos)
        return tiles([np.asarray(photo) for photo in photos], told[: len(photos)])
