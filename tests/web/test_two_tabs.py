"""Two tabs or API clients share one job: each can leave, and the job goes on for the other."""

import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from convscope.web.api import API_PREFIX
from tests.web.browsing import Workbench, workbench

pytest.importorskip("nicegui")

LEARNED = "/learned?model=bundled:shapes&lens=activation-maximization&unit=layer2%5B15%5D&p.steps={}"
INSIDE = "/inside?model=bundled:shapes&image=sample:shapes/3&layer=layer2&unit=layer2%5B15%5D"
HERE = "Stopped here; it continues in another tab."


@pytest.fixture(scope="module")
def server() -> Iterator[Workbench]:
    """A workbench that tells which jobs are finished."""
    with workbench() as running_server:
        yield running_server


@pytest.fixture(scope="module")
def address(server: Workbench) -> str:
    """Its address."""
    return server.address


def step(page: Any) -> int:
    """The current step of the drawing on a page."""
    return int(page.locator(".live .asks").inner_text().split()[1])


def test_stopping_a_shared_drawing_stops_it_for_one_tab(visit: Any) -> None:
    first, second = visit(LEARNED.format(4001)), visit(LEARNED.format(4001))
    for page in (first, second):
        page.get_by_role("button", name="Draw", exact=True).click()
        page.wait_for_selector(".live .tile img")
    first.get_by_role("button", name="Stop").click()
    first.get_by_text(HERE).wait_for()
    assert first.get_by_role("button", name="Draw", exact=True).is_enabled()
    before = step(second)
    second.wait_for_function(
        "n => Number(document.querySelector('.live .asks').innerText.split(' ')[1]) > n", arg=before
    )
    second.get_by_role("button", name="Stop").click()
    second.wait_for_selector("article.card")
    assert "stopped after" in second.locator("article.card").inner_text()


def test_closing_a_tab_leaves_a_shared_drawing_running(visit: Any) -> None:
    first, second = visit(LEARNED.format(4002)), visit(LEARNED.format(4002))
    for page in (first, second):
        page.get_by_role("button", name="Draw", exact=True).click()
        page.wait_for_selector(".live .tile img")
    first.close()
    before = step(second)
    second.wait_for_function(
        "n => Number(document.querySelector('.live .asks').innerText.split(' ')[1]) > n", arg=before
    )
    second.get_by_role("button", name="Stop").click()
    second.wait_for_selector("article.card")


def running(address: str) -> list[str]:
    """The unfinished jobs of a server."""
    responses = (httpx.get(f"{address}{API_PREFIX}/jobs/{number}") for number in range(1, 200))
    known = [job.json() for job in itertools.takewhile(lambda job: job.status_code == 200, responses)]
    return [job["id"] for job in known if job["state"] in ("waiting", "running")]


def test_closing_the_last_tab_stops_the_job(visit: Any, server: Workbench) -> None:
    page = visit(LEARNED.format(4003))
    page.get_by_role("button", name="Draw", exact=True).click()
    page.wait_for_selector(".live .tile img")
    (job,) = running(server.address)
    page.close()
    server.wait_for_finished_job(job)
    assert running(server.address) == []


def test_shared_drawing_on_inside(visit: Any) -> None:
    pages = [visit(INSIDE), visit(INSIDE)]
    for page in pages:
        page.get_by_label("Steps").click()
        page.get_by_role("option", name="1024").click()
        page.locator("button.draw").click()
        page.wait_for_selector(".drawing .picture img")
    pages[0].locator("button.cancel").click()
    pages[0].get_by_text(HERE).wait_for()
    pages[0].locator("button.draw").wait_for()
    assert pages[1].locator("button.cancel").is_visible()
    pages[1].locator("button.cancel").click()
    pages[1].locator(".drawing .result").get_by_text("→").wait_for()


def test_two_api_clients_cancel_a_job_independently(client: Any, services: Any) -> None:
    body = {"lens": "activation-maximization", "unit": ["3"], "parameters": {"steps": 4003}}
    first, second = (client.post(f"{API_PREFIX}/run", json=body).json()["id"] for _ in range(2))
    assert first == second
    job = services.jobs.get(first)
    client.delete(f"{API_PREFIX}/jobs/{first}")
    assert not job.stop_requested, "the other waits for it"
    client.delete(f"{API_PREFIX}/jobs/{first}")
    assert job.stop_requested
    client.delete(f"{API_PREFIX}/jobs/{first}")
    assert job.watchers == []


def test_api_client_and_page_share_a_job(client: Any, services: Any) -> None:
    body = {"lens": "activation-maximization", "unit": ["4"], "parameters": {"steps": 4004}}
    job = services.jobs.get(client.post(f"{API_PREFIX}/run", json=body).json()["id"])
    services.jobs.watch(job)
    assert not services.jobs.stop(job), "a page's button takes nothing from a program"
    client.delete(f"{API_PREFIX}/jobs/{job.id}")
    assert services.jobs.stop(job)
    assert job.stop_requested
