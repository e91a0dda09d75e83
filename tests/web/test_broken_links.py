"""Links with unknown names: the page opens, shows the error messages of Python, and goes on with the valid names."""

import json
import re
import socket
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from convscope.web.api import API_PREFIX
from convscope.web.frame.page_registry import pages
from tests.waiting import TIMEOUT

pytest.importorskip("nicegui")

HERE = "model=bundled:shapes&image=sample:shapes/3"
NO_LENS = "no lens 'nothing'"
NO_LAYER = "no layer 'layer9' in shapes; did you mean 'layer3'?"
NO_IMAGE = "no image 'upload:x' here: pick one that is listed, or upload it again"
NO_MODEL = "no model 'bundled:nothing' here"
DRAW = "/learned?lens=activation-maximization&unit=layer2%5B15%5D"

SAID = {
    f"/look?{HERE}&lens=nothing": NO_LENS,
    f"/look?{HERE}&lens=structure": "The lens structure is not on this page.",
    f"/look?{HERE}&lens=grad-cam&layer=layer9": NO_LAYER,
    f"/look?{HERE}&lens=grad-cam&target=nothing": "no label 'nothing' in shapes",
    f"/look?{HERE}&lens=grad-cam&p.nothing=1": "grad-cam has no parameter 'nothing'",
    f"/look?{HERE}&p.nothing=1": "No lens on this page has the link's parameter nothing.",
    f"/look?{HERE}&lens=smooth-grad&p.smooth-grad.samples=many": "samples must be a whole number, got 'many'",
    f"/look?{HERE}&lens=smooth-grad&p.samples=0": "samples must be 1 to 4096, got 0",
    f"/look?{HERE}&lens=lrp&p.lrp.composite=bogus": "composite must be epsilon-plus",
    "/look?image=upload:x": NO_IMAGE,
    "/look?model=bundled:nothing": NO_MODEL,
    f"/inside?{HERE}&layer=layer9": NO_LAYER,
    f"/inside?{HERE}&unit=layer9[1]": NO_LAYER,
    f"/inside?{HERE}&layer=layer2&unit=layer2[999]": "no unit layer2[999]: 'layer2' has units 0 to 47",
    f"/inside?{HERE}&layer=layer2&unit=layer2[[": "layer2[[",
    f"/inside?{HERE}&images=folder:9": "no collection 'folder:9' here",
    "/inside?image=upload:x": NO_IMAGE,
    "/inside?model=%00": "no model '\\x00' here",
    "/learned?lens=nothing": NO_LENS,
    "/learned?lens=style-transfer&image=upload:x&style=sample:shapes/1": NO_IMAGE,
    "/learned?model=bundled:nothing": NO_MODEL,
    "/learned?images=folder:9": "no collection 'folder:9' here",
    f"{DRAW}&p.steps=many": "steps must be a whole number, got 'many'",
    f"{DRAW}&p.steps=0": "steps must be 1 to 4096, got 0",
    "/learned?lens=activation-maximization&unit=layer9[1]": NO_LAYER,
    f"/compare?{HERE}&lens=nothing": NO_LENS,
    f"/compare?{HERE}&lens=grad-cam&layer=layer9": NO_LAYER,
    f"/compare?{HERE}&lens=grad-cam&p.nothing=1": "grad-cam has no parameter 'nothing'",
    f"/compare?{HERE}&lens=smooth-grad&p.samples=many": "samples must be a whole number, got 'many'",
    f"/compare?{HERE}&lens=lrp&p.composite=bogus": "composite must be epsilon-plus",
    f"/compare?{HERE}&lens=grad-cam&beside=bundled:nothing": NO_MODEL,
    f"/compare?{HERE}&lens=grad-cam&beside=upload:x": NO_IMAGE,
}


@pytest.mark.parametrize("path", [page.path for page in pages()])
def test_every_page_reports_unknown_names_in_its_link(visit: Any, address: str, path: str) -> None:
    page = visit(path)
    for link, sentence in SAID.items():
        if not link.startswith(path):
            continue
        page.goto(address + link)
        if link.startswith("/learned?lens=activation-maximization"):
            page.get_by_role("button", name="Draw", exact=True).click()
        page.get_by_text(sentence).first.wait_for()
        assert page.get_by_role("link", name="Compare").is_visible(), "the page is there, with the way on"


def test_unknown_page_shows_links_to_existing_ones(browser: Any, address: str) -> None:
    page = browser.new_page()
    for path in ("/nothing", "/look/deeper", "/%3Cb%3E"):
        assert page.goto(f"{address}{path}?model=bundled:digits").status == 404
        assert page.get_by_role("heading", name="No such page").is_visible()
    assert page.get_by_text("There is no page at /<b>.").is_visible()
    page.locator(".empty").get_by_role("link", name="Inside").click()
    page.wait_for_url("**/inside?model=bundled**")
    page.close()


def test_unknown_page_gives_json_to_programs(address: str) -> None:
    for path in ("/nothing", "/_nicegui/nothing", f"{API_PREFIX}/nothing"):
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{address}{path}", timeout=TIMEOUT)
        with refused.value as error:
            assert error.code == 404
            assert json.loads(error.read()) == {"error": f"there is nothing at {path!r}"}


def test_switch_shows_the_value_of_the_link(visit: Any) -> None:
    for text in ("true", "false"):
        page = visit(f"/compare?{HERE}&lens=grad-cam&p.relu={text}")
        page.locator("summary", has_text="Parameters").click()
        switch = page.get_by_role("switch").first
        switch.wait_for()
        assert switch.get_attribute("aria-checked") == text


def test_browser_that_disconnects_early_causes_no_error(address: str) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    with urlopen(f"{address}/look", timeout=TIMEOUT) as response:
        fetched = re.findall(r"/_nicegui/[^\"' ]+\.(?:js|css)", response.read().decode())
    for path in fetched[:3] * 5:
        with socket.create_connection((host, int(port))) as wire:
            wire.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
