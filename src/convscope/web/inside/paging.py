"""A long row of tiles in pages: every tile is on one of them, and the link says which one is open."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

from nicegui import ui

from convscope.web.inside.pieces import quoted, trouble

SIZE = 256
"""So many tiles are on a page."""


@dataclass(frozen=True)
class Pager:
    """One page of so many tiles.

    Attributes:
        asked: the page as the link names it.
        number: the page that is shown, counted from 1: the nearest one that there is.
    """

    asked: str
    number: int
    total: int

    @classmethod
    def read(cls, asked: str, total: int) -> Self:
        """The page that a link names; an empty text names the first one."""
        wanted = int(asked) if asked.isdecimal() and len(asked) < 10 else 1
        return cls(asked or "1", min(max(wanted, 1), cls("", 1, total).count), total)

    @property
    def count(self) -> int:
        """How many pages there are."""
        return max(1, -(-self.total // SIZE))

    @property
    def places(self) -> range:
        """The places of its tiles in the whole row, counted from 0."""
        return range((self.number - 1) * SIZE, min(self.number * SIZE, self.total))

    def numbers(self) -> dict[str, str]:
        """The first and the last tile and how many there are, as people count."""
        first, last = min(self.places.start + 1, self.total), self.places.stop
        return {"first": f"{first:,}", "last": f"{last:,}", "all": f"{self.total:,}"}

    def draw(self, told: str, say: Callable[..., str], turn: Callable[[int, str], Awaitable[Any]]) -> None:
        """Say which tiles are shown, and offer the pages before and after.

        Args:
            told: the sentence that says it.
            turn: told the number of another page, and the sign of the button that was pressed.
        """
        if self.asked != str(self.number):
            words = "There is no page {asked} here. This is page {number} of {count}."
            trouble(say(words, asked=self.asked[:40], number=self.number, count=self.count))
        with ui.element("div").classes("hand q-mt-sm"):
            ui.label(told).mark("shown")
            if self.count == 1:
                return
            for label, words, number in (
                ("‹", say("Previous page"), self.number - 1),
                ("›", say("Next page"), self.number + 1),
            ):
                there = 1 <= number <= self.count
                button = (
                    f'<button class="plain" data-turn="{label}" aria-label="{quoted(words)}" title="{quoted(words)}"'
                    f"{'' if there else ' disabled'}>{label}</button>"
                )
                made = ui.html(button, sanitize=False)
                if there:
                    made.on("click", lambda _, number=number, label=label: turn(number, label))
