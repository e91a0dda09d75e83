"""The difference of two maps, which two can be chosen, and how alike they are in numbers."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from nicegui import ui

from convscope import render
from convscope.engine.statistics.map_similarity import difference, to_extent_of
from convscope.render.scale import scale_of
from convscope.values import Comparison
from convscope.web.comparison.cell import Cell, over_photo
from convscope.web.jobs.waiting import aside

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

ALIKE = {
    "Rank correlation": (
        "1: both maps rank the places alike; 0: the orders have nothing in common; −1: one is the reverse of the other"
    ),
    "Structural similarity": "1: both maps show the same patterns in the same places; 0: nothing in common",
}
"""The measures of how alike two maps are, and what their numbers say."""


class Difference:
    """Two of the cells, drawn where this is made; hidden where there are no two."""

    def __init__(self, place: "Place") -> None:
        self.place = place
        self.cells: Sequence[Cell] = ()
        self.pair = (0, 1)
        self.box = ui.element("section").classes("box").props(f'aria-label="{escape(place.say("Difference"))}"')
        self.box.set_visibility(False)

    async def show(self, cells: Sequence[Cell]) -> None:
        """Show the difference of the pair that was chosen, or of the first two that have a map."""
        self.cells = cells
        sound = {place: cell for place, cell in enumerate(cells) if cell.value is not None}
        self.box.set_visibility(len(sound) > 1)
        self.box.clear()
        if len(sound) < 2:
            return
        if not set(self.pair) <= set(sound):
            first, second, *_ = sound
            self.pair = first, second
        with self.box:
            ui.html(escape(self.place.say("Difference")), tag="h2", sanitize=False)
            self._choice({place: cell.title for place, cell in sound.items()})
        two = [sound[place] for place in self.pair]
        await self._draw(two[0], two[1])

    def _choice(self, titles: dict[int, str]) -> None:
        with ui.element("div").classes("row-of"):
            for side, label in enumerate(("First", "Less the second")):
                field = ui.select(titles, label=self.place.say(label), value=self.pair[side])
                field.props("outlined dense stack-label options-dense").classes("of-two").mark(f"side-{side}")
                field.on_value_change(lambda event, side=side: self._choose(side, event.value))

    async def _choose(self, side: int, chosen: int) -> None:
        self.pair = (chosen, self.pair[1]) if side == 0 else (self.pair[0], chosen)
        await self.show(self.cells)

    async def _draw(self, first: Cell, second: Cell) -> None:
        one, other = first.value, second.value
        if one is None or other is None or one.values.ndim != 2 or other.values.ndim != 2:
            return
        found = difference(one, other)
        limit = None if found.blank else scale_of([one, other]).limit
        html = await over_photo(found, self.place, limit or None, ("the second is higher", "the first is higher"))
        alike = Comparison(rows=((one, to_extent_of(one, other)),))
        measures = await aside(lambda: (alike.rank_similarity, alike.structural_similarity))
        with self.box, ui.element("div").classes("apart"):
            ui.html(html, sanitize=False)
            with ui.element("div").classes("words"):
                ui.html(f'<p class="reads">{escape(self.place.say(found.record.reads))}</p>', sanitize=False)
                ui.html(self._alike(measures), sanitize=False)
                if one.target != other.target and not first.view.target:
                    words = "The two explain different answers: name a target to compare like with like."
                    ui.label(self.place.say(words)).classes("warning")

    def _alike(self, measures: tuple[Any, Any]) -> str:
        """How alike two maps are, in numbers."""
        say = self.place.say
        rows = [
            f'<dt title="{escape(say(hint))}">{escape(say(name))}</dt><dd>{render.number(float(found[0, 1]))}</dd>'
            for (name, hint), found in zip(ALIKE.items(), measures, strict=True)
            if found is not None
        ]
        return f'<dl class="facts">{"".join(rows)}</dl>'
