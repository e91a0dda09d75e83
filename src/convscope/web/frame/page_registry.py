"""The pages of the workbench, which the folders of ``convscope.web.pages`` register; the navigation lists them."""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files

from convscope.spec import LensSpec
from convscope.web.frame.page_context import PageContext
from convscope.web.requests.url_state import View

Builder = Callable[[View, PageContext], Awaitable[None]]


def no_lens(spec: LensSpec) -> bool:
    """Shows no lens of its own: links to lenses lead to other pages."""
    return False


def lens_in_link(view: View, spec: LensSpec) -> View:
    """The view in a link to a page that shows any lens by its name."""
    return view.replace(lens=spec.command)


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        path: such as ``/inside``.
        title: its title in the navigation, in English.
        order: its position in the navigation.
        build: builds its content.
        shows: whether links to a lens lead to this page.
        link_view: how a view of such a lens is written in a link to this page.
    """

    path: str
    title: str
    order: int
    build: Builder
    shows: Callable[[LensSpec], bool] = no_lens
    link_view: Callable[[View, LensSpec], View] = lens_in_link


PAGES: dict[str, Page] = {}
"""All registered pages, by path."""


def page(
    path: str,
    title: str,
    order: int,
    *,
    shows: Callable[[LensSpec], bool] = no_lens,
    link_view: Callable[[View, LensSpec], View] = lens_in_link,
) -> Callable[[Builder], Builder]:
    """Register an ``async def build(view, context)`` as the page at ``path``; the arguments are those of `Page`."""

    def register(build: Builder) -> Builder:
        PAGES[path] = Page(path, title, order, build, shows, link_view)
        return build

    return register


def pages() -> list[Page]:
    """All pages, in the order of the navigation."""
    package = "convscope.web.pages"
    for module in pkgutil.iter_modules([str(files(package))]):
        importlib.import_module(f"{package}.{module.name}.page")
    return sorted(PAGES.values(), key=lambda page: page.order)
