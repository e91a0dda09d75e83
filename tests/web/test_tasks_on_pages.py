"""Look and Compare with networks of other tasks and inputs: what they answer, and the choice of target and inputs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from convscope.spec.tasks import TASKS, Task
from convscope.web.pages.look.answer_panel import question_about
from convscope.web.server.app import MODELS
from tests import dense_networks, networks_of_several_inputs
from tests.web.browsing import visit, workbench  # noqa: F401

pytest.importorskip("nicegui")

FILE = Path(dense_networks.__file__)
SKIN, ROWS = (f"{Path(networks_of_several_inputs.__file__)}:{name}" for name in ("skin", "rows"))
SEGMENTER, DETECTOR = f"{FILE}:bright_segmenter", f"{FILE}:bright_detector"
REGRESSOR = f"{FILE}:lightness"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a workbench with a segmenter and a detector listens."""
    with workbench(models=[SEGMENTER, DETECTOR, REGRESSOR, SKIN, ROWS, *MODELS]) as server:
        yield server.address


def link(path: str, model: str, **fields: str) -> str:
    return f"{path}?{urlencode({'model': model, 'image': 'sample:shapes/7', 'lens': 'grad-cam', **fields})}"


@pytest.mark.parametrize("task", [None, TASKS.find("classification")], ids=["unknown", "classification"])
def test_heading_asks_why_for_the_best_answer_only(task: Task | None) -> None:
    assert question_about(task, is_best=True) == "Why did the model predict “{}”?"
    assert question_about(task, is_best=False) == "What supports “{}”?"


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


def test_a_photograph_and_a_row_are_chosen_and_explained(visit: Any) -> None:  # noqa: F811
    page = visit(f"/look?{urlencode({'model': SKIN, 'lens': 'integrated-gradients'})}")
    page.wait_for_selector(".card.wide figure.value img")
    row = page.get_by_role("textbox", name="table: numbers with commas")
    assert row.input_value() == "50,70,1,60"
    assert page.get_by_text("age, pulse, dose, weight").is_visible()
    row.fill("71,9.5,1,80")
    row.press("Enter")
    page.wait_for_function("new URL(location.href).searchParams.get('image').endsWith('table=text:71,9.5,1,80')")
    page.locator(".thumb[title='sample:shapes/3']").click()
    page.wait_for_function("new URL(location.href).searchParams.get('image').startsWith('photo=sample:shapes/3 ')")
    page.wait_for_selector(".card.wide .picture:not(.busy) figure.value img")
    assert row.input_value() == "71,9.5,1,80"
    page.get_by_role("button", name="Pin for comparison").click()
    page.wait_for_selector("[data-pinned].wide figure.value img")
    page.wait_for_url("**pinned=*")


def test_maps_of_several_inputs_share_a_scale(visit: Any) -> None:  # noqa: F811
    page = visit(f"/look?{urlencode({'model': SKIN, 'lens': 'integrated-gradients,occlusion'})}")
    page.wait_for_function("() => document.querySelectorAll('.card.wide figure.value img').length === 2")
    pictures = "[...document.querySelectorAll('.card figure.value img')].map(picture => picture.src)"
    own = page.evaluate(pictures)
    page.get_by_role("button", name="One scale").click()
    page.wait_for_function(f"own => {pictures}.some((picture, index) => picture !== own[index])", arg=own)
    page.get_by_role("button", name="One scale").click()
    page.wait_for_function(f"own => {pictures}.every((picture, index) => picture === own[index])", arg=own)


def test_a_text_is_typed_and_explained(visit: Any) -> None:  # noqa: F811
    page = visit("/look?model=bundled:sequence&lens=integrated-gradients")
    page.wait_for_selector(".card.wide figure.value img")
    text = page.get_by_role("textbox", name="Or type words")
    text.fill("we drive past left now right and wait")
    text.press("Enter")
    page.get_by_role("heading", name="Why did the model predict “right”?").wait_for()
    text.fill("we fly")
    text.press("Enter")
    page.get_by_text("token 'fly' is not in the vocabulary").first.wait_for()


def test_compare_shows_the_answers_below_the_maps(visit: Any) -> None:  # noqa: F811
    page = visit(link("/compare", DETECTOR))
    page.locator(".bars .answer").first.wait_for()
    assert page.locator(".bars .answer").first.inner_text().split() == ["0", "bright", "39.1%"]


def test_a_detector_is_shown_by_lenses_whose_map_keeps_to_the_box(visit: Any) -> None:  # noqa: F811
    page = visit(link("/look", DETECTOR, lens=""))
    page.wait_for_selector(".card .picture:not(.busy) .heat")
    assert page.locator("article.card").evaluate_all("all => all.map(card => card.ariaLabel)") == [
        "LayerCAM",
        "Saliency",
        "Integrated gradients",
    ]
    page = visit(link("/compare", DETECTOR, lens=""))
    page.locator(".asks", has_text="Where in this layer, even an early one").wait_for()


def test_numbers_are_raised_and_lowered_not_predicted(visit: Any) -> None:  # noqa: F811
    page = visit(link("/look", REGRESSOR, lens="saliency"))
    page.get_by_role("heading", name="What raises and lowers “light”?").wait_for()
    assert page.locator(".answers-box .share").last.inner_text().startswith("−0."), "the sign that scales have"
    page.get_by_role("textbox", name="Or type the name of a number").wait_for()
    page = visit(link("/compare", REGRESSOR, lens="saliency"))
    page.get_by_placeholder("the largest number").wait_for()


def test_a_signal_is_not_taken_with_the_camera(visit: Any) -> None:  # noqa: F811
    page = visit("/look?model=bundled:beats&image=sample:beats/1&lens=saliency")
    page.wait_for_selector(".card.wide figure.value img")
    assert page.locator("[data-camera].hidden").count() == 1
    page = visit(link("/look", SEGMENTER, lens="saliency"))
    page.wait_for_selector(".card .heat")
    assert page.locator("[data-camera]:not(.hidden)").count() == 1


@pytest.mark.parametrize(
    ("model", "field", "begins", "text"),
    [
        ("bundled:sequence", "Or type words", 3, "now left and wait"),
        (ROWS, "Or type numbers with commas", 1, "1,2,3,4"),
    ],
    ids=["words", "rows"],
)
def test_what_is_typed_is_compared(visit: Any, model: str, field: str, begins: int, text: str) -> None:  # noqa: F811
    page = visit(f"/compare?{urlencode({'model': model, 'lens': 'saliency'})}")
    counted = "count => document.querySelectorAll('.gallery .card figure.value img').length === count"
    page.wait_for_function(counted, arg=begins)
    page.get_by_label(field).fill(text)
    page.keyboard.press("Enter")
    page.wait_for_function(counted, arg=begins + 1)
    assert page.locator(".gallery h2").last.inner_text() == text
    page.get_by_role("button", name=text, exact=True).click()
    page.wait_for_function(counted, arg=begins)
    page.get_by_role("button", name=text, exact=True).wait_for(state="detached")
