"""Learned, in a real browser: the form, the live picture, and the gallery."""

import asyncio
import io
import threading
from typing import Any

import numpy as np
import pytest
from nicegui.testing import User
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

import convscope as cs
from convscope.catalogue import lenses
from convscope.web.i18n import translate
from convscope.web.pages.learned import page as learned
from tests.waiting import TIMEOUT
from tests.web.browsing import overflowing
from tests.web.test_pages import meet

pytest.importorskip("nicegui")

QUICK = "/learned?lens=activation-maximization&unit=layer2%5B15%5D&p.steps=16"
LONG = "/learned?lens=activation-maximization&unit=layer2%5B15%5D&p.steps=4000"


def draw(page: Any) -> None:
    """Press Draw and wait for the picture."""
    page.get_by_role("button", name="Draw", exact=True).click()
    page.wait_for_selector("article.card")


def downloaded(page: Any, name: str) -> bytes:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=f"Download {name}").first.click()
    content: bytes = waiting.value.path().read_bytes()
    return content


def test_picture_has_the_same_numbers_as_in_python(visit: Any, tmp_path: Any) -> None:
    page = visit(QUICK)
    draw(page)
    file = tmp_path / "drawn.npz"
    file.write_bytes(downloaded(page, "NPZ"))
    value = cs.Pictures.load(file)
    expected = cs.activation_maximization(cs.load("bundled:shapes"), unit="layer2[15]", steps=16)
    assert value.words == ("layer2[15]",)
    np.testing.assert_allclose(np.asarray(value.values), np.asarray(expected.values), atol=1e-4)
    with Image.open(io.BytesIO(downloaded(page, "PNG"))) as picture:
        assert picture.format == "PNG"
    card = page.locator("article.card")
    assert "layer2[15]" in card.inner_text()
    assert expected.record.reads in card.inner_text()
    assert all(alt for alt in card.locator("img").evaluate_all("all => all.map(one => one.alt)"))


def test_stopping_keeps_the_best_picture(visit: Any) -> None:
    page = visit(LONG)
    page.get_by_role("button", name="Draw", exact=True).click()
    page.wait_for_selector(".live .tile img")
    page.wait_for_selector(".live .curves polyline")
    first = page.locator(".live .tile img").get_attribute("src")
    page.wait_for_function("before => document.querySelector('.live .tile img').src !== before", arg=first)
    assert "/ 4000" in page.locator(".live").inner_text()
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("article.card")
    assert "stopped after" in page.locator("article.card").inner_text()
    assert not page.locator(".live").is_visible()
    assert page.get_by_role("button", name="Draw", exact=True).is_enabled()


def test_gallery_survives_a_reload_and_can_be_emptied(visit: Any) -> None:
    page = visit(QUICK)
    draw(page)
    page.get_by_label("Language").select_option("zh")
    page.wait_for_selector("html[lang^=zh] article.card")
    assert translate("What does this unit respond to?", "zh") in page.locator(".whole-page").inner_text()
    page.get_by_role("button", name=translate("Remove", "zh")).click()
    page.wait_for_function("!document.querySelector('article.card')")
    assert page.get_by_text(translate("No pictures yet", "zh")).is_visible()


def test_every_lens_of_the_family_has_a_form(visit: Any) -> None:
    family = [spec for spec in lenses() if spec.family == "learned"]
    assert len(family) >= 7
    for spec in family:
        page = visit(f"/learned?lens={spec.command}")
        page.get_by_text(spec.asks).wait_for()
        labels = page.locator(".side .q-field__label").all_inner_texts()
        for name in set(spec.inputs) - {"model"}:
            assert name.capitalize() in labels, (spec.name, labels)
        page.get_by_text("Parameters").click()
        for name in spec.parameters:
            assert name.replace("_", " ") in page.locator(".side .q-field__label").all_inner_texts(), spec.name


def test_choosing_a_lens_updates_the_link(visit: Any) -> None:
    page = visit(QUICK)
    page.locator(".side .q-field").first.click()
    page.get_by_role("option", name="DeepDream").click()
    page.get_by_text(
        "Which features does the network find in this image, when their activations are amplified?"
    ).wait_for()
    page.wait_for_url("**lens=deep-dream*")
    assert "p.steps" not in page.url
    reopened = visit("/" + page.url.split("/", 3)[3])
    reopened.get_by_text(
        "Which features does the network find in this image, when their activations are amplified?"
    ).wait_for()


def test_page_shows_the_error_message_of_python(visit: Any) -> None:
    page = visit("/learned?lens=activation-maximization&unit=layer9%5B3%5D")
    page.get_by_role("button", name="Draw", exact=True).click()
    with pytest.raises(cs.ConvScopeError) as refusal:
        cs.activation_maximization(cs.load("bundled:shapes"), unit="layer9[3]")
    page.get_by_role("alert").get_by_text(str(refusal.value)).wait_for()


def test_animation_can_be_downloaded(visit: Any) -> None:
    page = visit("/learned?lens=deep-dream&image=sample:shapes/7&p.steps=2&p.octaves=2&p.frames=4")
    draw(page)
    with Image.open(io.BytesIO(downloaded(page, "GIF"))) as moving:
        assert isinstance(moving, GifImageFile)
        assert moving.n_frames >= 2


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_nothing_overflows_at_any_width(visit: Any, lang: str) -> None:
    page = visit(QUICK, lang=lang, viewport={"width": 390, "height": 844})
    page.get_by_role("button", name=translate("Draw", lang), exact=True).click()
    page.wait_for_selector("article.card")
    page.locator("summary").first.click()
    assert overflowing(page, [390, 768, 1440]) == []


def test_suggested_unit_is_drawn_with_one_click(visit: Any) -> None:
    page = visit("/learned?p.steps=8")
    page.locator(".empty .chip").nth(3).click()
    page.wait_for_selector(".drawn .card")
    assert cs.load("bundled:shapes").labels[3] in page.locator(".drawn h2").inner_text()
    page.wait_for_url("**unit=star**")


def test_suggested_units_of_another_network_are_marked_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    suggestions, mark_current = vars(learned)["suggestions"], vars(learned)["mark_current"]
    opened, shown = threading.Event(), asyncio.Event()
    opened.set()

    def slow(*arguments: Any) -> list[str]:
        opened.wait(TIMEOUT)
        return suggestions(*arguments)

    def mark_and_tell(*elements: Any) -> None:
        mark_current(*elements)
        shown.set()

    monkeypatch.setattr(learned, "suggestions", slow)
    monkeypatch.setattr(learned, "mark_current", mark_and_tell)

    is_stale: dict[str, bool] = {}

    def marked(user: User, marker: str) -> list[Any]:
        """The elements with that marker, each of a class of its own."""
        return [*user.find(marker=marker).elements]

    async def check_suggestions(user: User) -> None:
        await user.open("/learned")
        await shown.wait()
        offers = marked(user, "offer")[0].parent_slot.parent
        before = {element.content for element in marked(user, "offer")}
        is_stale["at first"] = "busy" in offers.classes
        opened.clear()
        marked(user, "model")[0].set_value("bundled:digits")
        is_stale["while others are looked for"] = "busy" in offers.classes
        shown.clear()
        opened.set()
        await shown.wait()
        assert not before & {element.content for element in marked(user, "offer")}
        is_stale["with others"] = "busy" in offers.classes

    meet(check_suggestions)
    assert is_stale == {"at first": False, "while others are looked for": True, "with others": False}
