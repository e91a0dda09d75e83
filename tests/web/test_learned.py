"""Learned, in a real browser: a form from the declaration, a picture watched as it comes, a gallery to take home."""

import asyncio
import io
import threading
from typing import Any

import numpy as np
import pytest
from nicegui.testing import User
from PIL import Image

import convscope as cs
from convscope.catalogue import lenses
from convscope.web.i18n import say
from convscope.web.pages import learned
from tests.patience import PATIENCE
from tests.web.browsing import address, visit  # noqa: F401
from tests.web.test_pages import meet

pytest.importorskip("nicegui")

QUICK = "/learned?lens=activation-maximization&unit=layer2%5B15%5D&p.steps=16"
LONG = "/learned?lens=activation-maximization&unit=layer2%5B15%5D&p.steps=4000"


def drawn(page: Any) -> None:
    """Press the button and wait for the picture."""
    page.get_by_role("button", name="Draw", exact=True).click()
    page.wait_for_selector("article.card")


def downloaded(page: Any, name: str) -> bytes:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=f"Download {name}").first.click()
    found: bytes = waiting.value.path().read_bytes()
    return found


def test_a_picture_is_drawn_and_its_numbers_are_those_of_python(visit: Any, tmp_path: Any) -> None:  # noqa: F811
    page = visit(QUICK)
    drawn(page)
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


def test_a_picture_is_watched_and_stopping_keeps_the_best_so_far(visit: Any) -> None:  # noqa: F811
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


def test_the_gallery_is_still_there_after_a_reload_and_can_be_emptied(visit: Any) -> None:  # noqa: F811
    page = visit(QUICK)
    drawn(page)
    page.get_by_label("Language").select_option("zh")
    page.wait_for_selector("html[lang^=zh] article.card")
    assert say("What does this unit look for?", "zh") in page.locator(".whole-page").inner_text()
    page.get_by_role("button", name=say("Remove", "zh")).click()
    page.wait_for_function("!document.querySelector('article.card')")
    assert page.get_by_text(say("Nothing drawn yet", "zh")).is_visible()


def test_every_lens_of_the_family_has_its_form(visit: Any) -> None:  # noqa: F811
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


def test_another_lens_is_chosen_and_the_link_says_so(visit: Any) -> None:  # noqa: F811
    page = visit(QUICK)
    page.locator(".side .q-field").first.click()
    page.get_by_role("option", name="DeepDream").click()
    page.get_by_text("What does the network see in this image, if it is made to see more of it?").wait_for()
    page.wait_for_url("**lens=deep-dream*")
    assert "p.steps" not in page.url
    again = visit("/" + page.url.split("/", 3)[3])
    again.get_by_text("What does the network see in this image, if it is made to see more of it?").wait_for()


def test_a_refusal_is_said_in_the_words_of_python(visit: Any) -> None:  # noqa: F811
    page = visit("/learned?lens=activation-maximization&unit=layer9%5B3%5D")
    page.get_by_role("button", name="Draw", exact=True).click()
    with pytest.raises(cs.ConvScopeError) as refusal:
        cs.activation_maximization(cs.load("bundled:shapes"), unit="layer9[3]")
    page.get_by_role("alert").get_by_text(str(refusal.value)).wait_for()


def test_a_moving_picture_can_be_taken_home(visit: Any) -> None:  # noqa: F811
    page = visit("/learned?lens=deep-dream&image=sample:shapes/7&p.steps=2&p.octaves=2&p.frames=4")
    drawn(page)
    with Image.open(io.BytesIO(downloaded(page, "GIF"))) as moving:
        assert moving.n_frames >= 2


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("width", [390, 768, 1440])
def test_nothing_overflows_at_any_width(visit: Any, width: int, lang: str) -> None:  # noqa: F811
    page = visit(QUICK, lang=lang, viewport={"width": width, "height": 844})
    page.get_by_role("button", name=say("Draw", lang), exact=True).click()
    page.wait_for_selector("article.card")
    page.locator("summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_unit_that_is_offered_is_drawn_at_once(visit: Any) -> None:  # noqa: F811
    page = visit("/learned?p.steps=8")
    page.locator(".empty .chip").nth(3).click()
    page.wait_for_selector(".drawn .card")
    assert cs.load("bundled:shapes").labels[3] in page.locator(".drawn h2").inner_text()
    page.wait_for_url("**unit=star**")


def test_the_offers_of_another_network_are_stale_until_its_own_come(monkeypatch: pytest.MonkeyPatch) -> None:
    found, opened = learned.suggestions, threading.Event()
    opened.set()

    def slow(*asked: Any) -> list[str]:
        opened.wait(PATIENCE)
        return found(*asked)

    monkeypatch.setattr(learned, "suggestions", slow)

    seen: dict[str, bool] = {}

    async def look(user: User) -> None:
        await user.open("/learned")
        await user.should_see(marker="offer", retries=100)
        offers = next(iter(user.find(marker="offer").elements)).parent_slot.parent
        before = {one.content for one in user.find(marker="offer").elements}
        seen["at first"] = "busy" in offers.classes
        opened.clear()
        next(iter(user.find(marker="model").elements)).set_value("bundled:digits")
        seen["while others are looked for"] = "busy" in offers.classes
        opened.set()
        while before & {one.content for one in user.find(marker="offer").elements}:
            await asyncio.sleep(0.01)
        seen["with others"] = "busy" in offers.classes

    meet(look)
    assert seen == {"at first": False, "while others are looked for": True, "with others": False}
