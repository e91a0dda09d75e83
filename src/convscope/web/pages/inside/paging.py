"""A long list of tiles in pages; the link says which page is open."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from html import escape
from typing import Any, Self

from nicegui import ui

from convscope.web.pages.inside.widgets import error_label

PAGE_SIZE = 256
"""Tiles on a page."""


@dataclass(frozen=True)
class Pager:
    """One page of a list of tiles.

    Attributes:
        requested: the page as the link names it.
        number: the page that is shown, counted from 1: the nearest one that exists.
        total: the number of tiles.
    """

    requested: str
    number: int
    total: int

    @classmethod
    def parse(cls, requested: str, total: int) -> Self:
        """The page that a link names; an empty text stands for the first one."""
        number = int(requested) if requested.isdecimal() and len(requested) < 10 else 1
        return cls(requested or "1", min(max(number, 1), cls("", 1, total).count), total)

    @property
    def count(self) -> int:
        """The number of pages."""
        return max(1, -(-self.total // PAGE_SIZE))

    @property
    def indices(self) -> range:
        """The indices of the page's tiles in the list, counted from 0."""
        return range((self.number - 1) * PAGE_SIZE, min(self.number * PAGE_SIZE, self.total))

    def numbers(self) -> dict[str, str]:
        """The first and the last tile, counted from 1, and the number of all tiles."""
        first, last = min(self.indices.start + 1, self.total), self.indices.stop
        return {"first": f"{first:,}", "last": f"{last:,}", "all": f"{self.total:,}"}

    def draw(self, caption: str, tr: Callable[..., str], turn: Callable[[int, str], Awaitable[Any]]) -> None:
        """Add the caption, and buttons for the previous and next page.

        Args:
            caption: says which tiles are shown.
            turn: called with the number of another page, and the label of the button that was pressed.
        """
        if self.requested != str(self.number):
            message = "There is no page {asked} here. This is page {number} of {count}."
            error_label(tr(message, asked=self.requested[:40], number=self.number, count=self.count))
        with ui.element("div").classes("hand q-mt-sm"):
            ui.label(caption).mark("shown")
            if self.count == 1:
                return
            with ui.element("span").classes("turns"):
                for label, title, number in (
                    ("‹", tr("Previous page"), self.number - 1),
                    ("›", tr("Next page"), self.number + 1),
                ):
                    exists = 1 <= number <= self.count
                    markup = (
                        f'<button class="plain" data-turn="{label}" aria-label="{escape(title)}"'
                        f' title="{escape(title)}"{"" if exists else " disabled"}>{label}</button>'
                    )
                    button = ui.html(markup, sanitize=False)
                    if exists:
                        button.on("click", lambda _, number=number, label=label: turn(number, label))
