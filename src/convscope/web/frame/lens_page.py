"""Which page shows a view, so that a link from the API opens the same result in the workbench."""

from convscope.catalogue import find
from convscope.spec import LensSpec
from convscope.web.frame.page_registry import Page, pages
from convscope.web.requests.url_state import View


def page_of(spec: LensSpec) -> Page:
    """The page that shows a lens: the one that declares it, otherwise the first page of the navigation."""
    registered = pages()
    return next((page for page in registered if page.shows(spec)), registered[0])


def page_link(view: View) -> str:
    """The link to the page that shows a view.

    Raises:
        UnknownName: there is no such lens.
    """
    spec = find(view.lens)
    page = page_of(spec)
    return f"{page.path}?{page.link_view(view, spec).query()}"
