"""The workbench put together: pages and API on one server."""

import gc
import logging
import os
import socket
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlencode

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse
from nicegui import app as pages_app
from nicegui import ui
from starlette.formparsers import MultiPartParser

from convscope import __version__
from convscope.errors import ParameterError
from convscope.web.api import AT, mount_api
from convscope.web.assets import MAX_UPLOAD, Library
from convscope.web.not_found import nowhere
from convscope.web.page_layout import frame
from convscope.web.pages import Page, pages
from convscope.web.security import AROUND, Access, refuse_open_door
from convscope.web.services import Bench
from convscope.web.url_state import View

MODELS = ("bundled:shapes", "bundled:digits")
SAMPLES = (*(f"sample:shapes/{n}" for n in range(12)), *(f"sample:digits/{n}" for n in range(10)))
"""What is shown where nothing is named at start."""


RECONNECT = 8
"""Seconds after which a tab that went away counts as closed, and its work is stopped."""


def build(
    bench: Bench, *, token: str | None = None, host: str = "127.0.0.1", port: int = 8000, with_pages: bool = True
) -> FastAPI:
    """The application: pages at ``/``, the API at ``/api/v1``, and the door before both.

    Raises:
        ParameterError: other machines could come in without a token.
    """
    refuse_open_door(host, token)
    made = FastAPI(
        title="ConvScope", version=__version__, docs_url=None, redoc_url=None, openapi_url=f"{AT}/openapi.json"
    )
    mount_api(made, bench)
    if with_pages:
        mount_pages(made, bench)
    made.add_middleware(Access, token=token, host=host, port=port)
    return made


def mount_pages(made: FastAPI, bench: Bench) -> None:
    """Put every page of the register on the application."""
    pages_app.state.bench = bench
    MultiPartParser.spool_max_size = MAX_UPLOAD + AROUND  # an upload stays in memory, whole, and reaches no disk
    pages_app.add_exception_handler(404, nowhere)
    for page in pages():
        _mount(page)

    def first(request: Request) -> RedirectResponse:
        return RedirectResponse(f"{pages()[0].path}?{request.url.query}".removesuffix("?"))

    made.add_api_route("/", first, include_in_schema=False)
    ui.run_with(
        made, title="ConvScope", show_welcome_message=False, reconnect_timeout=RECONNECT, binding_refresh_interval=0.5
    )


def serve(
    models: Sequence[str] = (),
    folders: Sequence[str | Path] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    allow_load: bool = False,
    ready: Callable[[str], object] = lambda address: None,
) -> None:
    """Serve the workbench until Ctrl-C. Every model is opened before, so that a wrong name is known at once.

    Args:
        models: addresses of models to offer; the bundled ones by default.
        folders: folders whose images are offered, besides the bundled ones.
        host: where to listen; another than this machine's own needs a token.
        token: what a browser or a program must show to come in.
        allow_load: whether models may be opened that were not named here.
        ready: called with the address to open once the server listens.

    Raises:
        ConvScopeError: a model or a folder cannot be opened, the port is taken, or the door would stand open.
    """
    refuse_open_door(host, token)
    bench = Bench(Library(models or MODELS, folders, SAMPLES, allow_load=allow_load))
    try:
        with _listening(host, port) as listening:
            for name in bench.library.addresses:
                bench.library.model(name)
            made = build(bench, token=token, host=host, port=port)
            _quiet()
            address = f"http://{host}:{port}/" + (f"?{urlencode({'token': token})}" if token else "")
            _server(made, host, port, lambda: ready(address)).run([listening])
    finally:
        bench.jobs.close()


def _quiet() -> None:
    """What is odd about somebody's file, or about what NiceGUI looks at, is no news of the server's."""
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "`torch.distributed.reduce_op`")  # it looks at every object there is


def _server(made: FastAPI, host: str, port: int, ready: Callable[[], object]) -> uvicorn.Server:
    """The server, which says when it is ready."""
    server = uvicorn.Server(uvicorn.Config(made, host=host, port=port, log_level="warning", ws_max_size=2**22))
    begin = server.startup

    async def startup(sockets: list[socket.socket] | None = None) -> None:
        await begin(sockets)
        if server.started:
            gc.collect()
            gc.freeze()  # what was imported stays: to look through it again and again would hold up every request
            ready()

    server.startup = startup
    return server


def _listening(host: str, port: int) -> socket.socket:
    """The socket to listen at.

    Raises:
        ParameterError: it is taken, or no address of this machine.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.args[-1]
        raise ParameterError(f"cannot listen at {host}:{port}: {why} (try another --port)") from error


def _mount(page: Page) -> None:
    async def shown(request: Request) -> None:
        view = View.read(request.url.query)
        with frame(page.title, view) as place:
            await page.build(view, place)

    ui.page(page.path, response_timeout=30)(shown)
