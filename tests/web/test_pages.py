"""Every page with a simulated user, in both languages, with valid and broken links."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from nicegui import app as pages_app
from nicegui.testing import User, user_simulation

from convscope.web.frame.page_layout import LANG
from convscope.web.frame.page_registry import pages
from convscope.web.i18n import translate
from convscope.web.jobs.workers import JobManager
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.services import Services
from convscope.web.server.app import MODELS, SAMPLES, _mount

PATHS = [page.path for page in pages()]
OF_NETWORKS = [path for path in PATHS if path != "/training"]
"""The pages that open the network and the input of a link; the other follows logs."""


def meet(visit: Callable[[User], Awaitable[None]]) -> None:
    """Run a visit of a simulated user to a workbench with the bundled networks."""
    services = Services(Library(MODELS, [], SAMPLES), JobManager())
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "convscope"}

    async def simulated() -> None:
        async with user_simulation() as user:
            pages_app.state.services = services
            for page in pages():
                _mount(page)
            await visit(user)

    try:
        with ThreadPoolExecutor(1) as own:  # this thread may hold the loop of a browser
            own.submit(lambda: asyncio.run(simulated())).result()
    finally:
        services.jobs.close()
        sys.modules.update(modules)  # NiceGUI takes out the packages of pages, which other tests go on with


@pytest.mark.parametrize("path", PATHS)
def test_every_page_links_to_all_others(path: str) -> None:
    async def visit(user: User) -> None:
        await user.open(path)
        for page in pages():
            await user.should_see(page.title)

    meet(visit)


def test_simulated_visit_leaves_the_imported_modules_in_place() -> None:
    before = {name: module for name, module in sys.modules.items() if name.startswith("convscope")}

    async def visit(user: User) -> None:
        await user.open(PATHS[0])

    meet(visit)
    assert {name: sys.modules.get(name) for name in before} == before


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_chinese_if_requested(path: str) -> None:
    async def visit(user: User) -> None:
        user.http_client.cookies.set(LANG, "zh")
        await user.open(path)
        for page in pages():
            assert translate(page.title, "zh") != page.title
            await user.should_see(translate(page.title, "zh"))

    meet(visit)


@pytest.mark.parametrize("path", OF_NETWORKS)
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("model=bundled:nothing", "no model 'bundled:nothing' here"),
        ("model=bundled:shapes&image=folder:0/../../etc/passwd", "no image 'folder:0/../../etc/passwd' here"),
    ],
)
def test_broken_link_is_reported_on_the_page(path: str, query: str, message: str) -> None:
    async def visit(user: User) -> None:
        await user.open(f"{path}?{query}")
        await user.should_see(pages()[0].title)
        await user.should_see(message, retries=600)

    meet(visit)


@pytest.mark.parametrize("loaded", ["https://example.com/picture.png", "http://192.0.2.1/picture.png"])
def test_loading_something_from_elsewhere_is_an_error_in_the_console(browser: Any, loaded: str) -> None:
    """By this the pages are known to load nothing from elsewhere: the browser of the tests finds no other host."""
    page = browser.new_page()
    with page.expect_console_message(lambda message: message.type == "error") as error:
        page.set_content(f'<img src="{loaded}">')
    assert "ERR_NAME_NOT_RESOLVED" in error.value.text
    page.close()
