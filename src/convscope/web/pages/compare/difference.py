"""The difference of two chosen maps, and measures of their similarity."""

from collections.abc import Sequence
from html import escape
from typing import Any

from nicegui import ui

from convscope import render
from convscope.engine.statistics.map_similarity import difference, to_extent_of
from convscope.render.scale import scale_of
from convscope.values import Comparison
from convscope.web.frame.page_context import PageContext
from convscope.web.jobs.async_wait import run_in_thread
from convscope.web.pages.compare.cell import Cell, overlay_html
from convscope.web.panels.attribution import has_overlay

SIMILARITY_MEASURES = {
    "Rank correlation": (
        "1: both maps rank the positions equally; 0: the rankings are unrelated; "
        "−1: one ranking is the reverse of the other"
    ),
    "Structural similarity": "1: both maps show the same patterns at the same positions; 0: no similarity",
}
"""Measures of the similarity of two maps, and the meaning of their values."""


class Difference:
    """The difference of two cells, placed where this is constructed and hidden if there are not two maps."""

    def __init__(self, context: PageContext) -> None:
        self.context = context
        self.cells: Sequence[Cell] = ()
        self.pair = (0, 1)
        self._turn = 0
        self.box = ui.element("section").classes("box").props(f'aria-label="{escape(context.tr("Difference"))}"')
        self.box.set_visibility(False)

    async def show(self, cells: Sequence[Cell]) -> None:
        """Show the difference of the chosen pair, or of the first two cells with a map."""
        self.cells = cells
        self._turn += 1
        with_maps = {index: cell for index, cell in enumerate(cells) if cell.value is not None}
        self.box.set_visibility(len(with_maps) > 1)
        self.box.clear()
        if len(with_maps) < 2:
            return
        if not set(self.pair) <= set(with_maps):
            first, second, *_ = with_maps
            self.pair = first, second
        with self.box:
            ui.html(escape(self.context.tr("Difference")), tag="h2", sanitize=False)
            self._draw_choice({index: cell.title for index, cell in with_maps.items()})
        chosen = [with_maps[index] for index in self.pair]
        await self._draw_difference(chosen[0], chosen[1], self._turn)

    def _draw_choice(self, titles: dict[int, str]) -> None:
        with ui.element("div").classes("row-of"):
            for side, label in enumerate(("First", "Second (subtracted)")):
                field = ui.select(titles, label=self.context.tr(label), value=self.pair[side])
                field.props("outlined dense stack-label options-dense").classes("of-two").mark(f"side-{side}")
                field.on_value_change(lambda event, side=side: self._choose(side, event.value))

    async def _choose(self, side: int, chosen: int) -> None:
        self.pair = (chosen, self.pair[1]) if side == 0 else (self.pair[0], chosen)
        await self.show(self.cells)

    async def _draw_difference(self, first: Cell, second: Cell, turn: int) -> None:
        first_map, second_map = first.value, second.value
        if first_map is None or second_map is None or first_map.values.ndim != second_map.values.ndim:
            return
        difference_map = difference(first_map, second_map)
        limit = None if difference_map.blank else scale_of([first_map, second_map]).limit
        html = await overlay_html(
            difference_map, self.context, limit or None, ("the second is higher", "the first is higher")
        )
        comparison = Comparison(rows=((first_map, to_extent_of(first_map, second_map)),))
        measures = await run_in_thread(lambda: (comparison.rank_similarity, comparison.structural_similarity))
        if turn != self._turn or self.context.client.is_deleted:
            return  # another pair was chosen meanwhile
        with self.box, ui.element("div").classes("apart" if has_overlay(first_map) else "main-part"):
            ui.html(html, sanitize=False)
            with ui.element("div").classes("words"):
                ui.html(f'<p class="reads">{escape(self.context.tr(difference_map.record.reads))}</p>', sanitize=False)
                ui.html(self._similarity_table(measures), sanitize=False)
                if first_map.target != second_map.target and not first.view.target:
                    words = "The two maps explain different classes: set a target to compare maps of the same class."
                    ui.label(self.context.tr(words)).classes("warning")

    def _similarity_table(self, measures: tuple[Any, Any]) -> str:
        """The similarity of two maps as a table."""
        tr = self.context.tr
        rows = [
            f'<dt title="{escape(tr(hint))}">{escape(tr(name))}</dt>'
            f"<dd>{render.format_number(float(matrix[0, 1]))}</dd>"
            for (name, hint), matrix in zip(SIMILARITY_MEASURES.items(), measures, strict=True)
            if matrix is not None
        ]
        return f'<dl class="facts">{"".join(rows)}</dl>'
