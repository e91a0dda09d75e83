"""Activation maximisation, drawn before one's eyes: the picture so far, the climb as a curve, and a way to stop."""

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import torch
from nicegui import ui

from convscope import feature_maps, render
from convscope.engine.optimize.results import shown
from convscope.errors import ConvScopeError
from convscope.render.tiles import picture_png
from convscope.values import FeatureMaps, Pictures, Value
from convscope.web.inside.pieces import curve, image, quoted, trouble
from convscope.web.jobs.job import Job, State

if TYPE_CHECKING:
    from convscope.web.inside.explorer import Explorer
    from convscope.web.inside.unit import UnitName

EVERY = 0.2
"""Seconds between two looks at a drawing."""
MORE = "It excites the unit more than the best image known: {reached} at its strongest place, against {best}."
LESS = (
    "It excites the unit no more than the best image known: {reached} at its strongest place, against {best}. "
    "More steps may help."
)
"""What is said of a finished picture, by what was measured."""
STEPS = (64, 128, 256, 512, 1024)


class Drawing:
    """The picture that one unit looks for, from the button that begins it to the one that stops it."""

    def __init__(self, explorer: "Explorer") -> None:
        self.explorer = explorer
        self.job: Job | None = None
        self.watching: asyncio.Task[Job] | None = None
        self.steps = 128
        self.reached: float | None = None
        self.best_known: float | None = None

    def build(self, name: "UnitName") -> None:
        """Draw the buttons and the empty places."""
        say = self.explorer.say
        self.name = name
        self.reached = self.best_known = None
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
                self.compared = ui.label("").classes("hint").props('aria-live="polite"')
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
        self.reached = None
        self.compared.set_text("")
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
            await self._measure(job.value, job.id)
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
        score, begun = value.scores[0], value.climbs[0][0][1]
        say, done = self.explorer.say, value.curves.shape[1]
        word = say("Stopped." if job.stopping else "Finished.")
        mapped = bool(self.explorer.unit.extent)  # a unit without places gives one number
        steps = say("{done} steps, mean over the map:", done=done) if mapped else say("{done} steps:", done=done)
        self.told.set_text(f"{word} {steps} {begun:.3g} → {score:.3g}")
        self.line.set_content(curve([one for _, one in value.climbs[0]]))
        if value.photos is not None:
            self.picture.set_content(image(picture_png(value.photos[0]), self._alt()))

    async def _measure(self, value: Pictures, drawn_by: str) -> None:
        """Find what the unit gives for the picture where it gives most, as is done for the images.

        Args:
            drawn_by: the number of the job that drew the picture.
        """
        explorer, name = self.explorer, self.name

        def peak() -> Value:
            with explorer.library.lent(explorer.view.model) as model:
                maps = feature_maps(model, value.values[:1], layer=name.layer, channels=0)
            return maps[0] if isinstance(maps, list) else maps

        key = f"peak of drawing\n{explorer.view.model}\n{name.whole}\n{drawn_by}"
        job = await explorer.place.wait(explorer.place.bench.jobs.submit(key, peak, owner=explorer.view.model))
        if name != self.name or explorer.place.client.is_deleted or not isinstance(job.value, FeatureMaps):
            return
        place = job.value.channels[name.layer].index(name.number)
        self.reached = float(np.asarray(job.value.maps[name.layer][place]).max())
        self.compare()

    def know(self, best: float) -> None:
        """Take note of the largest number of the unit on an image."""
        self.best_known = best if self.best_known is None else max(best, self.best_known)
        self.compare()

    def compare(self) -> None:
        """Say what the picture reaches beside the best image known, once both are there."""
        if self.reached is None or self.best_known is None:
            return
        said = MORE if self.reached > self.best_known else LESS
        reached, best = render.number(self.reached), render.number(self.best_known)
        self.compared.set_text(self.explorer.say(said, reached=reached, best=best))

    def _alt(self) -> str:
        return self.explorer.say("What excites {unit}", unit=self.name.whole)
