"""The application: pages and API on one server."""

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
from fastapi.responses import RedirectResponse, Response
from nicegui import app as pages_app
from nicegui import ui
from starlette.formparsers import MultiPartParser

from convscope import __version__
from convscope.errors import InputError, ParameterError
from convscope.render.slice_viewer import packed_library
from convscope.samples.bundled import NAMES as BUNDLED
from convscope.samples.bundled import sample_of
from convscope.web.api import API_PREFIX, mount_api
from convscope.web.frame.page_layout import LIBRARY_PATH, page_frame
from convscope.web.frame.page_registry import Page, pages
from convscope.web.requests.models_and_images import MAX_UPLOAD, Library
from convscope.web.requests.services import Services
from convscope.web.requests.url_state import View
from convscope.web.server.not_found import not_found_page
from convscope.web.server.security import FORM_OVERHEAD, AccessControl, require_token_unless_local

_OFFERED = {"shapes": 12, "digits": 10, "nodules": 6}
"""How many of some samples are offered; 8 of the others."""
MODELS = tuple(f"bundled:{name}" for name in sorted(BUNDLED, key=lambda name: name != "shapes"))
SAMPLES = tuple(
    f"sample:{name}/{number}"
    for name in dict.fromkeys(sample_of(address.removeprefix("bundled:")) for address in MODELS)
    for number in range(_OFFERED.get(name, 8))
)
"""The models and images that are offered if none are named at start."""


RECONNECT = 8
"""Seconds without a connection after which a tab counts as closed and its jobs stop."""


def build(
    services: Services, *, token: str | None = None, host: str = "127.0.0.1", port: int = 8000, with_pages: bool = True
) -> FastAPI:
    """The application: pages at ``/``, the API at ``/api/v1``, and access control before both.

    Raises:
        ParameterError: other machines could connect without a token.
    """
    require_token_unless_local(host, token)
    application = FastAPI(
        title="ConvScope", version=__version__, docs_url=None, redoc_url=None, openapi_url=f"{API_PREFIX}/openapi.json"
    )
    mount_api(application, services)
    if with_pages:
        mount_pages(application, services)
    application.add_middleware(AccessControl, token=token, host=host, port=port)
    return application


def mount_pages(application: FastAPI, services: Services) -> None:
    """Add all registered pages to the application."""
    pages_app.state.services = services
    MultiPartParser.spool_max_size = MAX_UPLOAD + FORM_OVERHEAD  # uploads stay in memory and are never written to disk
    pages_app.add_exception_handler(404, not_found_page)
    for page in pages():
        _mount(page)

    def first(request: Request) -> RedirectResponse:
        return RedirectResponse(f"{pages()[0].path}?{request.url.query}".removesuffix("?"))

    def slice_viewer_library() -> Response:
        headers = {"content-encoding": "gzip", "cache-control": "public, max-age=86400"}
        return Response(packed_library(), media_type="text/javascript", headers=headers)

    application.add_api_route("/", first, include_in_schema=False)
    application.add_api_route(LIBRARY_PATH, slice_viewer_library, include_in_schema=False)
    ui.run_with(
        application,
        title="ConvScope",
        show_welcome_message=False,
        reconnect_timeout=RECONNECT,
        binding_refresh_interval=0.5,
        tailwind=False,  # pages use none of its classes; its compiler takes a fifth of the time in which a page opens
    )


def serve(
    models: Sequence[str] = (),
    folders: Sequence[str | Path] = (),
    *,
    logs: Sequence[str | Path] = (),
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    allow_load: bool = False,
    ready: Callable[[str], object] = lambda address: None,
) -> None:
    """Serve the workbench until Ctrl-C. All models are loaded first, so that a wrong name fails at once.

    Args:
        models: addresses of models to offer; the bundled ones by default.
        folders: folders whose images are offered, besides the bundled ones.
        logs: log directories of trainings, which may still be running.
        host: the address to listen at; one that other machines can reach needs a token.
        token: the access token that browsers and programs must send.
        allow_load: whether models may be opened that were not named here.
        ready: called with the address to open once the server listens.

    Raises:
        ConvScopeError: a model, a folder or a log cannot be opened, the port is taken, or a token is missing.
    """
    require_token_unless_local(host, token)
    library = Library(models or MODELS, folders, SAMPLES, allow_load=allow_load)
    services = Services(library, logs=log_folders(logs))
    try:
        with _listen(host, port) as listening_socket:
            for name in services.library.addresses:
                services.library.model(name)
            application = build(services, token=token, host=host, port=port)
            _silence_warnings()
            address = f"http://{host}:{port}/" + (f"?{urlencode({'token': token})}" if token else "")
            config = uvicorn.Config(application, host=host, port=port, log_level="warning", ws_max_size=2**22)
            _Server(config, lambda: ready(address)).run([listening_socket])
    finally:
        services.jobs.close()


def log_folders(logs: Sequence[str | Path]) -> tuple[Path, ...]:
    """The log directories.

    Raises:
        InputError: there is no such folder.
    """
    folders = tuple(Path(log).expanduser().resolve() for log in logs)
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"there is no folder {str(folder)!r}: name the log directory of a training")
    return folders


def _silence_warnings() -> None:
    """Silence warnings about uploaded files and about NiceGUI's inspection of objects."""
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "`torch.distributed.reduce_op`")  # it inspects every object


class _Server(uvicorn.Server):
    """A server that calls ``ready`` once it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if self.started:
            gc.collect()
            gc.freeze()  # imported modules stay: without this, each collection would scan them and delay requests
            self._ready()


def _listen(host: str, port: int) -> socket.socket:
    """The socket to listen at.

    Raises:
        ParameterError: the port is taken, or the host is no address of this machine.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.args[-1]
        raise ParameterError(f"cannot listen at {host}:{port}: {why} (try another --port)") from error


def _mount(page: Page) -> None:
    async def show_page(request: Request) -> None:
        view = View.parse(request.url.query)
        with page_frame(page.title, view) as context:
            await page.build(view, context)

    ui.page(page.path, response_timeout=30)(show_page)
