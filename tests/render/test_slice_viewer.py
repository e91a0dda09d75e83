"""The slice viewer: what it is given, and that it opens without a network or a server."""

import base64
import gzip
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.render.slice_viewer import MAX_SIDE, has_slices, viewer_html
from convscope.values import Attribution, Record

AFFINE = ((0.0, 2.0, 0.0, -5.0), (0.0, 0.0, 3.0, 7.0), (4.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 1.0))


def map_of(shape: tuple[int, ...], **record: Any) -> Attribution:
    values = torch.linspace(-1, 1, int(np.prod(shape)), device="cpu", dtype=torch.float32).reshape(shape)
    about = Record(lens="saliency", title="Saliency", asks="", reads="", **{"kind": "volume", **record})
    return Attribution(values=values, photo=values[None].numpy(), record=about)


def volume_in(html: str, name: str) -> Any:
    nibabel = pytest.importorskip("nibabel")
    packed = re.search(f'data-{name}="([^"]*)"', html)
    assert packed is not None
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(packed[1])))


def test_scan_and_map_lie_where_the_record_says() -> None:
    attribution = map_of((3, 4, 5), affine=AFFINE)
    html = viewer_html(attribution)
    stored = volume_in(html, "map")
    np.testing.assert_array_equal(stored.get_fdata(), attribution.values.numpy())
    np.testing.assert_array_equal(stored.affine, AFFINE)
    np.testing.assert_array_equal(volume_in(html, "scan").affine, AFFINE)
    assert volume_in(html, "scan").get_fdata().max() == 255
    settings = json.loads(unescape(re.search('data-settings="([^"]*)"', html)[1]))  # type: ignore[index]
    peak = np.unravel_index(np.abs(attribution.values.numpy()).argmax(), (3, 4, 5))
    np.testing.assert_allclose(settings["place"], (np.array(AFFINE) @ [*peak, 1])[:3])


def test_a_large_volume_is_averaged_and_keeps_its_place() -> None:
    attribution = map_of((2 * MAX_SIDE + 1, 2, 3), affine=AFFINE)
    stored = volume_in(viewer_html(attribution), "map")
    assert stored.shape == (86, 1, 1)
    np.testing.assert_allclose(stored.get_fdata()[1, 0, 0], attribution.values[3:6].mean(), rtol=1e-5)
    corners = [np.array(AFFINE) @ [1, 1, 1, 1], stored.affine @ [0, 0, 0, 1]]
    np.testing.assert_allclose(*corners)


def test_only_volumes_have_slices() -> None:
    assert has_slices(map_of((2, 3, 4)))
    assert not has_slices(map_of((2, 3, 4), kind="video"))
    assert not has_slices(map_of((3, 4), kind="image"))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "volume.html"
    return cs.report(cs.load("bundled:nodules"), "sample:nodules/1", lenses=["grad-cam"], out=out)


def test_it_opens_in_a_report_without_network(browser: Any, report: Path) -> None:
    page, troubles = browser.new_page(), []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else troubles.append(r.url))
    page.goto(report.as_uri())
    page.locator("[data-open-slices]").click()
    page.wait_for_selector(".slice-viewer[data-volumes='2'] canvas")
    page.close()
    assert troubles == []


def test_without_webgl_the_picture_stays_and_the_button_says_why(browser: Any, report: Path) -> None:
    page = browser.new_page()
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(report.as_uri())
    page.locator("[data-open-slices]").click()
    page.get_by_text("This browser has no WebGL2").wait_for()
    assert page.locator("img.whole").first.is_visible()
    assert page.locator(".slice-viewer canvas").count() == 0
    page.close()


def test_a_report_on_pictures_does_not_carry_the_library(tmp_path: Path) -> None:
    out = cs.report(cs.load("bundled:digits"), "sample:digits/3", lenses=["grad-cam"], out=tmp_path / "r.html")
    assert "niivue" not in out.read_text("utf-8").lower()
