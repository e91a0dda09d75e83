"""What a link names that is not here, said at the head of a page in the sentences of Python; the page goes on with
what is."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from nicegui import ui

from convscope.catalogue import find
from convscope.errors import ConvScopeError
from convscope.web.url_state import View

if TYPE_CHECKING:
    from convscope.web.page_layout import Place


def say_what_is_amiss(sentences: Iterable[str]) -> None:
    """Put sentences at the head of a page."""
    if found := list(dict.fromkeys(sentences)):
        with ui.element("div").style("margin-bottom: 12px").props("role=alert"):
            for sentence in found:
                ui.label(sentence).classes("warning")


def wrong_lenses(view: View, fitting: Iterable[str], place: "Place") -> list[str]:
    """Why lenses that a link names are not shown here: there are none such, or they are no lenses of this page."""
    found, known = [], set(fitting)
    for name in filter(None, view.lens.replace("_", "-").split(",")):
        if name not in known:
            missing = refused(find, name)
            found += missing or [place.say("{} is not among the lenses of this page.").format(name)]
    return found


def wrong_names(view: View, place: "Place", *, without: Iterable[str] = ()) -> list[str]:
    """Why models, images and collections that a link names are not shown; ``without`` are said elsewhere."""
    library = place.bench.library
    look_up: dict[str, Callable[[str], Any]] = {
        "model": library.address,
        "image": library.fingerprint,
        "style": library.fingerprint,
        "guide": library.fingerprint,
        "images": library.collection,
    }
    named = [(look_up[name], getattr(view, name)) for name in look_up if name not in without]
    return [sentence for ask, name in named if name for sentence in refused(ask, name)]


def refused(ask: Callable[[str], Any], name: str) -> list[str]:
    """The sentence with which a name is refused; none where it is known."""
    try:
        ask(name)
    except (ConvScopeError, OSError) as error:
        return [str(error)]
    return []
