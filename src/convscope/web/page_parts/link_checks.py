"""Checks of the names in a link; problems are shown at the top of the page, which goes on with the valid ones."""

from collections.abc import Callable, Iterable
from typing import Any

from nicegui import ui

from convscope.catalogue import find
from convscope.errors import ConvScopeError
from convscope.spec import INPUT_KINDS
from convscope.web.frame.page_context import PageContext
from convscope.web.requests.url_state import View


def show_link_problems(sentences: Iterable[str]) -> None:
    """Show messages at the top of a page."""
    if unique := list(dict.fromkeys(sentences)):
        with ui.element("div").style("margin-bottom: 12px").props("role=alert"):
            for sentence in unique:
                ui.label(sentence).classes("warning")


def lens_problems(view: View, fitting: Iterable[str], context: PageContext) -> list[str]:
    """Why lenses in a link are not shown here: they are unknown, or belong to another page."""
    problems, allowed = [], set(fitting)
    for name in filter(None, view.lens.replace("_", "-").split(",")):
        if name not in allowed:
            missing = lookup_error(find, name)
            problems += missing or [context.tr("The lens {} is not on this page.").format(name)]
    return problems


def name_problems(view: View, context: PageContext, *, without: Iterable[str] = ()) -> list[str]:
    """Why models, images and collections in a link are not shown; contents in ``without`` are checked elsewhere."""
    library = context.services.library
    lookups: dict[str, Callable[[str], Any]] = {
        "network": library.address,
        "image": library.fingerprint,
        "second image": library.fingerprint,
        "data set": library.collection,
    }
    kinds = [kind for kind in INPUT_KINDS.values() if kind.content in lookups and kind.content not in without]
    named = [(lookups[kind.content], view.input(kind.name)) for kind in kinds]
    return [message for lookup, name in named if name for message in lookup_error(lookup, name)]


def lookup_error(lookup: Callable[[str], Any], name: str) -> list[str]:
    """The error of looking up a name, as a list of one message; empty if it is known."""
    try:
        lookup(name)
    except (ConvScopeError, OSError) as error:
        return [str(error)]
    return []
