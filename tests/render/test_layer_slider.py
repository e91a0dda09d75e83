"""The slider through the maps of several layers: what it holds, and what it shows in a browser."""

import base64
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.render.layer_slider import slider_html, slider_script, slider_style
from convscope.values import Attribution
from tests.render.example_values import RECORD

SHARES = {"shared": {"early": 0.1, "late": 1}, "own": {"early": 1, "late": 1}}
"""What share of the scale the strongest place of each map reaches."""


@pytest.fixture(scope="module")
def value() -> Attribution:
    early, late = torch.zeros(4, 4), torch.zeros(8, 8)
    early[:2, :2], late[6:, 6:] = 0.1, 1.0
    photo = np.full((32, 32, 3), 128, np.uint8)
    layers = {"early": early, "late": late}
    return Attribution(values=torch.zeros(32, 32), layer_values=layers, photo=photo, record=RECORD, target="<cat>")


@pytest.fixture
def page(browser: Any, value: Attribution) -> Iterator[Any]:
    """A page with the slider and its script."""
    context = browser.new_context()
    page = context.new_page()
    page.set_content(f"<style>{slider_style()}</style>{slider_html(value)}<script>{slider_script()}</script>")
    yield page
    context.close()


def test_maps_lie_on_one_scale_and_on_their_own(value: Attribution) -> None:
    html = slider_html(value)
    heats = re.findall(r'class="layer-heat layer-(\w+)" src="data:image/png;base64,([^"]+)" alt="(\w+): ', html)
    assert [(scale, layer) for scale, _, layer in heats] == [
        (scale, layer) for layer in ("early", "late") for scale in ("shared", "own")
    ]
    for scale, source, layer in heats:
        with Image.open(io.BytesIO(base64.b64decode(source))) as heat:
            peak = int(np.asarray(heat, int).max())
        assert peak == round(127 + 127 * SHARES[scale][layer])


def test_every_map_is_described_and_names_stay_text(value: Attribution) -> None:
    html = slider_html(value)
    assert html.count("strongest “for” at the top left. Scale from −0.1 to 0.1.") == 1
    assert html.count("strongest “for” at the top left. Scale from −1 to 1.") == 1
    assert html.count("strongest “for” at the bottom right. Scale from −1 to 1.") == 2
    assert "<cat>" not in html
    assert html.count("--layer-photo: url(data:image/png") == 1


def shown(page: Any) -> list[str]:
    """The maps that are seen, by the beginning of their texts and their scales."""
    heats = page.locator(".layer-heat:visible")
    described: list[str] = heats.evaluate_all(
        "all => all.map((e) => `${e.alt.split(':')[0]} ${e.className.slice(17)}`)"
    )
    return described


def test_the_keyboard_moves_through_the_layers(page: Any) -> None:
    assert shown(page) == ["late shared"]
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert shown(page) == ["early shared"]
    assert page.locator("input[type=range]").get_attribute("aria-valuetext") == "early"
    page.get_by_label("Each layer on its own scale").check()
    assert shown(page) == ["early own"]
    page.get_by_label("Layer", exact=True).fill("1")
    assert shown(page) == ["late own"]
    page.emulate_media(media="print")
    assert shown(page) == ["early own", "late own"]


def test_without_script_all_layers_are_shown_and_no_control(browser: Any, value: Attribution) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_content(f"<style>{slider_style()}</style>{slider_html(value)}<script>{slider_script()}</script>")
    assert page.locator(".layer-heat:visible").count() == 2
    assert page.locator("input:visible").count() == 0
    context.close()
