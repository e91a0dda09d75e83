"""Inside: the network as a graph, beside it what a module computes, and beside that one of its units."""

from convscope.web.inside.explorer import Explorer
from convscope.web.page_layout import Place
from convscope.web.pages import page
from convscope.web.url_state import View


@page("/inside", "Inside", order=2)
async def build(view: View, place: Place) -> None:
    """Draw the page at the place that the link names."""
    await Explorer(place, view).open()
