"""The viewers in notebooks: what their frames hold, and that they run in a browser."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

import convscope as cs
from convscope.render import notebook_html
from convscope.values import AttentionMaps, Attribution


@pytest.fixture(scope="module")
def weights() -> AttentionMaps:
    return cs.attention(cs.load("bundled:pairs"), "sample:pairs/1", patch="2x6", matrix=True)


@pytest.fixture(scope="module")
def layers() -> Attribution:
    return cs.grad_cam(cs.load("bundled:shapes"), "sample:shapes/3", layer=["layer2", "layer3"])


@pytest.fixture
def frame(browser: Any, request: pytest.FixtureRequest) -> Any:
    """The page within the frame of a value, as a notebook inserts it; its requests leave the browser in an error."""
    context = browser.new_context()
    page = context.new_page()
    page.route("**/*", lambda route: route.abort())
    page.set_content(f"<div>{request.getfixturevalue(request.param)._repr_html_()}</div>")
    yield page.frame_locator("iframe")
    context.close()


@pytest.mark.parametrize("frame", ["weights"], indirect=True)
def test_a_click_enlarges_a_head_and_the_pointer_chooses_a_patch(frame: Any, weights: AttentionMaps) -> None:
    frame.locator(".attention-layer").nth(1).locator("button").nth(2).click()
    frame.locator(".attention-caption", has_text="blocks.1.attn, head 2: what patch 2x6 attends to").wait_for()
    photo = frame.locator(".attention-photo")
    box = photo.bounding_box()
    photo.hover(position={"x": box["width"] * 0.5 / 8, "y": box["height"] * 7.5 / 8})
    frame.locator(".attention-caption", has_text="what patch 7x0 attends to").wait_for()
    assert weights.record.reads in frame.locator("body").inner_text()


@pytest.mark.parametrize("frame", ["layers"], indirect=True)
def test_the_slider_goes_through_the_layers_under_the_picture(frame: Any) -> None:
    assert frame.locator(".still").evaluate("image => image.complete && image.naturalWidth > 300")
    frame.locator(".layer-controls input[type=range]").fill("0")
    assert frame.locator(".layer-map:visible").get_attribute("data-layer") == "layer2"


@pytest.mark.parametrize("frame", ["weights", "layers"], indirect=True)
def test_the_frame_is_as_high_as_its_page(frame: Any) -> None:
    hidden = "(body) => document.documentElement.scrollHeight - innerHeight"
    frame.locator("body").page.wait_for_function(
        "() => { const frame = document.querySelector('iframe'), root = frame.contentDocument.documentElement;"
        " return root.offsetHeight > 300 && Math.abs(root.offsetHeight - frame.offsetHeight) < 2; }"
    )
    assert frame.locator("body").evaluate(hidden) <= 1


def test_values_without_a_viewer_are_shown_as_pictures() -> None:
    value = cs.grad_cam(cs.load("bundled:shapes"), "sample:shapes/3")
    assert notebook_html(value) is None
    assert value._repr_html_() is None
    png, metadata = value._repr_png_()
    assert png[:4] == b"\x89PNG"
    assert metadata == {"alt": value.picture().alt}


def test_show_displays_the_value_itself_and_a_picture_where_options_are_given(
    layers: Attribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    displayed: list[Any] = []
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=displayed.append))
    layers.show()
    layers.show(limit=1.0)
    assert [type(thing).__name__ for thing in displayed] == ["Attribution", "Picture"]


def test_texts_cannot_leave_the_frame(layers: Attribution) -> None:
    from dataclasses import replace

    hostile = replace(layers, target='"></iframe><script>alert(1)</script>', target_index=None)
    html = notebook_html(hostile)
    assert html is not None
    assert html.count("<script") == 0
    assert html.count("</iframe>") == 1
