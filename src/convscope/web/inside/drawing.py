"""Activation maximisation, drawn before one's eyes: the picture so far, the climb as a curve, and a way to stop."""

import asyncio
from typing import TYPE_CHECKING

import torch
from nicegui import ui

from convscope.engine.ascent.pictures import shown
from convscope.errors import ConvScopeError
from convscope.render.tiles import picture_png
from convscope.values import Pictures
from convscope.web.inside.pieces import curve, image, quoted, trouble
from convscope.web.jobs.job import Job, State

if TYPE_CHECKING:
    from convscope.web.inside.explorer import Explorer
    from convscope.web.inside.unit import UnitName

EVERY = 0.2
"""Seconds between two looks at a drawing."""
STEPS = (64, 128, 256, 512, 1024)


class Drawing:
    """The picture that one unit looks for, from the button that begins it to the one that stops it."""

    def __init__(self, explorer: "Explorer") -> None:
        self.explorer = explorer
        self.job: Job | None = None
        self.watching: asyncio.Task[Job] | None = None
        self.steps = 128

    def build(self, name: "UnitName") -> None:
        """Draw the buttons and the empty places."""
        say = self.explorer.say
        self.name = name
        with ui.element("div").classes("hand"):
            self.begin = ui.html(f'<button class="plain draw">{quoted(say("Draw"))}</button>', sanitize=False)
            self.begin.on("click", self._begin)
            self.end = ui.html(f'<button class="plain cancel">{quoted(say("Cancel"))}</button>', sanitize=False)
            self.end.on("click", self._cancel)
            self.end.set_visibility(False)
            ui.select(list(STEPS), value=self.steps, label=say("Steps")).props(
                "outlined dense options-dense stack-label"
            ).bind_value(self, "steps")
        hint = "Draws, step by step, a picture that excites the unit more and more. It can be stopped at any time."
        self.hint = ui.label(say(hint)).classes("hint")
        self.live = ui.element("div").classes("drawing")
        self.live.set_visibility(False)
        with self.live:
            self.picture = ui.html("", sanitize=False).classes("picture")
            with ui.element("div"):
                self.told = ui.label("").classes("result").props('aria-live="polite"')
                self.line = ui.html("", sanitize=False)
        self.trouble = ui.element("div")

    def stop(self) -> None:
        """Look away from a drawing that runs; it ends unless another tab watches it."""
        self.job = None
        if self.watching is not None:
            self.watching.cancel()

    def _cancel(self) -> None:
        if self.job is None:
            return
        if self.explorer.place.bench.jobs.stop(self.job):
            self.told.set_text(self.explorer.say("Stopping …"))
        else:
            self.stop()
            self._running(False)
            self.told.set_text(self.explorer.say("Stopped here; in another tab it goes on."))

    async def _begin(self) -> None:
        explorer, say = self.explorer, self.explorer.say
        if self.job is not None:
            return
        asked = explorer.asking("activation-maximization", unit=(str(self.name.whole),), image="", steps=self.steps)
        self.trouble.clear()
        try:
            job = explorer.place.bench.look(asked)
        except (ConvScopeError, OSError) as error:
            with self.trouble:
                trouble(str(error))
            return
        self.job = job
        self.hint.set_visibility(False)
        self.live.set_visibility(True)
        self._running(True)
        watching = self.watching = asyncio.create_task(explorer.place.wait(job))
        while not watching.done() and self.job is job:
            self._follow(job)
            await asyncio.sleep(EVERY)
        if self.job is not job:
            return  # another unit was chosen: what was drawn for this one is of no interest
        await watching
        self.job = None
        if explorer.place.client.is_deleted:
            return
        self._running(False)
        if isinstance(job.value, Pictures):
            self._finished(job, job.value)
        elif job.state is State.CANCELLED:
            self.told.set_text(say("Stopped."))
        else:
            with self.trouble:
                trouble(job.error)

    def _running(self, running: bool) -> None:
        self.begin.set_visibility(not running)
        self.end.set_visibility(running)

    def _follow(self, job: Job) -> None:
        """Show what a running job has drawn so far."""
        done, total = job.progress
        if job.stopping:
            return
        scores = [one[0] for one in list(job.scores) if one]
        self.told.set_text(f"{self.explorer.say('Step')} {done} / {total}" if total else self.explorer.say("Waiting …"))
        if scores:
            self.line.set_content(curve(scores))
        if job.preview is not None:
            self._show(job.preview)

    def _show(self, prepared: torch.Tensor) -> None:
        photos = shown(self.explorer.library.model(self.explorer.view.model).input, prepared[:1])
        if photos is not None:
            self.picture.set_content(image(picture_png(photos[0]), self._alt()))

    def _finished(self, job: Job, value: Pictures) -> None:
        score, begun = value.scores[0], float(value.curves[0][0])
        word = self.explorer.say("Stopped." if job.stopping else "Finished.")
        self.told.set_text(f"{word} {begun:.3g} → {score:.3g}")
        self.line.set_content(curve(value.curves[0].tolist()))
        if value.photos is not None:
            self.picture.set_content(image(picture_png(value.photos[0]), self._alt()))

    def _alt(self) -> str:
        return self.explorer.say("What excites {unit}", unit=self.name.whole)
