"""Inside, in a real browser: from the graph to a layer, a unit, one value, and a live drawing."""

import re
from typing import Any

import numpy as np
import pytest

import convscope as cs
from convscope.engine.layers.default_layer import layers_to_default
from convscope.values import FeatureMaps
from convscope.web.pages.inside.evidence_tab import MOST_LAYERS


@pytest.fixture
def inside(visit: Any) -> Any:
    """Opens the page at a link and waits for the graph."""

    def opened(query: str = "", **options: Any) -> Any:
        page = visit(f"/inside?{query}", **options)
        page.wait_for_selector("svg.graph .chosen")
        return page

    return opened


UNIT = "model=bundled:shapes&image=sample:shapes/7&layer=layer2.0.conv1&unit=layer2.0.conv1%5B7%5D"


def test_select_a_unit_from_the_graph(inside: Any) -> None:
    page = inside()
    page.click('svg.graph [data-node]:has-text("layer1.1")')
    page.wait_for_selector('.module h2:text-is("layer1.1")')
    facts = page.inner_text(".module dl.told")
    assert "24×48×48" in facts
    assert "21×21" in facts
    page.wait_for_selector('.maps[data-layer="layer1.1"] img')
    assert page.locator(".maps [data-unit]").count() == 24
    chosen = page.get_attribute(".maps [data-unit] >> nth=2", "data-unit")
    page.click(".maps [data-unit] >> nth=2")
    page.wait_for_selector(f'.unit h2:text-is("layer1.1[{chosen}]")')
    page.wait_for_selector(".unit .crops figure")
    page.wait_for_url("**layer=layer1.1*")
    page.wait_for_url(f"**unit=layer1.1%5B{chosen}%5D**")


def test_feature_maps_of_a_clicked_layer_are_shown(inside: Any) -> None:
    page = inside()
    page.wait_for_selector(".maps img")
    page.click('svg.graph [data-node]:has-text("layer2.1")')
    page.wait_for_selector('.module h2:text-is("layer2.1")')
    page.wait_for_selector('.maps[data-layer="layer2.1"] img')


def test_modules_unfold_and_fold_by_keyboard(inside: Any) -> None:
    page = inside()
    before = page.locator("svg.graph [data-node]").count()
    page.focus('svg.graph [data-open="layer2.0"]')
    page.keyboard.press("Enter")
    page.wait_for_selector('svg.graph [data-fold="layer2.0"]')
    assert page.locator("svg.graph [data-node]").count() > before
    page.wait_for_function("document.activeElement.dataset.fold === 'layer2.0'")
    page.keyboard.press("Enter")
    page.wait_for_selector('svg.graph [data-open="layer2.0"]')
    assert page.locator("svg.graph [data-node]").count() == before


def test_arithmetic_gives_the_networks_value(inside: Any) -> None:
    page = inside(UNIT)
    page.wait_for_selector(".unit .part-sums [data-value]")
    page.wait_for_selector(".unit .pick .pick, .unit button.pick")
    box = page.locator(".unit button.pick").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 10.5 / 24, box["y"] + box["height"] * 12.5 / 24)
    page.wait_for_selector('.unit .result b:has-text("layer2.0.conv1[7, 12, 10]")')
    model = cs.load("bundled:shapes")
    layer = cs.feature_maps(model, "sample:shapes/7", layer="layer2.0.conv1", channels=0)
    place = layer.channels["layer2.0.conv1"].index(7)
    own = float(layer.maps["layer2.0.conv1"][place, 12, 10])
    assert float(page.get_attribute(".unit .part-sums [data-value]", "data-value")) == pytest.approx(own, abs=1e-4)
    assert float(page.get_attribute(".unit .network >> nth=0", "data-network")) == pytest.approx(own, abs=1e-4)
    page.wait_for_url("**unit=layer2.0.conv1%5B7%2C+12%2C+10%5D**")
    field = cs.receptive_field(model, "sample:shapes/7", unit="layer2.0.conv1[7, 12, 10]")
    frame = page.get_attribute(".unit .under .frame-box", "data-box")
    assert frame == ",".join(str(edge) for pair in field.box for edge in pair)
    page.focus(".unit button.pick")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector('.unit .result b:has-text("layer2.0.conv1[7, 12, 11]")')


def test_link_opens_the_same_unit(inside: Any) -> None:
    page = inside(UNIT + "%2C+not")
    page.wait_for_selector(".maps img")
    page.goto(page.url.partition("?")[0] + "?" + UNIT.replace("%5B7%5D", "%5B7,+3,+4%5D"))
    page.wait_for_selector('.unit .result b:has-text("layer2.0.conv1[7, 3, 4]")')


def test_kernel_and_distribution_tabs(inside: Any) -> None:
    page = inside(UNIT)
    page.get_by_role("tab", name="Kernels").click()
    page.wait_for_selector('.maps img[alt^="Kernel"]')
    assert page.locator(".maps [data-unit]").count() == 48
    page.get_by_role("tab", name="Distribution").click()
    page.wait_for_selector(".module svg.histogram")
    assert re.search(r"Dead units\s+0 / 48", page.inner_text(".module table.numbers"))


def test_drawing_is_shown_and_cancelled_while_the_page_responds(inside: Any) -> None:
    page = inside("model=bundled:shapes&image=sample:shapes/7&layer=layer1.0.conv1&unit=layer1.0.conv1%5B7%5D")
    page.wait_for_selector(".unit .crops figure")
    page.click(".unit .part-drawn .q-select")
    page.get_by_role("option", name="1024").click()
    page.click(".unit button.draw")
    page.wait_for_selector(".unit .drawing .picture img")
    page.wait_for_selector(".unit svg.curve polyline")
    page.get_by_role("tab", name="Kernels").click()
    page.wait_for_selector('.maps img[alt^="Kernel"]')
    assert page.is_visible(".unit button.cancel")  # the drawing goes on
    page.click(".unit button.cancel")
    page.wait_for_selector('.unit .drawing .result:has-text("Stopped.")')
    assert page.is_visible(".unit button.draw")
    assert not page.is_visible(".unit button.cancel")


def test_drawing_stops_when_another_unit_is_selected(inside: Any) -> None:
    page = inside("model=bundled:shapes&image=sample:shapes/7&layer=layer1.0.conv1&unit=layer1.0.conv1%5B8%5D")
    page.wait_for_selector(".unit .crops figure")
    page.click(".unit button.draw")
    page.wait_for_selector(".unit .drawing .picture img")
    page.get_by_role("button", name="Next unit").click()
    page.wait_for_selector('.unit h2:text-is("layer1.0.conv1[9]")')
    page.wait_for_selector(".unit button.draw")
    assert not page.is_visible(".unit button.cancel")
    page.click(".unit .part-drawn .q-select")
    page.get_by_role("option", name="64", exact=True).click()
    page.click(".unit button.draw")
    page.wait_for_selector('.unit .drawing .result:has-text("Finished.")')


def test_narrow_windows(inside: Any) -> None:
    page = inside(UNIT, viewport={"width": 390, "height": 844})
    page.wait_for_selector(".unit .crops figure")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_feature_maps_can_be_downloaded(inside: Any, tmp_path: Any) -> None:
    page = inside(UNIT)
    page.wait_for_selector('.maps[data-layer="layer2.0.conv1"] img')
    with page.expect_download() as waiting:
        page.locator(".module").get_by_role("button", name="Numbers .npz").click()
    waiting.value.save_as(tmp_path / "maps.npz")
    downloaded = FeatureMaps.load(tmp_path / "maps.npz").maps["layer2.0.conv1"]
    own = cs.feature_maps(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer2.0.conv1").maps["layer2.0.conv1"]
    assert np.allclose(downloaded, own, atol=1e-5)


def test_a_patch_shows_what_it_attends_to(inside: Any) -> None:
    """The page draws what the lens gives for the patch under the pointer; the link keeps the patch that is clicked."""
    page = inside("model=bundled:pairs&image=sample:shapes/7&layer=blocks.1.attn")
    page.get_by_role("tab", name="Attention").click()
    photo = page.locator(".attention-photo")
    photo.scroll_into_view_if_needed()
    page.get_by_text("blocks.1.attn, head 0: what the class token attends to").wait_for()
    assert page.locator(".attention-layer").count() == 3
    page.locator(".attention-layer").nth(2).get_by_role("button").nth(3).click()
    page.get_by_text("blocks.2.attn, head 3: what the class token attends to").wait_for()
    slider = page.get_by_role("slider", name="Layer", exact=True)
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("blocks.1.attn, head 3: what the class token attends to").wait_for()
    page.keyboard.press("ArrowRight")
    page.get_by_text("blocks.2.attn, head 3: what the class token attends to").wait_for()
    photo.scroll_into_view_if_needed()  # the click on the tile has scrolled the column
    box = photo.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 5.5 / 8, box["y"] + box["height"] * 3.5 / 8)
    page.get_by_text("blocks.2.attn, head 3: what patch 3x5 attends to").wait_for()
    own = cs.attention(cs.load("bundled:pairs"), "sample:shapes/7", patch="3x5").maps["blocks.2.attn"][3]
    shown = np.array(page.evaluate(ALPHA_OF_THE_ENLARGED_PICTURE))
    assert np.argmax(shown) == int(own.argmax())
    assert np.corrcoef(shown, own.flatten())[0, 1] > 0.9
    page.mouse.down()
    page.mouse.up()
    page.wait_for_url("**p.patch=3x5**")
    page.mouse.move(0, 0)
    page.get_by_role("button", name="what attends to it").click()
    page.get_by_text("blocks.2.attn, head 3: what attends to patch 3x5").wait_for()
    page.wait_for_url("**p.direction=to**")  # the server writes the link after the browser has changed the picture
    page.reload()
    page.get_by_text("blocks.1.attn, head 0: what attends to patch 3x5").wait_for()
    assert page.get_by_role("tab", name="Attention").get_attribute("aria-selected") == "true"


ALPHA_OF_THE_ENLARGED_PICTURE = """async () => {
  const picture = document.querySelector('.attention-heat');
  await picture.decode();
  const canvas = Object.assign(document.createElement('canvas'), {width: 8, height: 8});
  const context = canvas.getContext('2d');
  context.drawImage(picture, 0, 0);
  return [...context.getImageData(0, 0, 8, 8).data].filter((_, index) => index % 4 === 3);
}"""


def test_a_slider_shows_how_the_evidence_builds_up(inside: Any) -> None:
    page = inside("model=bundled:shapes&image=sample:shapes/7&layer=layer2.0.conv1&tab=evidence&lens=grad-cam")
    page.wait_for_selector(".layer-slider")
    model = cs.load("bundled:shapes")
    layers = layers_to_default(model, model.prepare("sample:shapes/7").tensor, MOST_LAYERS)
    shown = page.locator(".layer-map").evaluate_all("all => all.map(one => one.dataset.layer)")
    assert shown == list(layers)
    page.get_by_role("slider", name="Layer", exact=True).focus()
    page.keyboard.press("Home")
    assert page.locator(".layer-heat:visible").get_attribute("alt").startswith(f"{layers[0]}: Grad-CAM")
    page.locator(".module .q-select").click()
    page.get_by_role("option", name="LayerCAM", exact=True).click()
    page.wait_for_url("**lens=layer-cam**")
    page.wait_for_selector('.layer-heat[alt*="LayerCAM"]', state="attached")


def test_a_network_without_attention_has_no_tab_for_it(inside: Any) -> None:
    page = inside(UNIT)
    page.get_by_role("tab", name="Kernels").wait_for()
    assert not page.get_by_role("tab", name="Attention").is_visible()


def test_typed_words_are_examined_in_every_tab(inside: Any) -> None:
    page = inside("model=bundled:sequence&image=text:we+drive&layer=gru&unit=gru%5B3%5D&tab=evidence")
    page.wait_for_selector(".evidence img")
    page.get_by_label("Or type words").fill("now right and wait")
    page.keyboard.press("Enter")
    page.wait_for_selector(".unit .tokens span:text-is('wait')")
    page.wait_for_url("**image=text%3Anow**")
    page.get_by_text("Feature maps", exact=True).click()
    page.wait_for_selector(".maps[data-layer='gru'] img")
    assert page.locator(".trouble", has_text="no image").count() == 0
