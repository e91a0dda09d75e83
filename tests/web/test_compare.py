"""Compare, in a real browser: several images or several networks on one scale, and the difference of two."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope import render
from convscope.engine.statistics.map_similarity import difference, to_extent_of
from convscope.web.i18n import translate
from tests.web.browsing import overflowing

pytest.importorskip("nicegui")

TWO = "/compare?lens=grad-cam&model=bundled:digits&image=sample:digits/3&beside=sample:digits/8"


def wait_for_cells(page: Any, cells: int) -> None:
    page.wait_for_function(f"document.querySelectorAll('.gallery article .heat').length === {cells}")


def test_several_images_share_one_scale(visit: Any) -> None:
    page = visit(TWO)
    wait_for_cells(page, 2)
    limits = page.locator(".gallery .stack").evaluate_all("all => all.map(one => one.dataset.limit)")
    assert len(set(limits)) == 1
    titles = page.locator(".gallery h2").all_inner_texts()
    assert titles == ["sample:digits/3", "sample:digits/8"]
    best = cs.predict(cs.load("bundled:digits"), "sample:digits/3")
    assert f"{best.confidences[0]:.1%}" in page.locator(".gallery article").first.inner_text()


def test_difference_is_shown_with_similarity_measures(visit: Any) -> None:
    page = visit(TWO)
    page.wait_for_selector(".apart .heat")
    model = cs.load("bundled:digits")
    both = cs.compare([model], ["sample:digits/3", "sample:digits/8"], "grad-cam")
    first, second = (row[0] for row in both.rows)
    similarity = cs.Comparison(rows=((first, second),)).rank_similarity
    assert similarity is not None
    assert render.format_number(float(similarity[0, 1])) in page.locator(".apart .facts").inner_text()
    assert page.get_by_text("The two maps explain different classes").is_visible()


def test_network_is_added_and_removed_by_its_chip(visit: Any) -> None:
    page = visit(TWO)
    wait_for_cells(page, 2)
    page.get_by_role("button", name="bundled:shapes", exact=True).click()
    wait_for_cells(page, 4)
    page.wait_for_url("**beside=bundled%3Ashapes**")
    assert "bundled:shapes · sample:digits/8" in page.locator(".gallery h2").all_inner_texts()
    page.get_by_role("button", name="bundled:shapes", exact=True).click()
    wait_for_cells(page, 2)


def test_image_is_added_by_its_thumbnail_and_the_last_one_stays(visit: Any) -> None:
    page = visit(TWO)
    wait_for_cells(page, 2)
    page.get_by_role("button", name="sample:digits/5", exact=True).click()
    wait_for_cells(page, 3)
    for name in ("sample:digits/5", "sample:digits/8", "sample:digits/3"):
        page.get_by_role("button", name=name, exact=True).click()
    wait_for_cells(page, 1)
    assert page.locator(".gallery h2").count() == 1
    assert not page.locator(".apart").is_visible()


def test_refused_lens_shows_its_error(visit: Any) -> None:
    page = visit(TWO + "&layer=nowhere")
    page.wait_for_selector(".gallery .refusal")
    assert "no layer 'nowhere'" in page.locator(".gallery").inner_text()


def test_all_maps_are_downloaded_as_one_picture(visit: Any) -> None:
    page = visit(TWO)
    wait_for_cells(page, 2)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Picture .png").click()
    with Image.open(io.BytesIO(waiting.value.path().read_bytes())) as picture:
        assert picture.format == "PNG"
        assert picture.width > 200


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_nothing_overflows_at_any_width(visit: Any, lang: str) -> None:
    page = visit(TWO, lang=lang, viewport={"width": 390, "height": 844})
    page.wait_for_selector(".apart .heat")
    page.locator("summary").first.click()
    assert translate("Difference", lang) in page.locator(".whole-page").inner_text()
    assert overflowing(page, [390, 768, 1440]) == []


def test_difference_is_first_map_minus_second() -> None:
    model = cs.load("bundled:digits")
    first, second = (cs.saliency(model, f"sample:digits/{number}") for number in (3, 8))
    difference_map = difference(first, second)
    torch.testing.assert_close(difference_map.values, first.values - second.values)
    assert difference_map.signed
    assert difference(first, first).blank


def test_map_of_another_size_is_resized_to_the_first() -> None:
    first = cs.saliency(cs.load("bundled:digits"), "sample:digits/3")
    second = cs.saliency(cs.load("bundled:shapes"), "sample:shapes/7")
    assert first.values.shape != second.values.shape
    assert to_extent_of(first, second).values.shape == first.values.shape
    assert np.isfinite(np.asarray(difference(first, second).values)).all()


def test_stop_shows_the_results_so_far(visit: Any) -> None:
    beside = "&".join(f"beside=sample:shapes/{n}" for n in range(1, 4))
    page = visit(f"/compare?lens=rise&image=sample:shapes/0&p.samples=65536&{beside}")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.wait_for_function("() => document.querySelectorAll('.card .refusal').length === 4")
    assert "Stopped." in page.locator(".refusal").first.inner_text()
    assert page.get_by_role("button", name="Stop", exact=True).is_hidden()
