"""Look and Compare with networks for segmentation and detection: what they answer, and the choice of a target."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from convscope.web.server.app import MODELS
from tests import dense_networks
from tests.web.browsing import visit, workbench  # noqa: F401

pytest.importorskip("nicegui")

FILE = Path(dense_networks.__file__)
SEGMENTER, DETECTOR = f"{FILE}:bright_segmenter", f"{FILE}:bright_detector"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a workbench with a segmenter and a detector listens."""
    with workbench(models=[SEGMENTER, DETECTOR, *MODELS]) as server:
        yield server.address


def link(path: str, model: str, **fields: str) -> str:
    return f"{path}?{urlencode({'model': model, 'image': 'sample:shapes/7', 'lens': 'grad-cam', **fields})}"


@pytest.mark.parametrize(("model", "target"), [(SEGMENTER, "1"), (DETECTOR, "box:1")], ids=["classes", "boxes"])
def test_a_click_on_a_row_explains_it(visit: Any, model: str, target: str) -> None:  # noqa: F811
    page = visit(link("/look", model))
    page.locator(".answers-box img").wait_for()
    page.wait_for_selector(".card .heat")
    others = page.locator("button.answer:not(.chosen)")
    others.first.click()
    page.wait_for_function("target => new URL(location.href).searchParams.get('target') === target", arg=target)
    page.wait_for_selector(".card .heat")


def test_a_click_in_the_picture_explains_the_class_there(visit: Any) -> None:  # noqa: F811
    page = visit(link("/look", SEGMENTER))
    picture = page.locator(".answers-box img")
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.25})
    page.wait_for_function(r"() => /^at:\d+,\d+$/.test(new URL(location.href).searchParams.get('target'))")
    row, column = map(int, page.evaluate("new URL(location.href).searchParams.get('target')")[3:].split(","))
    assert abs(row - 12) <= 1, "the input has 48 rows"
    assert abs(column - 24) <= 1
    page.wait_for_selector(".card .picture:not(.busy) .heat")


def test_compare_shows_the_answers_below_the_maps(visit: Any) -> None:  # noqa: F811
    page = visit(link("/compare", DETECTOR))
    page.locator(".bars .answer").first.wait_for()
    assert page.locator(".bars .answer").first.inner_text().split() == ["0", "bright", "39.1%"]
