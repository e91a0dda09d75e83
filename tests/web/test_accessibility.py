"""Accessibility of every page: no axe-core violations, in a wide light and in a narrow dark window."""

from typing import Any

import pytest

pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]


def filled_look(page: Any) -> None:
    page.wait_for_function("() => document.querySelectorAll('.card .heat').length === 2")
    page.get_by_role("button", name="Choose lenses").click()
    page.get_by_text("Parameters", exact=True).first.click()
    page.wait_for_selector(".lens-choice")


def filled_inside(page: Any) -> None:
    page.wait_for_selector(".maps img")
    page.wait_for_selector(".sums table")
    page.wait_for_selector(".crops img")


def filled_learned(page: Any) -> None:
    page.locator(".empty .chip").first.click()
    page.wait_for_selector(".drawn .card")
    page.get_by_text("Parameters", exact=True).first.click()


def filled_compare(page: Any) -> None:
    page.wait_for_selector(".apart .heat")


def filled_training(page: Any) -> None:
    page.wait_for_selector("pre")


PAGES = {
    "/look?lens=grad-cam,saliency": filled_look,
    "/inside?image=sample:shapes/3&unit=layer1.0.conv1[3]": filled_inside,
    "/learned?lens=activation-maximization&p.steps=4": filled_learned,
    "/compare": filled_compare,
    "/training": filled_training,
}


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
@pytest.mark.parametrize("link", PAGES)
def test_no_accessibility_violations(visit: Any, link: str, theme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = visit(link, theme=theme, viewport={"width": width, "height": 900})
    PAGES[link](page)
    page.wait_for_function("() => !document.querySelector('.busy, .stale')")
    results = Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
    assert results.violations_count == 0, results.generate_report()
