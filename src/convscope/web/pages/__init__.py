"""The pages of the workbench: one a file, found by being here; the navigation reads the register."""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convscope.web.page_layout import Place
    from convscope.web.url_state import View

Builder = Callable[["View", "Place"], Awaitable[None]]


@dataclass(frozen=True)
class Page:
    """One page: where it stands, what it is called, and who draws what is between header and foot."""

    path: str
    title: str
    order: int
    build: Builder


PAGES: dict[str, Page] = {}
"""The register, by path."""


def page(path: str, title: str, order: int) -> Callable[[Builder], Builder]:
    """Declare an ``async def build(view, place)`` as the page at ``path``.

    Args:
        path: such as ``/inside``.
        title: what the navigation calls it, in English.
        order: its place in the navigation.
    """

    def declare(build: Builder) -> Builder:
        PAGES[path] = Page(path, title, order, build)
        return build

    return declare


def pages() -> list[Page]:
    """All pages, in the order of the navigation."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return sorted(PAGES.values(), key=lambda one: one.order)
