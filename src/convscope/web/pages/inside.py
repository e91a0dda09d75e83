"""Inside: the network as a graph, beside it the outputs of one layer, and beside that one unit of the layer."""

from convscope.web.inside.explorer import Explorer
from convscope.web.page_context import PageContext
from convscope.web.page_registry import page
from convscope.web.url_state import View


@page("/inside", "Inside", order=2)
async def build(view: View, context: PageContext) -> None:
    """Build the page for the layer and unit in the link."""
    await Explorer(context, view).open()
