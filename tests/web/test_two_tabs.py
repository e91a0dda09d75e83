"""Two tabs, or two programs, on one piece of work: whoever has enough leaves, and it goes on for the other."""

import itertools
from typing import Any

import httpx
import pytest

from convscope.web.api import AT
from tests.patience import wait_until
from tests.web.browsing import address, visit  # noqa: F401

pytest.importorskip("nicegui")

LEARNED = "/learned?model=bundled:shapes&lens=activation-maximization&unit=layer2%5B15%5D&p.steps={}"
INSIDE = "/inside?model=bundled:shapes&image=sample:shapes/3&layer=layer2&unit=layer2%5B15%5D"
HERE = "Stopped here; in another tab it goes on."


def step(page: Any) -> int:
    """The step that a picture being drawn has reached."""
    return int(page.locator(".live .asks").inner_text().split()[1])


def test_a_picture_that_two_tabs_watch_stops_for_the_one_that_stops_it(visit: Any) -> None:  # noqa: F811
    one, other = visit(LEARNED.format(4001)), visit(LEARNED.format(4001))
    for page in (one, other):
        page.get_by_role("button", name="Draw", exact=True).click()
        page.wait_for_selector(".live .tile img")
    one.get_by_role("button", name="Stop").click()
    one.get_by_text(HERE).wait_for()
    assert one.get_by_role("button", name="Draw", exact=True).is_enabled()
    before = step(other)
    other.wait_for_function(
        "n => Number(document.querySelector('.live .asks').innerText.split(' ')[1]) > n", arg=before
    )
    other.get_by_role("button", name="Stop").click()
    other.wait_for_selector("article.card")
    assert "stopped after" in other.locator("article.card").inner_text()


def test_a_tab_that_closes_leaves_the_other_its_picture(visit: Any) -> None:  # noqa: F811
    one, other = visit(LEARNED.format(4002)), visit(LEARNED.format(4002))
    for page in (one, other):
        page.get_by_role("button", name="Draw", exact=True).click()
        page.wait_for_selector(".live .tile img")
    one.context.close()
    before = step(other)
    other.wait_for_function(
        "n => Number(document.querySelector('.live .asks').innerText.split(' ')[1]) > n", arg=before
    )
    other.get_by_role("button", name="Stop").click()
    other.wait_for_selector("article.card")


def running(address: str) -> list[str]:  # noqa: F811
    """The jobs of a server that are not over."""
    told = (httpx.get(f"{address}{AT}/jobs/{number}") for number in range(1, 200))
    known = [one.json() for one in itertools.takewhile(lambda one: one.status_code == 200, told)]
    return [one["id"] for one in known if one["state"] in ("waiting", "running")]


def test_a_tab_that_closes_stops_its_work(visit: Any, address: str) -> None:  # noqa: F811
    page = visit(LEARNED.format(4003))
    page.get_by_role("button", name="Draw", exact=True).click()
    page.wait_for_selector(".live .tile img")
    assert running(address)
    page.context.close()
    wait_until(lambda: not running(address))


def test_the_same_holds_inside(visit: Any) -> None:  # noqa: F811
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


def test_two_programs_that_wait_for_one_job_each_give_it_up_for_themselves(client: Any, bench: Any) -> None:
    asked = {"lens": "activation-maximization", "unit": ["3"], "parameters": {"steps": 4003}}
    first, second = (client.post(f"{AT}/run", json=asked).json()["id"] for _ in range(2))
    assert first == second
    job = bench.jobs.get(first)
    client.delete(f"{AT}/jobs/{first}")
    assert not job.stopping, "the other waits for it"
    client.delete(f"{AT}/jobs/{first}")
    assert job.stopping
    client.delete(f"{AT}/jobs/{first}")
    assert job.watchers == 0


def test_a_program_and_a_page_too(client: Any, bench: Any) -> None:
    asked = {"lens": "activation-maximization", "unit": ["4"], "parameters": {"steps": 4004}}
    job = bench.jobs.get(client.post(f"{AT}/run", json=asked).json()["id"])
    bench.jobs.watch(job)
    assert not bench.jobs.stop(job), "a page's button takes nothing from a program"
    client.delete(f"{AT}/jobs/{job.id}")
    assert bench.jobs.stop(job)
    assert job.stopping
