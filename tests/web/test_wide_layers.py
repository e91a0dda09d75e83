"""A layer with thousands of channels: paging reaches the last map and the last kernel."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.web import barriers
from tests.web import wide_network as wide
from tests.web.browsing import workbench
from tests.web.image_files import picture_file
from tests.web.wide_network import CHANNELS

pytest.importorskip("nicegui")

SIZE, PICTURES = 256, 70


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network's file, in a temporary folder with a barrier for its kernels."""
    file = Path(shutil.copy(wide.__file__, tmp_path_factory.mktemp("wide")))
    barriers.block(file.with_name("barrier"))
    return file


@pytest.fixture(scope="module")
def address(network: Path) -> Iterator[str]:
    """The address of a workbench with that network."""
    pictures = network.parent / "pictures"
    pictures.mkdir()
    for number in range(PICTURES):
        picture_file(pictures / f"{number}.png")
    with workbench(models=[f"{network}:wide"], folders=[str(pictures)]) as server:
        yield server.address
    barriers.release(network.with_name("barrier"))


@pytest.fixture
def inside(visit: Any, network: Path) -> Any:
    """Opens the page at a layer of the network."""

    def opened(lang: str = "en", **link: str) -> Any:
        named = {"model": f"{network}:wide", "image": "sample:shapes/7", "layer": "conv", **link}
        return visit(f"/inside?{urlencode(named)}", lang)

    return opened


def units(page: Any) -> list[int]:
    """The units whose tiles are shown."""
    numbers: list[str] = page.eval_on_selector_all(".module .maps [data-unit]", "all => all.map(o => o.dataset.unit)")
    return [int(number) for number in numbers]


def test_paging_reaches_the_last_channel(inside: Any) -> None:
    page = inside()
    page.get_by_text("32 / 2,048 channels, the largest mean magnitude first").wait_for()
    page.get_by_role("button", name="Show all").click()
    page.get_by_text("1–256 of 2,048 channels, the largest mean magnitude first").wait_for()
    assert page.get_by_role("button", name="Previous page").is_disabled()
    listed_units = units(page)
    for first in range(SIZE, CHANNELS, SIZE):
        page.get_by_role("button", name="Next page").click()
        page.get_by_text(
            f"{first + 1:,}–{first + SIZE:,} of 2,048 channels, the largest mean magnitude first"
        ).wait_for()
        listed_units += units(page)
    assert sorted(listed_units) == list(range(CHANNELS))
    assert page.get_by_role("button", name="Next page").is_disabled()
    page.wait_for_function("location.search.includes('page=8')")
    page.get_by_role("button", name="Previous page").click()
    page.get_by_text("1,537–1,792 of 2,048").wait_for()


def test_page_of_kernels_is_in_the_link(inside: Any) -> None:
    page = inside(tab="kernels", page="8")
    page.get_by_text("1,793–2,048 of 2,048 kernels, by number").wait_for()
    assert units(page) == list(range(CHANNELS - SIZE, CHANNELS))
    page.get_by_role("button", name="Previous page").click()
    page.get_by_text("1,537–1,792 of 2,048 kernels").wait_for()
    page.wait_for_function("location.search.includes('page=7')")
    page.reload()
    page.get_by_text("1,537–1,792 of 2,048 kernels").wait_for()
    page.get_by_role("tab", name="Feature maps").click()
    page.get_by_text("32 / 2,048 channels").wait_for()
    page.wait_for_function("!location.search.includes('page=')")  # the link follows what is shown


def test_unknown_page_number_is_reported(inside: Any) -> None:
    page = inside(tab="kernels", page="9")
    page.get_by_text("There is no page 9 here. This is page 8 of 8.").wait_for()
    page = inside(page="0")
    page.get_by_text("There is no page 0 here. This is page 1 of 8.").wait_for()
    page = inside(tab="pictures")
    page.get_by_text("There is no tab pictures here.").wait_for()


def test_last_unit_has_a_kernel(inside: Any) -> None:
    page = inside(unit=f"conv[{CHANNELS - 1}]")
    page.wait_for_selector(".unit .part-kernel .in-colour img")


def test_unit_without_kernel_shows_the_reason(inside: Any) -> None:
    page = inside(layer="relu", unit="relu[5]")
    page.locator(".part-kernel").get_by_text("layer 'relu' is a ReLU, which has no kernels: choose").wait_for()


def test_maps_are_cleared_while_kernels_are_computed(inside: Any, network: Path) -> None:
    page = inside(layer="held")
    page.wait_for_selector('.maps[data-layer="held"] img')
    page.get_by_role("tab", name="Kernels").click()
    try:
        page.locator(".module").get_by_text("Computing …").wait_for()
        assert page.get_by_role("tab", name="Kernels").get_attribute("aria-selected") == "true"
        assert units(page) == []
    finally:
        barriers.release(network.with_name("barrier"))
    page.get_by_text("1–8 of 8 kernels").wait_for()
    assert units(page) == list(range(8))


def test_paging_is_translated(inside: Any) -> None:
    page = inside("zh", page="8")
    page.get_by_text("共 2,048 个通道").wait_for()


@pytest.mark.parametrize("path", ["/inside", "/compare"])
def test_all_images_can_be_listed(visit: Any, path: str) -> None:
    page = visit(path)
    page.get_by_role("button", name="All images").click()
    page.get_by_role("button", name="All images").wait_for(state="detached")
    page.locator(".thumb").nth(PICTURES - 1).wait_for()


@pytest.mark.parametrize("path", ["/look", "/compare"])
def test_incomplete_suggestions_are_announced(visit: Any, path: str) -> None:
    page = visit(f"{path}?lens=grad-cam")
    page.get_by_text("The first 2,000 of 2,100 are suggested; the others can be typed.").wait_for()


def test_too_many_pins_in_a_link_are_reported(visit: Any) -> None:
    pinned = [urlencode({"lens": "saliency", "image": "sample:shapes/1", "target": n}) for n in range(13)]
    page = visit(f"/look?{urlencode({'lens': 'saliency', 'image': 'sample:shapes/1', 'pinned': pinned}, doseq=True)}")
    page.get_by_text("The link pins 13 maps; the first 12 are shown.").wait_for()
