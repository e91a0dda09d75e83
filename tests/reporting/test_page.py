"""The report: one file that holds everything, escapes everything, works in a browser, on paper and without script."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope import render
from convscope.errors import CannotWrite, ConvScopeError, InputError, ParameterError, UnknownName
from convscope.render import THEMES
from convscope.reporting import Section, write_report
from convscope.reporting.reproduce import recipe
from convscope.values import Attribution, Prediction, Record
from tests.networks_of_several_inputs import image_and_table, photo_and_row

LENSES = ["grad-cam", "saliency", "integrated-gradients", "element-wise-grad-cam"]


@pytest.fixture(scope="module")
def digits() -> cs.Model:
    return cs.load("bundled:digits")


@pytest.fixture(scope="module")
def file(digits: cs.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two digits through four lenses, one of them unsigned."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    return cs.report(digits, ["sample:digits/3", "sample:digits/8"], lenses=LENSES, out=out, steps=8)


class Page(HTMLParser):
    """The elements of a page and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("script", "style"):
            self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def manifests(text: str) -> list[dict[str, Any]]:
    match = re.search(r'<script type="application/json" id="convscope-manifests">(.*?)</script>', text, re.DOTALL)
    assert match is not None
    parsed: list[dict[str, Any]] = json.loads(match[1], parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    return parsed


def test_a_report_is_one_file_that_asks_nothing_of_the_network(file: Path) -> None:
    text = file.read_text("utf-8")
    page = Page(text)
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "poster", "data", "action"):
            assert (attributes.get(name) or "#").startswith(("data:", "#")), attributes
    assert not re.search(r"https?://|@import|//[a-z]+\.", text)
    assert all(address.startswith(("data:", '"data:')) for address in re.findall(r"url\(([^)]{0,20})", text))
    assert page.all("meta")[3]["content"].startswith("default-src 'none'")  # type: ignore[union-attr]
    assert [path.name for path in file.parent.iterdir()] == ["report.html"]


def test_a_report_is_small_and_embeds_each_photo_once(file: Path) -> None:
    text = file.read_text("utf-8")
    assert len(text) < 300_000
    assert text.count("background-image: url(") == 2


def test_every_picture_has_words(file: Path) -> None:
    page = Page(file.read_text("utf-8"))
    assert len(page.all("img")) == 2 * len(LENSES)
    assert all(len(image["alt"] or "") > 20 for image in page.all("img"))
    assert all(a.get("aria-label") for _, a in page.elements if a.get("role") in ("img", "radiogroup", "group"))


def test_a_report_tells_everything_there_is_to_know(file: Path) -> None:
    page_text = Page(file.read_text("utf-8")).text
    for spec in (cs.lenses()[0], *(spec for spec in cs.lenses() if spec.command in LENSES)):
        assert spec.reads in page_text
    for words in (
        "2 inputs through 4 lenses",
        "bundled:digits",
        "class 8",
        "90.0%",
        "against",
    ):
        assert words in page_text
    for words in ("Completeness gap", "pools gradients over space", "How to read", "steps 8", "Class activation maps"):
        assert words in page_text
    assert "convscope grad-cam sample:digits/3 --model bundled:digits --target 8 --layer features" in page_text


def test_machines_find_the_manifests(file: Path) -> None:
    entries = manifests(file.read_text("utf-8"))
    assert [[v["record"]["lens"] for v in section["values"]] for section in entries] == [["predict", *LENSES]] * 2
    assert entries[0]["values"][1]["record"]["parameters"]["target"] == 8


@pytest.mark.slow
def test_by_default_every_lens_that_explains_an_answer_is_in_the_report(digits: cs.Model, tmp_path: Path) -> None:
    path = cs.report(digits, "sample:digits/3", out=tmp_path / "all.html", steps=2, samples=2)
    sections = manifests(path.read_text("utf-8"))
    fitting = [spec for spec in cs.lenses() if "model" in spec.inputs and not spec.needs & {"attention", "gates"}]
    light = [spec for spec in fitting if spec.family not in ("perturbation", "learned")]
    for section, each in zip(sections, (True, False), strict=False):
        expected = [spec.command for spec in light if spec.each_image == each]
        assert [value["record"]["lens"] for value in section["values"]] == expected
        assert not any("attention" in reason for reason in section["refused"].values())
    assert len(sections) == 2 if any(not spec.each_image for spec in light) else 1
    assert path.stat().st_size < 3_000_000


def test_a_lens_that_does_not_fit_is_listed_with_its_reason(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    model = cs.Model(net, input=cs.ImageInput(size=8))
    image = np.zeros((9, 9, 3), np.uint8)
    path = cs.report(model, image, lenses=["cam", "saliency"], out=tmp_path / "r.html")
    page_text = Page(path.read_text("utf-8")).text
    assert "Not for this model" in page_text
    assert "CAM needs global average pooling" in page_text
    assert [s["refused"].keys() for s in manifests(path.read_text("utf-8"))] == [{"CAM": 0}.keys()]


def test_a_mistake_in_the_request_stops_the_report(digits: cs.Model, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    for error, options in (
        (UnknownName, {"lenses": ["grad-kam"]}),
        (UnknownName, {"layer": "layer9"}),
        (UnknownName, {"target": "elephant"}),
        (ParameterError, {"stepz": 4}),
        (ParameterError, {"steps": 0}),
        (InputError, {}),
    ):
        with pytest.raises(error):
            cs.report(digits, "sample:digits/3" if options else "missing.png", out=out, **options)
    assert not out.exists()


def test_the_place_is_checked_before_any_work(digits: cs.Model, tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="no folder"):
        cs.report(digits, "missing.png", out=tmp_path / "no" / "r.html")
    with pytest.raises(CannotWrite, match=r"in \.html"):
        cs.report(digits, "missing.png", out=tmp_path / "r.pdf")
    with pytest.raises(InputError, match="nothing to report"):
        write_report([], tmp_path / "r.html")


def test_when_no_lens_fits_the_first_reason_is_raised(tmp_path: Path) -> None:
    of_no_task = cs.Model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2)), input=cs.ImageInput(size=8))
    with pytest.raises(ConvScopeError):
        cs.report(of_no_task, np.zeros((9, 9, 3), np.uint8), lenses=["cam"], out=tmp_path / "r.html")


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'{{7*7}}"
    record = Record(
        lens="saliency", title=evil, asks=evil, reads=evil, input=f"{evil}.png", model={"name": evil, "source": evil},
        parameters={evil: evil}, versions={evil: evil}, caveats=(evil,),
    )  # fmt: skip
    photo = np.zeros((8, 8, 3), np.uint8)
    notes = {"blank": evil, evil: evil, "relative": float("inf")}
    value = Attribution(values=torch.zeros(8, 8), photo=photo, target=evil, layers=(evil,), record=record, notes=notes)
    hostile_prediction = Prediction(
        labels=(evil,), indices=(0,), confidences=(1.0,), scores=(1.0,), photo=photo, record=record
    )
    text = write_report(
        [Section((hostile_prediction, value), {evil: evil}, evil)], tmp_path / "r.html", title=evil
    ).read_text("utf-8")
    page = Page(text)
    assert len(page.all("script")) == 2
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    assert all((image["src"] or "").startswith("data:") for image in page.all("img"))
    assert manifests(text)[0]["title"] == evil
    assert "49" not in page.text


def test_lists_of_values_under_several_models_make_one_report(digits: cs.Model, tmp_path: Path) -> None:
    random = cs.load("bundled:digits?weights=none")
    sections = [[cs.predict(m, "sample:digits/3"), cs.saliency(m, "sample:digits/3")] for m in (digits, random)]
    text = write_report(sections, tmp_path / "r.html", title="Two networks").read_text("utf-8")
    page_text = Page(text).text
    assert "<title>Two networks · ConvScope report</title>" in text
    assert page_text.count("Random weights: the network has learned nothing.") == 2  # of its section and of its map
    assert "bundled:digits?weights=none" in page_text


@pytest.mark.parametrize("shape", [(40,), (5, 6, 7), (8, 8)])
def test_values_without_a_photo_are_shown_as_whole_pictures(shape: tuple[int, ...], tmp_path: Path) -> None:
    record = Record(lens="own-lens", title="Own", asks="Why?", reads="So.", input="tensor")
    value = Attribution(values=torch.randn(shape), target="x", record=record)
    page = Page(write_report([[value]], tmp_path / "r.html").read_text("utf-8"))
    (image,) = page.all("img")
    assert image["class"] == "whole"
    assert "Own" in (image["alt"] or "")


def test_a_recipe_makes_the_value_again(digits: cs.Model) -> None:
    value = cs.integrated_gradients(digits, "sample:digits/3", steps=3, baseline="white", target=5)
    lines = recipe(value.record)
    names: dict[str, Any] = {}
    exec(f"{lines.opening}\nagain = {lines.call}", names)
    assert torch.equal(names["again"].values, value.values)
    words = shlex.split(lines.shell)
    assert words[:3] == ["convscope", "integrated-gradients", "sample:digits/3"]
    assert words[words.index("--steps") + 1] == "3"
    assert "--seed" not in words


def test_the_line_for_the_shell_is_accepted_by_the_command_line(
    digits: cs.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = pytest.importorskip("convscope.cli", reason="the command line is not there")
    from typer.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    value = cs.grad_cam(digits, "sample:digits/3", target=5, layer="features", relu=True)
    _, *words = shlex.split(recipe(value.record).shell)
    done = CliRunner().invoke(cli.app(words), [*words, "--out", "again.npz"])
    assert done.exit_code == 0, done.output
    assert torch.equal(Attribution.load("again.npz").values, value.values)


def test_what_lives_in_memory_has_no_line_for_the_shell(digits: cs.Model) -> None:
    image = np.zeros((8, 8), np.uint8)
    lines = recipe(cs.saliency(digits, image).record)
    assert lines.shell == ""
    assert "(model, image" in lines.call
    own = cs.Model(digits.module, input=digits.input)
    assert recipe(cs.saliency(own, "sample:digits/3").record).shell == ""
    assert "model = ..." in recipe(cs.saliency(own, "sample:digits/3").record).opening
    record = replace(cs.saliency(digits, "sample:digits/3").record, parameters={"target": "score(output)"})
    assert recipe(record).shell == ""
    assert "target=..." in recipe(record).call


def test_weights_from_a_file_are_part_of_the_recipe() -> None:
    source = "torchvision:resnet18 with /tmp/own weights.pt"
    record = Record(lens="saliency", title="", asks="", reads="", input="cat.jpg", model={"source": source})
    lines = recipe(record)
    assert "cs.load('torchvision:resnet18', weights='/tmp/own weights.pt')" in lines.opening
    assert "--weights '/tmp/own weights.pt'" in lines.shell


@pytest.fixture
def visit(browser: Any, file: Path) -> Iterator[Any]:
    """Open the report in a context with some options; nothing may go wrong there, nothing may be fetched."""
    contexts: list[Any] = []
    troubles: list[str] = []

    def opened(**options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else troubles.append(r.url))
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def style(page: Any, selector: str, name: str) -> str:
    computed: str = page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{name}")
    return computed


def test_the_sliders_change_how_opaque_the_heat_is(visit: Any) -> None:
    page = visit()
    assert style(page, ".heat", "opacity") == "0.85"
    page.locator("#opacity").fill("30")
    assert style(page, ".heat", "opacity") == "0.3"
    own = page.locator(".own input[type=range]").first
    assert own.input_value() == "30"
    own.focus()
    page.keyboard.press("ArrowRight")
    assert style(page, ".heat", "opacity") == "0.31"
    assert page.locator(".heat").nth(1).evaluate("e => getComputedStyle(e).opacity") == "0.3"


def test_map_over_input_map_and_input_can_be_shown(visit: Any) -> None:
    page = visit()
    assert style(page, ".stack .photo", "filter") == "grayscale(1)"
    page.get_by_label("Map", exact=True).first.check(force=True)
    assert style(page, ".stack .photo", "opacity") == "0"
    assert style(page, ".heat", "opacity") == "1"
    page.locator(".own input[value=photo]").first.check(force=True)
    assert (style(page, ".stack .photo", "filter"), style(page, ".heat", "opacity")) == ("none", "0")


def test_a_family_can_be_chosen(visit: Any) -> None:
    page = visit()
    assert page.locator(".card:visible").count() == 2 * len(LENSES)
    page.locator("input[name=family][value=cam]").check(force=True)
    assert page.locator(".card:visible").count() == 4
    page.locator("input[name=family][value='*']").check(force=True)
    assert page.locator(".card:visible").count() == 2 * len(LENSES)


def test_maps_of_several_layers_have_a_slider_over_the_input(digits: cs.Model, browser: Any, tmp_path: Path) -> None:
    layers = [name for name, part in digits.module.named_modules() if isinstance(part, torch.nn.Conv2d)]
    value = cs.grad_cam(digits, "sample:digits/3", layer=layers[:2])
    alone = cs.similarity(digits, "sample:digits/3", place="2x5")
    context = browser.new_context()
    page = context.new_page()
    page.goto(write_report([[value, alone]], tmp_path / "r.html").as_uri())
    assert page.locator(".layer-slider").count() == 1
    assert style(page, ".layer-photo", "backgroundImage") == style(page, ".stack .photo", "backgroundImage") != "none"
    page.get_by_label("Layer", exact=True).fill("0")
    assert page.locator(".layer-heat:visible").get_attribute("alt").startswith(f"{layers[0]}: Grad-CAM")
    page.get_by_label("Map", exact=True).first.press("Space")  # a click may miss it while the page still scrolls
    assert style(page, ".layer-map[data-current] .layer-photo", "opacity") == "0"
    assert page.locator(".place-mark:visible").count() == 1
    context.close()


@pytest.mark.parametrize("scheme", THEMES)
def test_light_and_dark_follow_the_reader_and_can_be_changed(visit: Any, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    other = "light" if scheme == "dark" else "dark"
    shades = {
        name: "rgb({}, {}, {})".format(*(int(t.behind[i : i + 2], 16) for i in (1, 3, 5))) for name, t in THEMES.items()
    }
    assert style(page, "body", "backgroundColor") == shades[scheme]
    page.locator("#theme").click()
    assert style(page, "body", "backgroundColor") == shades[other]


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_nothing_overflows_at_any_width(visit: Any, width: int) -> None:
    page = visit(viewport={"width": width, "height": 844})
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_script_pictures_and_words_are_there_and_no_dead_controls(visit: Any) -> None:
    page = visit(java_script_enabled=False)
    assert page.locator(".heat:visible").count() == 2 * len(LENSES)
    assert page.locator(".stack .photo:visible").count() == 2 * len(LENSES)
    assert page.get_by_text("Warm regions raise the score").first.is_visible()
    assert page.locator("input:visible, button:visible").count() == 0


def test_every_picture_is_decoded(visit: Any) -> None:
    page = visit()
    sizes = page.evaluate("[...document.images].map(image => [image.complete, image.naturalWidth])")
    assert sizes == [[True, 32]] * (2 * len(LENSES))


def test_the_keyboard_reaches_everything_and_shows_where_it_is(visit: Any) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    focused = set()
    for _ in range(24):
        page.keyboard.press("Tab")
        focused.add(
            page.evaluate("document.activeElement.name || document.activeElement.id || document.activeElement.tagName")
        )
    assert {"view", "opacity", "family", "theme", "A", "s1-1-view"} <= focused
    page.locator("#theme").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert style(page, "#theme", "outlineStyle") == "solid"


def test_on_paper_there_are_no_controls_and_the_page_is_light(visit: Any) -> None:
    page = visit(color_scheme="dark")
    page.emulate_media(media="print")
    assert page.locator("input:visible, button:visible, nav:visible").count() == 0
    assert style(page, ".card", "backgroundColor") == "rgb(255, 255, 255)"
    assert style(page, ".card", "breakInside") == "avoid"
    assert len(page.pdf(prefer_css_page_size=True)) > 10_000


@pytest.mark.parametrize("scheme", THEMES)
def test_text_stands_out_from_what_is_behind_it(scheme: str) -> None:
    theme = THEMES[scheme]
    for text in (theme.text, theme.faint, theme.warning, theme.accent):
        for behind in (theme.page, theme.behind):
            assert contrast(text, behind) >= 4.5


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2."""
    darker, lighter = sorted(luminance(colour) for colour in (first, second))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_what_runs_over_a_data_set_is_listed_as_refused_for_tokens(tmp_path: Path) -> None:
    out = cs.report(cs.load("bundled:sequence"), "sample:sequence/1", lenses=["activations"], out=tmp_path / "r.html")
    section = manifests(out.read_text("utf-8"))[1]
    assert section["refused"]["Activation statistics"].startswith(
        "activations runs over a data set, and sequence takes tokens"
    )


def test_a_sample_of_several_inputs_is_an_input_with_a_card_of_all_maps(tmp_path: Path) -> None:
    model, sample = image_and_table(), photo_and_row()
    joint: Any = cs.integrated_gradients(model, sample, steps=2)  # type: ignore[call-overload]
    text = write_report([[joint]], tmp_path / "report.html").read_text("utf-8")
    shown = Page(text)
    assert "1 input through 1 lens" in shown.text
    assert f"Explained below: {joint.target}" in shown.text
    assert "photo, table change together" in shown.text
    assert [picture["role"] for picture in shown.all("div") if "portrait" in (picture.get("class") or "")] == ["img"]
    (section,) = manifests(text)
    assert list(section["values"][0]["parts"]) == ["photo", "table"]


def test_a_report_of_a_detector_leaves_out_maps_that_may_miss_the_object() -> None:
    from convscope.reporting.collect import chosen_lenses
    from convscope.spec.tasks import TASKS

    chosen, left_out = chosen_lenses(None, TASKS.find("detection"))
    assert "layer-cam" in {spec.command for spec in chosen}
    assert not [spec.command for spec in chosen if "place" in spec.fails]
    reasons = {spec.command: why for spec, why in left_out.items()}
    assert reasons["grad-cam"].startswith("its map may miss the object: a channel has one weight")
    of_classes, others = chosen_lenses(None, TASKS.find("classification"))
    assert {*of_classes} == {*chosen, *left_out}
    assert not others
    named = chosen_lenses(["grad-cam"], TASKS.find("detection"))
    assert ([spec.command for spec in named[0]], named[1]) == (["predict", "grad-cam"], {})


def test_the_classes_of_a_segmentation_have_the_colours_of_its_picture(tmp_path: Path) -> None:
    model = cs.load("bundled:segmenter")
    text = cs.report(model, ["sample:scenes/1"], lenses=["predict"], out=tmp_path / "r.html").read_text("utf-8")
    colours = [answer.colour for answer in render.answers(cs.predict(model, "sample:scenes/1")) if answer.colour]
    assert len(colours) == 3
    assert re.findall(r'<span class="swatch" style="background: (#\w+)">', text) == colours


def test_a_text_is_written_above_its_predictions(tmp_path: Path) -> None:
    out = cs.report(cs.load("bundled:sequence"), "sample:sequence/1", lenses=["saliency"], out=tmp_path / "r.html")
    assert '<p class="input-words">we a soon the road' in out.read_text("utf-8")
