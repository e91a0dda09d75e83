"""What is said at an address where there is nothing: a page with the way on for people, a sentence for programs."""

from html import escape

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from nicegui import Client, ui
from nicegui.page import page

from convscope.web.page_layout import carried, frame
from convscope.web.pages import pages
from convscope.web.url_state import View


async def nowhere(request: Request, _error: Exception) -> Response:
    """The answer to whoever asks for what is not there."""
    path = request.url.path
    if request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": f"there is nothing at {path!r}"}, 404)
    view = View.read(request.url.query)
    with Client(page(""), request=request) as client, frame("No such page", view) as place:
        ui.html(f'<h1 class="page-title">{escape(place.say("No such page"))}</h1>', sanitize=False)
        with ui.element("div").classes("empty"):
            ui.label(place.say("There is nothing at {}.").format(path[:200])).classes("warning")
            ui.label(place.say("Go on to one of these pages:"))
            with ui.element("div").classes("chips"):
                for one in pages():
                    ui.link(place.say(one.title), place.link(carried(view), one.path)).classes("chip")
    return client.build_response(request, 404)
