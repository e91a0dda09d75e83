"""Statements of the pages are true: captions, warnings, histograms, kernels, drawings, stale results."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import convscope as cs
from convscope.engine.network.model import RANDOM_WEIGHTS
from convscope.render import format_number
from convscope.render.captions import sentence
from convscope.render.distribution import explain_histograms, layer_histogram
from convscope.web.i18n import translate
from convscope.web.pages.inside.unit_drawing import LESS, MORE
from tests.web import barriers
from tests.web.browsing import workbench
from tests.web.image_files import png

pytest.importorskip("nicegui")

TRAINED, RANDOM = "bundled:shapes", "bundled:shapes?weights=none"
RANDOM_IN_LINKS = "bundled:shapes%3Fweights%3Dnone"
RANDOM_SAID = sentence(RANDOM_WEIGHTS[0])


GATED = """
from pathlib import Path
import torch
import convscope as cs

class Gated(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.fc = torch.nn.Linear(4, 3)

    def forward(self, x):
        barrier = Path(__file__).with_name("barrier")
        if barrier.exists():
            barrier.read_bytes()
        return self.fc(self.conv(x).relu().mean((2, 3)))

def gated():
    return cs.Model(Gated(), input=cs.ImageInput(size=24), labels=["cat", "dog", "cow"])

def nameless():
    return cs.Model(Gated(), input=cs.ImageInput(size=24))

def numbered():
    return cs.Model(Gated(), input=cs.ImageInput(size=24), labels=["1", "2", "0"])
"""
"""Networks whose forward pass waits at a barrier (`tests.web.barriers`): with labels, without, and with numbers."""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The barrier that blocks the forward pass of the networks in `GATED`."""
    folder = tmp_path_factory.mktemp("gated")
    (folder / "gated.py").write_text(GATED)
    return folder / "barrier"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Iterator[str]:
    """A workbench with a network of random weights, gated networks, and two folders with a file of the same name."""
    folders: list[Path] = []
    for seed, name in enumerate(("first", "second")):
        folders.append(tmp_path_factory.mktemp(name))
        (folders[-1] / "cat.png").write_bytes(png(seed=seed))
    models = [TRAINED, RANDOM, *(f"{gate.parent / 'gated.py'}:{name}" for name in ("gated", "nameless", "numbered"))]
    try:
        with workbench(models=models, folders=[str(item) for item in folders]) as server:
            yield server.address
    finally:
        barriers.release(gate)


def test_exemplar_without_label_has_its_value_as_caption(visit: Any) -> None:
    page = visit("/inside?image=folder:0/cat.png&images=folder:0&layer=layer1&unit=layer1%5B3%5D")
    page.wait_for_selector(".unit .crops figcaption")
    captions = page.locator(".unit .crops figcaption").all_inner_texts()
    assert captions
    assert all(re.fullmatch(r"−?[\d.]+(·10\S+)?", item) for item in captions), captions


def test_different_pins_have_different_captions(visit: Any) -> None:
    shared = "lens=integrated-gradients&target=3"
    queries = [
        f"{shared}&model=bundled:shapes&image=folder:0/cat.png&p.steps=2",
        f"{shared}&model=bundled:shapes&image=folder:0/cat.png&p.steps=3",
        f"{shared}&model=bundled:shapes&image=folder:1/cat.png&p.steps=2",
        f"{shared}&model={RANDOM_IN_LINKS}&image=folder:0/cat.png&p.steps=2",
    ]
    pinned = "&".join("pinned=" + item.replace("%", "%25").replace("&", "%26") for item in queries)
    page = visit(f"/look?lens=saliency&{pinned}")
    page.wait_for_function("() => document.querySelectorAll('[data-pinned] .heat').length === 4")
    captions = page.locator("[data-pinned] .small").all_inner_texts()
    assert len(set(captions)) == len(queries), captions
    assert sum(RANDOM in item for item in captions) == 1


def test_histogram_matches_its_description(visit: Any) -> None:
    layer = "layer3.0.relu"
    page = visit(f"/inside?image=sample:shapes/7&layer={layer}")
    page.wait_for_selector(".maps img")
    page.get_by_role("tab", name="Distribution").click()
    page.wait_for_selector(".module svg.histogram")
    value = cs.activations(cs.load(TRAINED), "sample:shapes/7", layer=layer)
    ridge = layer_histogram(value, layer)
    assert ridge.at_zero > 0.5, "a layer with many zeros"
    bar, base = page.locator(".module svg.histogram rect"), page.locator(".module svg.histogram > line")
    assert float(bar.get_attribute("height")) / float(base.first.get_attribute("y1")) == pytest.approx(
        value[layer].zeros, abs=0.01
    )
    words = page.inner_text(".module")
    assert ridge.outside > 0
    for explanation in explain_histograms(ridge.outside):
        assert explanation in words
    assert any("square root" in explanation for explanation in explain_histograms(ridge.outside))


OF_RANDOM_WEIGHTS = {
    f"/look?lens=saliency&model={RANDOM_IN_LINKS}&image=sample:shapes/7": ".card .heat",
    f"/inside?model={RANDOM_IN_LINKS}&image=sample:shapes/7": ".maps img",
    f"/learned?model={RANDOM_IN_LINKS}": ".empty .chip",
    f"/compare?lens=saliency&image=sample:shapes/7&model={TRAINED}&beside={RANDOM_IN_LINKS}": ".gallery .heat",
}
"""Links to pages about the network of random weights, and a selector that exists once the page is complete."""


def test_random_weights_warning_names_the_network(visit: Any) -> None:
    for link, ready in OF_RANDOM_WEIGHTS.items():
        page = visit(link, lang="zh")
        page.wait_for_selector(ready)
        page.get_by_text(f"{RANDOM} · {translate(RANDOM_SAID, 'zh')}", exact=True).wait_for()
        assert page.get_by_text(f"{TRAINED} · ").count() == 0, link


def test_notes_on_compare_are_shown_at_their_cell(visit: Any) -> None:
    page = visit(f"/compare?lens=saliency&image=sample:shapes/7&model={TRAINED}&beside={RANDOM_IN_LINKS}")
    page.wait_for_function("() => document.querySelectorAll('.gallery .heat').length === 2")
    texts = {card.locator("h2").inner_text(): card.inner_text() for card in page.locator(".gallery article").all()}
    assert [RANDOM_SAID in words for words in texts.values()] == [RANDOM in title for title in texts], texts


def faint(page: Any, *selectors: str) -> None:
    """Wait until every element at each selector is dimmed."""
    for selector in selectors:
        page.wait_for_selector(selector)
        page.wait_for_function(
            "at => [...document.querySelectorAll(at)].every(one => getComputedStyle(one.closest('.busy') ?? one)"
            ".opacity < 0.6)",
            arg=selector,
        )


def gated(gate: Path) -> str:
    return urlencode({"model": f"{gate.parent / 'gated.py'}:gated"})


def test_results_of_an_earlier_image_are_marked_stale(visit: Any, gate: Path) -> None:
    page = visit(f"/look?lens=saliency&image=sample:shapes/7&{gated(gate)}")
    page.wait_for_selector(".card .heat")
    page.wait_for_selector(".portrait")
    page.wait_for_function("() => !document.querySelector('.busy')")
    barriers.block(gate)
    page.locator("button.thumb[aria-label='sample:shapes/3']").click()
    faint(page, "h1", ".answers-box", ".card .heat", ".card .words")
    barriers.release(gate)
    page.wait_for_function("() => !document.querySelector('.busy')")
    assert page.locator(".answers-box .answer").count() == 3


def sent(page: Any, file: Path) -> Any:
    """The intercepted upload request of a file; by then the results are marked stale."""
    file.write_bytes(png(seed=5))
    routes: list[Any] = []  # they are kept, not waited for: a handler that waits would hold up the whole page
    page.route("**/upload/*", lambda route: routes.append(route))
    page.wait_for_selector(".card .heat")
    page.wait_for_selector(".portrait")
    page.wait_for_function("() => !document.querySelector('.busy')")
    with page.expect_request("**/upload/*"):
        page.locator("input[type=file]").set_input_files(file)
    faint(page, "h1", ".answers-box", ".card .heat", ".card .words", ".portrait")
    return routes.pop()


UPLOADING = f"/look?lens=saliency&image=sample:shapes/7&model={TRAINED}"


def test_results_are_marked_stale_during_an_upload(visit: Any, tmp_path: Path) -> None:
    page = visit(UPLOADING)
    sent(page, tmp_path / "own.png").continue_()
    page.wait_for_url("**image=upload%3A**")
    page.wait_for_function("() => !document.querySelector('.busy')")
    page.locator("img.portrait[alt='own.png']").wait_for()


def test_failed_upload_restores_the_results(browser: Any, address: str, tmp_path: Path) -> None:
    page = browser.new_page()  # whose console tells of the request that failed
    page.goto(address + UPLOADING)
    sent(page, tmp_path / "own.png").abort()
    page.locator(".q-notification").get_by_text("This file could not be sent.").wait_for()
    page.wait_for_function("() => !document.querySelector('.busy')")
    assert "image=sample" in page.url
    page.close()


def test_class_range_is_checked_without_labels(visit: Any, gate: Path) -> None:
    nameless = urlencode({"model": f"{gate.parent / 'gated.py'}:nameless", "image": "sample:shapes/7"})
    page = visit(f"/look?lens=saliency,lrp&target=3&{nameless}")
    page.wait_for_function("() => document.querySelectorAll('.card .heat').length === 2")
    page.locator(".q-field--error").get_by_text("class 3 is out of range: the output has 3 classes").wait_for()
    assert page.locator(".refusal").count() == 0


def test_picked_class_is_used_even_if_a_label_equals_its_index(visit: Any, gate: Path) -> None:
    numbered = urlencode({"model": f"{gate.parent / 'gated.py'}:numbered", "image": "sample:shapes/7"})
    page = visit(f"/look?lens=saliency&{numbered}")
    page.wait_for_selector("button.answer")
    page.locator("button.answer").nth(1).click()
    wanted = page.locator("button.answer").nth(1).locator(".name").inner_text()
    page.wait_for_selector("h1:has-text('What supports')")
    page.wait_for_function("() => !document.querySelector('.busy')")
    assert page.locator("button.answer.chosen .name").inner_text() == wanted
    assert wanted in page.locator("article.card").inner_text()


def test_inside_marks_stale_results(visit: Any, gate: Path) -> None:
    page = visit(f"/inside?image=sample:shapes/7&layer=conv&unit=conv%5B1%5D&{gated(gate)}")
    page.wait_for_selector(".maps img")
    page.wait_for_selector(".unit .part-sums [data-value]")
    page.wait_for_function("() => !document.querySelector('.busy')")
    barriers.block(gate)
    page.locator("button.thumb[aria-label='sample:shapes/3']").click()
    faint(page, ".maps img")
    assert page.locator(".unit .part-sums [data-value]").count() == 0
    barriers.release(gate)
    page.wait_for_function("() => !document.querySelector('.busy')")
    page.wait_for_selector(".maps img")


def test_compare_marks_stale_results(visit: Any, gate: Path) -> None:
    page = visit(f"/compare?lens=saliency&image=sample:shapes/7&beside=sample:shapes/8&{gated(gate)}")
    page.wait_for_selector(".apart .heat")
    page.wait_for_function("() => !document.querySelector('.busy')")
    barriers.block(gate)
    page.get_by_role("button", name="sample:shapes/4", exact=True).click()
    faint(page, ".gallery .heat", ".apart .heat", ".words .reads")
    barriers.release(gate)
    page.wait_for_function("() => document.querySelectorAll('.gallery .heat').length === 3")
    page.wait_for_function("() => !document.querySelector('.busy')")


def test_kernels_of_a_unit_are_sorted_by_norm(visit: Any) -> None:
    layer, unit = "layer2.0.conv1", 7
    page = visit(f"/inside?image=sample:shapes/7&layer={layer}&unit={layer}%5B{unit}%5D")
    page.wait_for_selector(".unit .slices figure")
    weights = cs.kernels(cs.load(TRAINED), layer=layer).weights[layer]
    strongest = weights[unit].flatten(1).norm(dim=1).argsort(descending=True, stable=True)[:16].tolist()
    channels = page.locator(".unit .slices figure").evaluate_all("all => all.map(one => Number(one.dataset.channel))")
    assert channels == strongest
    assert f"16 of {weights.shape[1]} kernels" in page.inner_text(".unit .part-kernel")
    assert page.locator(".unit .part-kernel .ramp").count() == 1
    page.get_by_role("tab", name="Kernels").click()
    page.wait_for_selector('.maps img[alt^="Kernel"]')
    assert "first principal component over input channels" in page.inner_text(".module")
    assert page.locator(".module .ramp").count() == 1


def measured(unit: str) -> tuple[float, float]:
    """The largest activation of a unit on its optimized picture, and on the best image."""
    model, (layer, _, number_of) = cs.load(TRAINED), unit.removesuffix("]").partition("[")
    pictures = cs.activation_maximization(model, unit=unit, steps=64)
    maps = cs.feature_maps(model, pictures.values[:1], layer=layer, channels=0)
    reached = float(maps.maps[layer][maps.channels[layer].index(int(number_of))].max())
    return reached, cs.top_inputs(model, "sample:shapes/0-99", unit=unit, k=1)[unit][0].value


@pytest.mark.parametrize(
    ("unit", "sentence", "lang"), [("layer1[1]", MORE, "en"), ("layer1[0]", LESS, "zh")]
)
def test_drawing_is_compared_with_the_strongest_image(visit: Any, unit: str, sentence: str, lang: str) -> None:
    reached, best = measured(unit)
    assert (reached > best) == (sentence == MORE), "the unit stands for one of the outcomes"
    page = visit(f"/inside?{urlencode({'image': 'sample:shapes/7', 'layer': 'layer1', 'unit': unit})}", lang=lang)
    page.wait_for_selector(".unit .crops figure")
    page.click(".unit .part-drawn .q-select")
    page.get_by_role("option", name="64", exact=True).click()
    page.click(".unit button.draw")
    page.get_by_text(
        translate(sentence, lang, reached=format_number(reached), best=format_number(best)), exact=True
    ).wait_for()
    assert translate("Finished.", lang) in page.locator(".unit .drawing .result").inner_text()


def test_drawing_is_compared_only_once_finished_and_for_its_unit(visit: Any) -> None:
    page = visit(f"/inside?{urlencode({'image': 'sample:shapes/7', 'layer': 'layer1', 'unit': 'layer1[0]'})}")
    page.wait_for_selector(".unit .crops figure")
    page.click(".unit .part-drawn .q-select")
    page.get_by_role("option", name="1024", exact=True).click()
    page.click(".unit button.draw")
    page.wait_for_selector(".unit .drawing .picture img")
    assert page.get_by_text("than the best known image").count() == 0
    page.get_by_label("Next unit").click()
    page.wait_for_selector('.unit h2:text-is("layer1[1]")')
    page.wait_for_selector(".unit .crops figure")
    assert page.locator(".unit button.draw").is_visible()
    assert page.locator(".unit .drawing .picture img").count() == 0
    assert page.get_by_text("than the best known image").count() == 0


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_parameter_value_and_unit_are_both_visible(visit: Any, lang: str) -> None:
    link = {"model": TRAINED, "image": "sample:shapes/3", "lens": "smooth-grad", "p.samples": "2"}
    page = visit(f"/look?{urlencode(link)}", lang=lang, viewport={"width": 420, "height": 900})
    card = page.locator("article.card").first
    card.get_by_text(translate("Parameters", lang), exact=True).first.click()
    unit = card.get_by_text(translate("fraction of the image's range", lang), exact=True)
    unit.first.wait_for()
    for field in card.locator("input[type=number]").all():
        assert field.evaluate("input => input.scrollWidth <= input.clientWidth")
        assert field.evaluate("input => input.clientWidth > 60")
    assert card.locator(".q-field__suffix").count() == 0


def test_thumbnails_have_one_height(visit: Any) -> None:
    page = visit(f"/compare?{urlencode({'model': TRAINED, 'image': 'sample:shapes/3'})}")
    page.locator(".thumb img").first.wait_for()
    heights = page.locator(".thumb").evaluate_all("buttons => buttons.map(b => Math.round(b.offsetHeight))")
    assert len(heights) > 3
    assert len(set(heights)) == 1, heights
