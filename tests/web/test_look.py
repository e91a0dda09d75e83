"""Look, in a real browser: prediction, maps, parameters, links and downloads."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

import convscope as cs
from convscope.catalogue import default_comparison
from convscope.render import THEMES, format_number
from convscope.values import Attribution
from convscope.web.i18n import translate
from tests.web.browsing import overflowing

Visit = Callable[..., Any]

COMPARED = len(default_comparison(None))
"""The lenses that the page shows by default."""


def settled(page: Any, cards: int = COMPARED) -> Any:
    """The page once every card shows its map and the prediction is shown."""
    page.wait_for_selector(".answer")
    page.wait_for_function("n => document.querySelectorAll('.card .heat').length === n", arg=cards)
    page.wait_for_function("() => !document.querySelector('.picture.busy')")
    page.wait_for_selector(".thumb")
    return page


def heats(page: Any) -> list[str]:
    sources: list[str] = page.locator(".card .heat").evaluate_all("all => all.map(one => one.src)")
    return sources


def until_other(page: Any, before: str, place: int = 0) -> None:
    """Wait until the map at an index has changed."""
    page.wait_for_function(
        "([before, place]) => (document.querySelectorAll('.card .heat')[place]?.src ?? before) !== before",
        arg=[before, place],
    )


def test_page_opens_with_prediction_and_maps(visit: Visit) -> None:
    page = settled(visit("/"))
    prediction = cs.predict(cs.load("bundled:shapes"), "sample:shapes/0")
    assert page.locator("h1").inner_text() == f"Why did the model predict “{prediction.labels[0]}”?"
    assert f"{prediction.confidences[0]:.1%}" in page.locator(".answer").first.inner_text()
    assert page.locator(".heat").first.get_attribute("alt").startswith("Grad-CAM")
    assert "Warm regions raise the score" in page.locator(".card").first.inner_text()
    assert "Limitations" in page.locator(".card").first.inner_text()
    assert page.locator("h1").count() == 1
    assert page.locator("button:not([aria-label])").evaluate_all("all => all.every(one => one.textContent.trim())")


def test_value_under_the_pointer_is_that_of_the_map(visit: Visit) -> None:
    page = settled(visit("/look?image=sample:shapes/7"))
    own = cs.grad_cam(cs.load("bundled:shapes"), "sample:shapes/7")
    box = page.locator(".stack").first.bounding_box()
    row, column = 40, 61
    page.mouse.move(
        box["x"] + box["width"] * (column + 0.5) / own.values.shape[1],
        box["y"] + box["height"] * (row + 0.5) / own.values.shape[0],
    )
    value_label = page.locator(".scale .value:visible")
    assert value_label.count() == COMPARED  # the same place is read in all of them
    value_shown = float(value_label.first.inner_text().replace("−", "-"))
    assert value_shown == pytest.approx(float(own.values[row, column]), abs=2e-3 * float(own.values.abs().max()))
    page.mouse.move(0, 0)
    page.wait_for_function("() => !document.querySelector('.scale .value:not([hidden])')")
    page.locator(".stack").first.focus()
    page.keyboard.press("ArrowRight")
    assert value_label.count() == COMPARED


def test_numbers_are_formatted_as_in_pictures(visit: Visit) -> None:
    page = settled(visit("/look?lens=grad-cam"), 1)
    values = [0.0, 0.25, -1.0, 12.3456, 999.4, -1234.6, 99999.0, 123456.0, 0.00012345, -0.000012345, 5e-12]
    written = page.evaluate("all => all.map(convscope.formatNumber)", values)
    assert written == [format_number(value) for value in values]


def test_choosing_another_image(visit: Visit) -> None:
    page = settled(visit("/look"))
    before = heats(page)[0]
    page.locator(".thumb").nth(3).click()
    until_other(page, before)
    page.wait_for_url("**image=sample%3Ashapes%2F3**")
    best = cs.predict(cs.load("bundled:shapes"), "sample:shapes/3").labels
    page.get_by_role("heading", name=f"Why did the model predict “{best[0]}”?").wait_for()
    page.locator("button.answer").nth(1).click()
    page.get_by_role("heading", name=f"What supports “{best[1]}”?").wait_for()
    page.wait_for_url("**target=**")
    assert page.locator(".answer.chosen").count() == 1


def test_uploading_an_image(visit: Visit, tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "own.png")
    page = settled(visit("/look"))
    before = heats(page)[0]
    page.locator("input[type=file]").set_input_files(tmp_path / "own.png")
    until_other(page, before)
    page.wait_for_url("**image=upload%3A**")
    page.wait_for_selector(".thumb[title='own.png'][aria-pressed=true]")
    settled(visit(page.url.partition("/look")[2].join(["/look", ""])))  # the link shows it in another tab
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    page.locator("input[type=file]").set_input_files(tmp_path / "broken.png")
    page.get_by_text(re.compile("broken.png.* is no")).wait_for()


def test_changing_a_parameter_updates_map_and_link(visit: Visit) -> None:
    page = settled(visit("/look?lens=integrated-gradients"), 1)
    before = heats(page)[0]
    page.get_by_text("Parameters", exact=True).click()
    page.get_by_label("steps").fill("3")
    until_other(page, before)
    page.wait_for_url("**p.integrated-gradients.steps=3**")
    changed = heats(page)[0]
    page.get_by_label("steps").fill("0")
    page.get_by_text("steps must be 1").wait_for()
    assert heats(page)[0] == changed
    reopened = settled(visit(f"/look?{page.url.partition('?')[2]}"), 1)
    assert heats(reopened)[0] == changed
    reopened.get_by_text("Parameters", exact=True).click()
    assert reopened.get_by_label("steps").input_value() == "3"


def test_lenses_are_added_swapped_and_removed(visit: Visit) -> None:
    page = settled(visit("/look?lens=grad-cam"), 1)
    page.get_by_role("button", name="Choose lenses").click()
    page.get_by_role("button", name=re.compile("^Backward rules")).click()
    page.get_by_role("button", name=re.compile("^DeepLIFT")).click()
    settled(page, 2)
    page.wait_for_url("**lens=grad-cam%2Cdeep-lift**")
    page.locator(".card").nth(1).locator("[aria-label='Remove']").click()
    settled(page, 1)
    before = heats(page)[0]
    page.locator(".card .q-select").first.click()
    page.get_by_role("option", name="Saliency", exact=True).click()
    until_other(page, before)
    page.wait_for_url("**lens=saliency&**")
    assert "Which pixels change the score" in page.locator(".card").inner_text()


def test_refused_lens_shows_the_error(visit: Visit) -> None:
    page = visit("/look?model=bundled:digits&image=sample:digits/3&lens=grad-cam&layer=classifier")
    page.get_by_text("No map from this lens").wait_for()
    with pytest.raises(cs.ConvScopeError) as refused:
        cs.grad_cam(cs.load("bundled:digits"), "sample:digits/3", layer="classifier")
    assert str(refused.value) in page.locator(".refusal").inner_text()
    assert page.locator(".refusal .chip").count() == 0  # nothing answers: it may be the request


def test_fitting_lenses_are_suggested_if_others_work(visit: Visit) -> None:
    page = visit("/look?lens=grad-cam,saliency&layer=fc")
    page.wait_for_selector(".refusal .chip")
    page.locator(".refusal .chip").first.click()
    settled(page, 2)
    assert page.locator(".refusal").count() == 0


def type_class(page: Any, text: str) -> None:
    page.get_by_label("Or type a class").fill(text)
    page.keyboard.press("Enter")


def refused_at_the_field(page: Any, why: str) -> None:
    """The error is shown once, at the target field, and no card repeats it."""
    page.locator(".q-field.q-field--error", has=page.get_by_label("Or type a class")).get_by_text(why).wait_for()
    assert page.get_by_text(why).count() == 1
    assert page.locator(".refusal").count() == 0


def test_a_map_of_several_layers_has_a_slider(visit: Visit) -> None:
    page = settled(visit("/look?image=sample:shapes/7&lens=grad-cam&layer=layer1&layer=layer3"), 1)
    assert page.locator(".layer-heat:visible").get_attribute("alt").startswith("layer3: Grad-CAM")
    page.get_by_role("slider", name="Layer").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator(".layer-heat:visible").get_attribute("alt").startswith("layer1: Grad-CAM")
    assert page.locator(".layer-photo:visible").evaluate("e => getComputedStyle(e).backgroundImage") != "none"


def test_several_layers_are_chosen_in_the_field(visit: Visit) -> None:
    page = settled(visit("/look?image=sample:shapes/7&lens=grad-cam&layer=layer3"), 1)
    field = page.get_by_role("combobox", name="Layer")
    field.fill("layer1")
    page.get_by_role("option", name="layer1", exact=True).click()
    page.wait_for_url("**layer=layer1&layer=layer3**")
    page.wait_for_selector(".layer-slider")
    assert page.locator(".layer-map").evaluate_all("all => all.map(one => one.dataset.layer)") == ["layer1", "layer3"]


def test_unknown_class_is_refused_once_and_the_target_stays(visit: Visit) -> None:
    page = settled(visit("/look?lens=grad-cam,saliency"), 2)
    before, question, link = heats(page), page.locator("h1").inner_text(), page.url
    for text in ("elefant", "triangel", "99", "star - cirkle", "layer9[1]"):
        with pytest.raises(cs.ConvScopeError) as refused:
            cs.grad_cam(cs.load("bundled:shapes"), "sample:shapes/0", target=text)
        type_class(page, text)
        refused_at_the_field(page, str(refused.value))
        assert ("did you mean" in str(refused.value)) == (text not in ("elefant", "99"))
        assert page.locator(".busy").count() == 0
        assert (heats(page), page.locator("h1").inner_text(), page.url) == (before, question, link), text
    type_class(page, "star - circle")
    page.get_by_role("heading", name="What supports “star - circle”?").wait_for()
    assert page.locator(".q-field--error").count() == 0
    page.wait_for_url("**target=star+-+circle**")


def test_a_long_message_pushes_the_next_field_down(visit: Visit) -> None:
    page = settled(visit("/look?lens=grad-cam"), 1)
    type_class(page, "cresent")
    message = page.get_by_text("did you mean 'crescent'?")
    message.wait_for()
    box, layer = message.bounding_box(), page.locator(".q-field", has=page.get_by_label("Layer")).bounding_box()
    assert box["y"] + box["height"] <= layer["y"], "the field below covers the message"


def test_unknown_class_in_a_link_is_refused_and_the_best_class_explained(visit: Visit) -> None:
    page = settled(visit("/look?lens=grad-cam,saliency&target=triangel"), 2)
    refused_at_the_field(page, "no label 'triangel' in shapes; did you mean 'triangle' or 'ring'?")
    assert page.get_by_label("Or type a class").input_value() == "triangel"
    assert page.locator("h1").inner_text() == "Why did the model predict “circle”?"
    assert "target" not in page.url


def test_target_class_beyond_the_best_is_added_to_the_bars(visit: Visit) -> None:
    every = cs.predict(cs.load("bundled:shapes"), "sample:shapes/0", top=1000)
    page = settled(visit("/look?lens=grad-cam"), 1)
    assert page.locator("button.answer").count() == 5
    type_class(page, every.labels[-1].upper())
    page.get_by_role("heading", name=f"What supports “{every.labels[-1]}”?").wait_for()
    chosen = page.locator("button.answer.chosen")
    assert page.locator("button.answer").count() == 6
    assert every.labels[-1] in chosen.inner_text()
    assert every.formatted_scores()[-1] in chosen.inner_text()
    page.locator("button.answer").nth(1).click()
    page.get_by_role("heading", name=f"What supports “{every.labels[1]}”?").wait_for()
    page.locator("button.answer").nth(5).click()
    page.get_by_role("heading", name=f"What supports “{every.labels[-1]}”?").wait_for()
    assert chosen.count() == 1


def test_pinned_maps_share_a_scale(visit: Visit) -> None:
    page = settled(visit("/look?lens=grad-cam"), 1)
    page.locator("[aria-label='Pin for comparison']").click()
    page.wait_for_selector("[data-pinned] .heat")
    before = heats(page)[0]
    page.locator("button.answer").nth(1).click()
    page.wait_for_selector("h1:has-text('What supports')")
    until_other(page, before)
    page.wait_for_function("() => !document.querySelector('.picture.busy')")
    page.locator("[aria-label='Pin for comparison']").click()
    page.wait_for_function("() => document.querySelectorAll('[data-pinned] .heat').length === 2")
    limits = page.locator("[data-pinned] .stack").evaluate_all("all => all.map(one => one.dataset.limit)")
    assert len(set(limits)) == 1
    page.wait_for_url("**pinned=*pinned=*")
    page.locator("[data-pinned] [aria-label='Remove']").first.click()
    page.wait_for_function("() => document.querySelectorAll('[data-pinned] .heat').length === 1")
    page.wait_for_function("() => location.search.split('pinned=').length === 2")
    reopened = visit(f"/look?{page.url.partition('?')[2]}")
    reopened.wait_for_selector("[data-pinned] .heat")
    sources = [tab.locator("[data-pinned] .heat").get_attribute("src") for tab in (page, reopened)]
    assert sources[0] == sources[1]


def test_pinned_view_that_fails_shows_its_error(visit: Visit) -> None:
    page = visit("/look?lens=grad-cam&pinned=lens%3Dgrad-cam%26model%3Dnowhere%26image%3Dsample%3Ashapes%2F0")
    page.locator("[data-pinned]").get_by_text("no model 'nowhere' here").wait_for()


def test_browser_back_button_undoes_a_change(visit: Visit) -> None:
    page = settled(visit("/look?lens=grad-cam&image=sample:shapes/0"), 1)
    question, before = "Why did the model predict “circle”?", heats(page)
    page.get_by_role("heading", name=question).wait_for()
    page.locator(".thumb[title='sample:shapes/3']").click()
    page.get_by_role("heading", name="Why did the model predict “star”?").wait_for()
    page.go_back()
    page.get_by_role("heading", name=question).wait_for()
    assert heats(settled(page, 1)) == before
    page.go_forward()
    page.get_by_role("heading", name="Why did the model predict “star”?").wait_for()


def test_smooth_parameter(visit: Visit) -> None:
    page = settled(visit("/look?lens=saliency"), 1)
    before = heats(page)[0]
    page.get_by_text("Parameters", exact=True).click()
    page.get_by_label("smooth", exact=True).fill("1")
    page.get_by_text("smooth must be 2 to 4096").wait_for()
    page.get_by_label("smooth", exact=True).fill("4")
    until_other(page, before)
    page.wait_for_url("**p.saliency.smooth=4**")


def test_one_scale_for_all_maps(visit: Visit) -> None:
    page = settled(visit("/look?lens=grad-cam,saliency"), 2)
    page.get_by_role("button", name="One scale").click()
    page.wait_for_function(
        "() => new Set([...document.querySelectorAll('.stack')].map(one => one.dataset.limit)).size === 1"
    )
    page.wait_for_url("**p.scale=one**")


def test_values_can_be_downloaded(visit: Visit, tmp_path: Path) -> None:
    page = settled(visit("/look?lens=grad-cam"), 1)
    page.get_by_text(re.compile("^How it was computed")).click()
    files = {}
    for label, suffix in (("Picture", ".png"), ("Numbers", ".npz"), ("Manifest", ".json")):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=f"{label} {suffix}").click()
        waiting.value.save_as(tmp_path / f"value{suffix}")
        files[suffix] = (tmp_path / f"value{suffix}").read_bytes()
    own = cs.grad_cam(cs.load("bundled:shapes"), "sample:shapes/0")
    assert np.allclose(Attribution.load(tmp_path / "value.npz").values, own.values, atol=1e-6)
    assert json.loads(files[".json"])["record"]["lens"] == "grad-cam"
    assert files[".png"].startswith(b"\x89PNG")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Report").click()
    waiting.value.save_as(tmp_path / "report.html")
    assert "Grad-CAM" in (tmp_path / "report.html").read_text("utf-8")


def test_display_switch_and_opacity(visit: Visit) -> None:
    page = settled(visit("/look?lens=grad-cam"), 1)

    def opacity_of(kind: str) -> str:
        opacity: str = page.locator(f".stack .{kind}").evaluate("one => getComputedStyle(one).opacity")
        return opacity

    assert opacity_of("heat") == "0.85"
    page.locator("[data-fade]:visible").fill("30")
    assert opacity_of("heat") == "0.3"
    page.get_by_label("Map", exact=True).check(force=True)
    assert (opacity_of("heat"), opacity_of("photo")) == ("1", "0")
    page.get_by_label("Input", exact=True).check(force=True)
    assert (opacity_of("heat"), opacity_of("photo")) == ("0", "1")


def test_language_and_theme_are_stored(visit: Visit) -> None:
    page = settled(visit("/look"))
    page.locator("select[data-remembered=convscope_theme]").select_option("dark")
    page.wait_for_selector("body.body--dark")
    settled(page)
    page.locator("select[data-remembered=convscope_lang]").select_option("zh")
    page.wait_for_selector("html[lang=zh-CN]")
    settled(page)
    assert page.locator(".pages [aria-current]").inner_text() == "观察"
    page.goto(page.url)
    settled(page)
    assert page.locator("body.body--dark").count() == 1
    assert page.locator("html[lang=zh-CN]").count() == 1


def test_system_theme_is_the_default(visit: Visit) -> None:
    page = visit("/look?lens=grad-cam", theme="system", color_scheme="dark")
    page.wait_for_selector("body.body--dark")
    settled(page, 1)


def test_missing_image_is_reported_and_can_be_replaced(visit: Visit) -> None:
    page = visit("/look?image=upload:gone&lens=grad-cam")
    page.locator(".empty").get_by_text("no image 'upload:gone' here").wait_for()
    page.locator(".thumb").first.click()
    settled(page, 1)
    assert page.locator(".empty").count() == 0


def test_nothing_overflows_at_any_width(visit: Visit) -> None:
    page = settled(visit("/look", viewport={"width": 320, "height": 844}))
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    assert overflowing(page, [320, 390, 768, 1440]) == []


def test_keyboard_reaches_all_controls_with_visible_focus(visit: Visit) -> None:
    page = settled(visit("/look"))
    page.locator("body").press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    focused = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        focused |= set(
            page.evaluate("[...document.activeElement.classList, document.activeElement.dataset.remembered]")
        )
    assert {"thumb", "answer", "stack", "drop-say", "convscope_theme"} <= focused
    page.locator("button.answer").nth(1).focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def toast(page: Any) -> Any:
    """Check that an error message uses the theme's colours and covers neither navigation nor heading."""
    notification = page.locator(".q-notification")
    notification.wait_for()
    page.wait_for_function(  # once it has come in
        "() => document.querySelector('.q-notification').getAnimations({subtree: true}).length === 0"
    )
    message = notification.locator(".q-notification__message").evaluate("one => getComputedStyle(one).color")
    ground = notification.evaluate("one => getComputedStyle(one).backgroundColor")
    theme = THEMES["dark" if page.locator("body.body--dark").count() else "light"]
    assert [message, ground] == [f"rgb{ImageColor.getrgb(item)}" for item in (theme.text, theme.page)]
    covered = ("header", "h1", ".tools")
    assert [page.locator(item).first.bounding_box() for item in covered if _meet(page, notification, item)] == []
    return notification


def _meet(page: Any, element: Any, selector: str) -> bool:
    a, b = element.bounding_box(), page.locator(selector).first.bounding_box()
    return bool(a["y"] < b["y"] + b["height"] and b["y"] < a["y"] + a["height"])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_error_message_uses_theme_colours_and_covers_no_heading(visit: Visit, tmp_path: Path, theme: str) -> None:
    page = settled(visit("/look?lens=grad-cam", theme=theme), 1)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    page.locator("input[type=file]").set_input_files(tmp_path / "broken.png")
    assert "broken.png" in toast(page).inner_text()
    page = visit("/compare?lens=grad-cam&layer=layer9&image=sample:shapes/1", theme=theme)
    page.get_by_text("no layer 'layer9'").wait_for()
    page.get_by_role("button", name="Picture .png").click()
    assert "some maps are missing" in toast(page).inner_text()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_report_without_cards_shows_a_hint(visit: Visit, lang: str) -> None:
    page = settled(visit("/look?lens=grad-cam", lang=lang), 1)
    page.locator(f"[aria-label='{translate('Remove', lang)}']").click()
    page.wait_for_selector(".empty")
    page.get_by_role("button", name=translate("Report", lang)).click()
    assert translate("There is nothing to report yet: choose an image and a lens.", lang) in toast(page).inner_text()
