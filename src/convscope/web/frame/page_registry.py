"""The pages of the workbench, which the folders of ``convscope.web.pages`` register; the navigation lists them."""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files

from convscope.web.frame.page_context import PageContext
from convscope.web.requests.url_state import View

Builder = Callable[[View, PageContext], Awaitable[None]]


@dataclass(frozen=True)
class Page:
    """One page: its path, its title, its position in the navigation, and the function that builds its content."""

    path: str
    title: str
    order: int
    build: Builder


PAGES: dict[str, Page] = {}
"""All registered pages, by path."""


def page(path: str, title: str, order: int) -> Callable[[Builder], Builder]:
    """Register an ``async def build(view, context)`` as the page at ``path``.

    Args:
        path: such as ``/inside``.
        title: its title in the navigation, in English.
        order: its position in the navigation.
    """

    def register(build: Builder) -> Builder:
        PAGES[path] = Page(path, title, order, build)
        return build

    return register


def pages() -> list[Page]:
    """All pages, in the order of the navigation."""
    package = "convscope.web.pages"
    for module in pkgutil.iter_modules([str(files(package))]):
        importlib.import_module(f"{package}.{module.name}.page")
    return sorted(PAGES.values(), key=lambda page: page.order)
