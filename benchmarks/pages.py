"""The workbench under a person's hands: how long a headless browser waits for what it clicks on.

Times are told in shares of what a person may be made to wait, because that is what they are held to.
"""

import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from benchmarks.measure import Row, said
from benchmarks.web import served

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
FIRST_PAINT, GRAD_CAM, FEATURE_MAPS, RESPONSE = 1.5, 0.3, 0.5, 0.1
"""Seconds that a person may be made to wait."""
MODEL = "model=bundled:shapes"

WAITED = """async ([click, now, changed]) => {
    const see = new Function('return ' + now), before = see();
    const over = new Function('now', 'before', 'return ' + changed);
    const began = performance.now();
    document.querySelector(click).dispatchEvent(new MouseEvent('click', {bubbles: true}));
    while (!over(see(), before)) {
        if (performance.now() - began > 30000) throw new Error('nothing came of a click on ' + click);
        await new Promise((ready) => requestAnimationFrame(ready));
    }
    return (performance.now() - began) / 1000;
}"""
"""Click, and look at every frame whether what is shown has changed; the seconds until it had."""


def pages(rounds: int) -> list[Row]:
    """First paint, Grad-CAM and feature maps after a click, and any click while a picture is drawn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        found = {
            ("First paint of the first page of a fresh server", FIRST_PAINT): [
                _first_paint(browser) for _ in range(max(3, rounds // 3))
            ]
        }
        with served() as (address, _):
            found[("Grad-CAM of another image after a click", GRAD_CAM)] = _grad_cam(browser, address)
            found[("Feature maps of another layer after a click", FEATURE_MAPS)] = _feature_maps(browser, address)
            found[("A click beside the drawing in its own tab", RESPONSE)] = _beside_a_drawing(browser, address)
            with _busy(address):
                found[("A click on Look while a picture is drawn", RESPONSE)] = _opened_and_closed(browser, address)
                found[("Grad-CAM after a click while a picture is drawn", GRAD_CAM)] = _grad_cam(browser, address, 0)
        browser.close()
    return said([_row(what, seconds, limit) for (what, limit), seconds in found.items()])


def _row(what: str, seconds: list[float], limit: float) -> Row:
    """The middle of all waits, and the longest, in shares of the limit."""
    shares = [one / limit for one in seconds]
    told = f"{statistics.median(shares):.2f} (longest of {len(shares)}: {max(shares):.2f})"
    return (f"Workbench: {what}, in {limit:g} s", "ConvScope", told, "≤ 1")


def _first_paint(browser: Any) -> float:
    with served() as (address, _):
        page = _opened(browser, f"{address}/look?{MODEL}&image=sample:shapes/3")
        paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        page.wait_for_function(paint)
        seconds = page.evaluate(paint) / 1000
        page.context.close()
    return float(seconds)


def _grad_cam(browser: Any, address: str, first: int = 6) -> list[float]:
    """Each image is looked at for the first time: six of them calm, six while another tab draws."""
    page = _opened(browser, f"{address}/look?{MODEL}&image=sample:shapes/{first + 5}&lens=grad-cam")
    page.wait_for_selector(".card img.heat")
    page.wait_for_selector(".thumb >> nth=11")
    page.wait_for_timeout(1000)
    heat = "document.querySelector('.card:not(.busy) .picture:not(.busy) img.heat')?.src"
    found = [
        _wait(page, f'.thumb[title="sample:shapes/{number}"]', heat, "now && now !== before")
        for number in range(first, first + 5)
    ]
    page.context.close()
    return found


def _feature_maps(browser: Any, address: str) -> list[float]:
    """Every node of the graph in turn that is a layer or a block, as the page first shows it."""
    page = _opened(browser, f"{address}/inside?{MODEL}&image=sample:shapes/3&layer=layer1.0.conv1")
    page.wait_for_selector(".maps img")
    page.wait_for_timeout(1000)
    nodes = page.locator(".graph [data-node]:not(.chosen)").evaluate_all("(all) => all.map((one) => one.dataset.node)")
    maps = "document.querySelector('.maps img') && document.querySelector('.maps').dataset.layer"
    found = [_wait(page, f'.graph [data-node="{node}"]', maps, "now && now !== before") for node in nodes]
    page.context.close()
    return found


def _beside_a_drawing(browser: Any, address: str) -> list[float]:
    """Blocks of the graph opened and folded while the page shows how a unit's picture comes about."""
    page = _opened(browser, f"{address}/inside?{MODEL}&image=sample:shapes/3&layer=layer3&unit=layer3[5]")
    page.wait_for_selector(".draw")
    page.locator(".unit .q-select", has_text="Steps").click()
    page.get_by_role("option", name="1024").click()
    page.locator(".draw").click()
    page.wait_for_selector(".drawing img")
    nodes = "document.querySelectorAll('.graph [data-node]').length"
    found = [_wait(page, f".graph [data-{what}]", nodes, "now !== before") for what in ("open", "fold") * 8]
    assert page.locator(".cancel").is_visible(), "the drawing was to outlast what was measured"
    page.locator(".cancel").click()
    page.context.close()
    return found


@contextmanager
def _busy(address: str) -> Iterator[None]:
    """One drawing after the other, until what is measured meanwhile has been."""
    asked = [{"lens": "activation-maximization", "unit": [str(n)], "parameters": {"steps": 2048}} for n in range(9)]
    with httpx.Client(base_url=f"{address}/api/v1") as client:
        jobs = [client.post("/run", json=one).json()["id"] for one in asked]
        yield
        states = [client.get(f"/jobs/{job}").json()["state"] for job in jobs]
        assert "running" in states, "the drawings were to outlast what was measured"
        for job in jobs:
            client.delete(f"/jobs/{job}")


def _opened_and_closed(browser: Any, address: str) -> list[float]:
    page = _opened(browser, f"{address}/look?{MODEL}&image=sample:shapes/3&lens=grad-cam")
    page.wait_for_selector(".card img.heat")
    page.wait_for_timeout(1000)
    page.evaluate("document.querySelector('button[aria-expanded]').id = 'list'")
    found = [_wait(page, "#list", "document.querySelector('#list').ariaExpanded", "now !== before") for _ in range(20)]
    page.context.close()
    return found


def _opened(browser: Any, link: str) -> Any:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(link)
    return page


def _wait(page: Any, click: str, now: str, changed: str) -> float:
    """Seconds from a click until an expression of the page (``now``) has ``changed`` from what it was."""
    seconds = page.evaluate(WAITED, [click, now, changed])
    page.wait_for_timeout(300)
    return float(seconds)
