"""A server that cannot write files: the error is reported, nothing is left behind, and the server goes on."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import torch

from convscope.errors import CannotWrite
from convscope.values import Attribution
from convscope.web.api import API_PREFIX
from convscope.web.requests import export, temporary_files
from tests.waiting import TIMEOUT
from tests.web.browsing import workbench
from tests.web.image_files import png

pytest.importorskip("nicegui")

SAID = "the server has no room to make this file (File too large)"
ROOM = 400
"""Bytes that can be written; enough that a traceback on standard error would be visible."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a workbench that can write only a few bytes."""
    before = set(temporary_files.MEMORY.glob("convscope-*"))
    with workbench(largest_file=ROOM) as server:
        yield server.address
        assert set(temporary_files.MEMORY.glob("convscope-*")) <= before, "nothing is left behind"


def answer(link: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, bytes]:
    try:
        with urlopen(Request(link, body, {"content-type": kind}), timeout=TIMEOUT) as response:
            return response.status, response.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def test_api_gives_507(address: str) -> None:
    body = json.dumps({"lens": "grad-cam", "image": "sample:shapes/3"}).encode()
    job = json.loads(answer(f"{address}{API_PREFIX}/run?wait=30", body)[1])
    for kind in ("png", "npz", "json"):
        status, content = answer(f"{address}{job['results'][kind]}")
        assert status == 507, kind
        assert SAID in json.loads(content)["error"]
        status, content = answer(f"{address}{API_PREFIX}/run?wait=30&give={kind}", body)
        assert status == (422 if kind == "json" else 507), kind
    assert answer(f"{address}{API_PREFIX}/jobs/{job['id']}")[0] == 200, "the server lives"
    schema = json.loads(answer(f"{address}{API_PREFIX}/openapi.json")[1])
    assert all("507" in operation["responses"] for path in schema["paths"].values() for operation in path.values())


def test_uploads_need_no_disk_space(address: str) -> None:
    status, content = answer(f"{address}{API_PREFIX}/images", png(900), "application/octet-stream")
    assert status == 201, content


def test_look_shows_the_error_and_goes_on(visit: Any) -> None:
    page = visit("/look?lens=grad-cam&model=bundled:shapes&image=sample:shapes/3")
    page.wait_for_selector(".card figure")
    page.locator("summary", has_text="How it was computed").click()
    for name in ("Picture .png", "Numbers .npz", "Manifest .json", "Report"):
        page.get_by_role("button", name=name, exact=True).click()
        notice = page.locator(".q-notification").first
        notice.get_by_text(SAID).wait_for()
        notice.get_by_role("button", name="Close").click()
        page.wait_for_function("!document.querySelector('.q-notification')")
    large = {"name": "large.png", "mimeType": "image/png", "buffer": png(900)}  # more than is kept in memory by default
    page.set_input_files(".drop input[type=file]", large)
    page.wait_for_url("**image=upload**")
    page.wait_for_selector(".card figure")


def test_learned_and_compare_show_the_error(visit: Any) -> None:
    page = visit("/learned?lens=activation-maximization&unit=layer2%5B15%5D&p.steps=16")
    page.get_by_role("button", name="Draw", exact=True).click()
    page.get_by_role("button", name="Download NPZ").click()
    page.locator(".q-notification").get_by_text(SAID).wait_for()
    page = visit("/compare?lens=grad-cam&model=bundled:shapes&image=sample:shapes/3&beside=sample:shapes/4")
    page.wait_for_selector(".card figure")
    page.wait_for_function("!document.querySelector('progress')")
    page.get_by_role("button", name="Picture .png").click()
    page.locator(".q-notification").get_by_text(SAID).wait_for()


def test_disk_is_used_if_memory_is_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    value = Attribution(values=torch.zeros(4, 4))
    monkeypatch.setattr(temporary_files, "MEMORY", tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert export.file_bytes(value, ".json"), "memory alone is enough"
    monkeypatch.setattr(temporary_files, "MEMORY", tmp_path / "gone")
    with pytest.raises(temporary_files.NoRoom, match="no room"):
        export.file_bytes(value, ".json")
    monkeypatch.setattr(temporary_files, "MEMORY", tmp_path)
    with pytest.raises(CannotWrite, match="cannot tell the file type") as error:
        export.file_bytes(value, ".xyz")
    assert not isinstance(error.value, temporary_files.NoRoom)
