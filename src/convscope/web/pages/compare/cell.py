"""One cell of the page Compare: one network on one image."""

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from html import escape

from nicegui import ui

from convscope import render
from convscope.errors import ConvScopeError
from convscope.values import Attribution, JointAttribution, Value
from convscope.web import panels
from convscope.web.frame.page_context import PageContext
from convscope.web.jobs.async_wait import run_in_thread
from convscope.web.panels.attribution import has_overlay, map_figure, show_value_notes
from convscope.web.panels.prediction import answer_bars
from convscope.web.requests.url_state import View

SHOWN_CLASSES = 3
"""Classes that are shown below each map."""


@dataclass
class Cell:
    """One network on one image: the lens's value, the prediction, or an error."""

    view: View
    title: str
    value: Attribution | None = None
    joint: JointAttribution | None = None
    prediction: render.Answer | None = None
    error: str = ""

    async def run(self, context: PageContext) -> None:
        """Compute the prediction and the lens's value; an error is shown in its place."""
        try:
            predict = View(lens="predict", model=self.view.model, image=self.view.image)
            prediction, value = await asyncio.gather(context.run(predict), context.run(self.view))
        except ConvScopeError as error:
            self.error = str(error)
            return
        self.prediction = prediction if isinstance(prediction, render.ANSWERS) else None
        self.value = value if isinstance(value, Attribution) else None
        self.joint = value if isinstance(value, JointAttribution) else None
        self.error = value if isinstance(value, str) else ""

    def show(self, html: str, context: PageContext, limit: float | None = None) -> None:
        """Add the card to the page.

        Args:
            html: the map; empty if there is none.
            limit: the magnitude at the end of the shared scale.
        """
        is_wide = self.joint is not None or (self.value is not None and not has_overlay(self.value))
        with ui.element("article").classes("card wide" if is_wide else "card").mark("cell") as card:
            card.props["aria-label"] = self.title
            ui.html(escape(self.title), tag="h2", sanitize=False)
            if self.joint is not None:
                panels.show(self.joint, context)
            elif self.value is None:
                with ui.element("div").classes("refusal").props('role="note"'):
                    ui.label(self.error or context.tr("Stopped."))
            else:
                ui.html(html, sanitize=False)
            if self.value is not None:
                ui.label(context.tr(render.subject(self.value))).classes("small")
                show_value_notes(self.value, context, limit=limit)
            if self.prediction is not None:
                answer_bars(
                    _best_rows(self.prediction),
                    context,
                    chosen=None if self.value is None else self.value.target_index,
                )


async def overlay_html(
    value: Value | None, context: PageContext, limit: float | None, ends: tuple[str, str] | None = None
) -> str:
    """A map as HTML, on a scale that ends at ``limit``; empty for other values."""
    if not isinstance(value, Attribution):
        return ""
    html: str = await run_in_thread(partial(map_figure, value, context, limit=limit, ends=ends))
    return html


def _best_rows(prediction: render.Answer) -> render.Answer:
    """The first few rows of an answer."""
    per_row = ("labels", "indices", "confidences", "scores", "units", "shares", "boxes")
    return replace(
        prediction, **{name: getattr(prediction, name)[:SHOWN_CLASSES] for name in per_row if hasattr(prediction, name)}
    )
