"""Response times of the workbench, measured by clicks in a headless browser, relative to their limits."""

import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from benchmarks.measure import Row, report
from benchmarks.web import served

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
FIRST_PAINT, GRAD_CAM, FEATURE_MAPS, RESPONSE = 1.5, 0.3, 0.5, 0.1
"""Limits in seconds."""
MODEL = "model=bundled:shapes"

WAIT_FOR_CHANGE = """async ([click, now, changed]) => {
    const see = new Function('return ' + now), before = see();
    const over = new Function('now', 'before', 'return ' + changed);
    const began = performance.now();
    document.querySelector(click).dispatchEvent(new MouseEvent('click', {bubbles: true}));
    while (!over(see(), before)) {
        if (performance.now() - began > 30000) throw new Error('no response to a click on ' + click);
        await new Promise((ready) => requestAnimationFrame(ready));
    }
    return (performance.now() - began) / 1000;
}"""
"""Click, check at every frame whether the displayed value has changed, and return the seconds until it has."""


def pages(rounds: int) -> list[Row]:
    """First paint, Grad-CAM and feature maps after a click, and clicks while an optimization is running."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        times = {
            ("First paint of the first page of a fresh server", FIRST_PAINT): [
                _first_paint(browser) for _ in range(max(3, rounds // 3))
            ]
        }
        with served() as (address, _):
            times[("Grad-CAM of another image after a click", GRAD_CAM)] = _grad_cam(browser, address)
            times[("Feature maps of another layer after a click", FEATURE_MAPS)] = _feature_maps(browser, address)
            times[("A click beside the drawing in its own tab", RESPONSE)] = _during_optimization(browser, address)
            with _running_jobs(address):
                times[("A click on Look while a picture is drawn", RESPONSE)] = _toggle_list(browser, address)
                times[("Grad-CAM after a click while a picture is drawn", GRAD_CAM)] = _grad_cam(browser, address, 0)
        browser.close()
    return report([_row(title, seconds, limit) for (title, limit), seconds in times.items()])


def _row(title: str, seconds: list[float], limit: float) -> Row:
    """The median and the longest time, relative to the limit."""
    shares = [time / limit for time in seconds]
    text = f"{statistics.median(shares):.2f} (longest of {len(shares)}: {max(shares):.2f})"
    return (f"Workbench: {title}, in {limit:g} s", "ConvScope", text, "≤ 1")


def _first_paint(browser: Any) -> float:
    with served() as (address, _):
        page = _open_page(browser, f"{address}/look?{MODEL}&image=sample:shapes/3")
        paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        page.wait_for_function(paint)
        seconds = page.evaluate(paint) / 1000
        page.context.close()
    return float(seconds)


def _grad_cam(browser: Any, address: str, first: int = 6) -> list[float]:
    """Images that have not been explained before: six of them on an idle server, six during an optimization."""
    page = _open_page(browser, f"{address}/look?{MODEL}&image=sample:shapes/{first + 5}&lens=grad-cam")
    page.wait_for_selector(".card img.heat")
    page.wait_for_selector(".thumb >> nth=11")
    page.wait_for_timeout(1000)
    heat = "document.querySelector('.card:not(.busy) .picture:not(.busy) img.heat')?.src"
    times = [
        _response_time(page, f'.thumb[title="sample:shapes/{number}"]', heat, "now && now !== before")
        for number in range(first, first + 5)
    ]
    page.context.close()
    return times


def _feature_maps(browser: Any, address: str) -> list[float]:
    """Each node of the graph that is a layer or a block, in the initial state of the page."""
    page = _open_page(browser, f"{address}/inside?{MODEL}&image=sample:shapes/3&layer=layer1.0.conv1")
    page.wait_for_selector(".maps img")
    page.wait_for_timeout(1000)
    nodes = page.locator(".graph [data-node]:not(.chosen)").evaluate_all("(all) => all.map((one) => one.dataset.node)")
    maps = "document.querySelector('.maps img') && document.querySelector('.maps').dataset.layer"
    times = [_response_time(page, f'.graph [data-node="{node}"]', maps, "now && now !== before") for node in nodes]
    page.context.close()
    return times


def _during_optimization(browser: Any, address: str) -> list[float]:
    """Blocks of the graph are expanded and collapsed while the page shows the optimization of a unit's picture."""
    page = _open_page(browser, f"{address}/inside?{MODEL}&image=sample:shapes/3&layer=layer3&unit=layer3[5]")
    page.wait_for_selector(".draw")
    page.locator(".unit .q-select", has_text="Steps").click()
    page.get_by_role("option", name="1024").click()
    page.locator(".draw").click()
    page.wait_for_selector(".drawing img")
    nodes = "document.querySelectorAll('.graph [data-node]').length"
    times = [
        _response_time(page, f".graph [data-{action}]", nodes, "now !== before") for action in ("open", "fold") * 8
    ]
    assert page.locator(".cancel").is_visible(), "the optimization must last longer than the measurement"
    page.locator(".cancel").click()
    page.context.close()
    return times


@contextmanager
def _running_jobs(address: str) -> Iterator[None]:
    """Run optimizations on the server during the measurement."""
    requests = [{"lens": "activation-maximization", "unit": [str(n)], "parameters": {"steps": 2048}} for n in range(9)]
    with httpx.Client(base_url=f"{address}/api/v1") as client:
        jobs = [client.post("/run", json=request).json()["id"] for request in requests]
        yield
        states = [client.get(f"/jobs/{job}").json()["state"] for job in jobs]
        assert "running" in states, "the optimizations must last longer than the measurement"
        for job in jobs:
            client.delete(f"/jobs/{job}")


def _toggle_list(browser: Any, address: str) -> list[float]:
    page = _open_page(browser, f"{address}/look?{MODEL}&image=sample:shapes/3&lens=grad-cam")
    page.wait_for_selector(".card img.heat")
    page.wait_for_timeout(1000)
    page.evaluate("document.querySelector('button[aria-expanded]').id = 'list'")
    times = [
        _response_time(page, "#list", "document.querySelector('#list').ariaExpanded", "now !== before")
        for _ in range(20)
    ]
    page.context.close()
    return times


def _open_page(browser: Any, link: str) -> Any:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(link)
    return page


def _response_time(page: Any, click: str, now: str, changed: str) -> float:
    """Seconds from a click until an expression of the page (``now``) has ``changed`` from its previous value."""
    seconds = page.evaluate(WAIT_FOR_CHANGE, [click, now, changed])
    page.wait_for_timeout(300)
    return float(seconds)
