"""The tab that shows how the evidence for the answer builds up: the map of one lens at the layers that lead to it."""

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from convscope.catalogue import lenses
from convscope.engine.layers.default_layer import layers_to_default
from convscope.errors import ConvScopeError
from convscope.runtime.several_inputs import bound_to_first
from convscope.values import Attribution, JointAttribution, Value
from convscope.web.jobs.async_wait import run_in_thread
from convscope.web.pages.inside.selection import Selection
from convscope.web.panels.attribution import figure_with_layers, show_explanation
from convscope.web.requests.written_inputs import opened_input

MOST_LAYERS = 12
"""Layers that the slider has, at most, spread evenly over those with positions."""
DEFAULT_LENS = "layer-cam"


def evidence_lenses() -> dict[str, str]:
    """The names of the lenses that map the evidence for a target at a layer in a few passes, by command."""
    fitting = (spec for spec in lenses() if spec.gives_map and spec.takes_layer and spec.takes_target)
    return {spec.command: spec.title for spec in fitting if not spec.many_passes and "operations" not in spec.needs}


class EvidenceTab:
    """Shows the maps of several layers; ``redraw`` is called when another lens is chosen."""

    def __init__(self, selection: Selection, redraw: Callable[[], Awaitable[None]]) -> None:
        self.selection, self.redraw = selection, redraw
        lens = selection.view.lens
        self.lens = lens if lens in evidence_lenses() else DEFAULT_LENS

    async def compute(self) -> Value | str:
        """The maps of the lens at the layers up to the last with positions, or the error message."""
        view = self.selection.view
        try:
            layers = await run_in_thread(self._layers, view.model, view.image)
        except (ConvScopeError, OSError) as error:
            return str(error)
        value = await self.selection.run(self.lens, layer=layers, **self.selection.link_parameters(self.lens))
        return next(iter(value.parts.values())) if isinstance(value, JointAttribution) else value

    def _layers(self, address: str, image: str) -> tuple[str, ...]:
        library = self.selection.library
        with library.borrow(address) as model, model.preserve_state():
            bound, prepared = bound_to_first(model, opened_input(library, image, model.input))
            return layers_to_default(bound, prepared.tensor, MOST_LAYERS)

    def show(self, value: Attribution) -> None:
        """Add the choice of the lens and the maps to the page."""
        tr, context = self.selection.tr, self.selection.context
        ui.label(
            tr("Which layer has which part of the evidence: one map for each, from the first to the last.")
        ).classes("hint q-mt-sm")
        ui.select(evidence_lenses(), value=self.lens, label=tr("Lens"), on_change=self._on_chosen).props(
            "outlined dense options-dense stack-label"
        )
        ui.html(figure_with_layers(value, context), sanitize=False).classes("evidence")
        show_explanation(value, context)

    async def _on_chosen(self, event: Any) -> None:
        self.lens = event.value
        self.selection.update(lens=event.value, parameters={})
        await self.redraw()
