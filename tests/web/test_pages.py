"""Every page as a simulated person meets it: without a browser, in either language, on whole and on broken links."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from nicegui import app as pages_app
from nicegui.testing import User, user_simulation

from convscope.web.app import MODELS, SAMPLES, _mount
from convscope.web.assets import Library
from convscope.web.i18n import say
from convscope.web.jobs.workers import Jobs
from convscope.web.page_layout import LANG
from convscope.web.pages import pages
from convscope.web.services import Bench

PATHS = [page.path for page in pages()]


def meet(visit: Callable[[User], Awaitable[None]]) -> None:
    """Have somebody visit the workbench of the bundled networks."""
    bench = Bench(Library(MODELS, [], SAMPLES), Jobs())

    async def simulated() -> None:
        async with user_simulation() as user:
            pages_app.state.bench = bench
            for page in pages():
                _mount(page)
            await visit(user)

    try:
        with ThreadPoolExecutor(1) as own:  # this thread may hold the loop of a browser
            own.submit(lambda: asyncio.run(simulated())).result()
    finally:
        bench.jobs.close()


@pytest.mark.parametrize("path", PATHS)
def test_every_page_opens_with_the_way_to_all_others(path: str) -> None:
    async def visit(user: User) -> None:
        await user.open(path)
        for page in pages():
            await user.should_see(page.title)

    meet(visit)


@pytest.mark.parametrize("path", PATHS)
def test_every_page_speaks_chinese_to_who_asks_for_it(path: str) -> None:
    async def visit(user: User) -> None:
        user.http_client.cookies.set(LANG, "zh")
        await user.open(path)
        for page in pages():
            assert say(page.title, "zh") != page.title
            await user.should_see(say(page.title, "zh"))

    meet(visit)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("model=bundled:nothing", "no model 'bundled:nothing' here"),
        ("model=bundled:shapes&image=folder:0/../../etc/passwd", "no image 'folder:0/../../etc/passwd' here"),
    ],
)
def test_a_broken_link_is_told_on_the_page_in_one_sentence(path: str, query: str, said: str) -> None:
    async def visit(user: User) -> None:
        await user.open(f"{path}?{query}")
        await user.should_see(pages()[0].title)
        await user.should_see(said, retries=30)

    meet(visit)
