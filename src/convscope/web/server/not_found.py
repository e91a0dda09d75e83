"""The answer at an unknown address: a page with links for browsers, a JSON error for programs."""

from html import escape

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from nicegui import Client, ui
from nicegui.page import page

from convscope.web.frame.page_context import shared_view
from convscope.web.frame.page_layout import page_frame
from convscope.web.frame.page_registry import pages
from convscope.web.requests.url_state import View


async def not_found_page(request: Request, _error: Exception) -> Response:
    """The response with status 404."""
    path = request.url.path
    if request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": f"there is nothing at {path!r}"}, 404)
    view = View.parse(request.url.query)
    with Client(page(""), request=request) as client, page_frame("No such page", view) as context:
        ui.html(f'<h1 class="page-title">{escape(context.tr("No such page"))}</h1>', sanitize=False)
        with ui.element("div").classes("empty"):
            ui.label(context.tr("There is no page at {}.").format(path[:200])).classes("warning")
            ui.label(context.tr("These pages exist:"))
            with ui.element("div").classes("chips"):
                for target in pages():
                    ui.link(context.tr(target.title), context.link(shared_view(view), target.path)).classes("chip")
    return client.build_response(request, 404)
