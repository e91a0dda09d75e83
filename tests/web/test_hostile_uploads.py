"""Huge, broken and hostile files through the API and the page: one error message each, nothing on disk."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, PngImagePlugin

from convscope.web.api import API_PREFIX
from convscope.web.requests.models_and_images import MAX_UPLOAD
from tests.waiting import TIMEOUT
from tests.web.image_files import png

pytest.importorskip("nicegui")


def noise(side: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def stored(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(side: int) -> bytes:
    """A PNG with one bit per pixel that is small when compressed and huge when decompressed."""
    packer, row = zlib.compressobj(9), b"\0" * (1 + side // 8)
    packed = b"".join([packer.compress(row * side), packer.flush()])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def with_text(letters: int, *, packed: bool) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * letters, zip=packed)
    return stored(noise(), "PNG", pnginfo=info)


def gif(frames: int) -> bytes:
    pictures = [Image.fromarray(np.full((8, 8), n % 251, np.uint8)) for n in range(frames)]
    return stored(pictures[0], "GIF", save_all=True, append_images=pictures[1:], duration=1)


def tiff(*tags: tuple[int, int, int, int]) -> bytes:
    """A TIFF that consists of tags only: number, type, count, value."""
    listed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + listed + struct.pack("<I", 0)


ABSURD = tiff(
    (256, 4, 1, 2**31), (257, 4, 1, 2**31), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 2**30, 8)
)
LYING = tiff((256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 5), (262, 3, 1, 1), (277, 3, 1, 60000))
JPEG = stored(noise(400), "JPEG")

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "bomb": (lambda: bomb(30_000), "too large to open safely"),
    "truncated": (lambda: JPEG[: len(JPEG) // 2], "is damaged"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "no image of a kind"),
    "html": (lambda: b"<!doctype html><script>alert(1)</script>", "no image of a kind"),
    "zip": (lambda: b"PK\x03\x04" + bytes(100), "no image of a kind"),
    "absurd tags": (lambda: ABSURD, "crop or shrink it first"),
    "lying tags": (lambda: LYING, "crop or shrink it first"),
    "text bomb": (lambda: with_text(20_000_000, packed=True), "too large"),
    "empty": (lambda: b"", "is empty"),
}
"""Files, made when first used, and what the error says of them."""
TAKEN: dict[str, Callable[[], bytes]] = {
    "long text": lambda: with_text(2_000_000, packed=False),
    "many frames": lambda: gif(3000),
    "16 bit": lambda: stored(Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40), "PNG"),
    "cmyk": lambda: stored(noise().convert("CMYK"), "JPEG"),
    "palette": lambda: stored(noise().convert("P"), "PNG"),
    "see-through": lambda: stored(noise().convert("RGBA"), "PNG"),
}


@cache
def content_of(name: str) -> bytes:
    """The file of this name in one of the tables; some take seconds to make."""
    make = REFUSED[name][0] if name in REFUSED else TAKEN[name]
    return make()


LETTERS = {
    "../../etc/passwd.png": "passwd.png",
    "C:\\windows\\evil.png": "evil.png",
    "nul\0l.png": "null.png",
    "two\nlines.png": "twolines.png",
    "<img src=x onerror=window.hit=1>.png": "<img src=x onerror=window.hit=1>.png",
    "..": "..",
}
"""File names, and how they are displayed."""


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of odd tags: the server keeps them to itself as well
def test_api_refuses_the_upload(client: TestClient, name: str) -> None:
    says = REFUSED[name][1]
    response = client.post(f"{API_PREFIX}/images", params={"name": "x.png"}, content=content_of(name))
    assert response.status_code == 422
    assert any(text in response.json()["error"] for text in says.split("|"))
    assert "\n" not in response.json()["error"]
    assert not any("upload" in image["image"] for image in client.get(f"{API_PREFIX}/images").json()["images"])


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_api_accepts_the_upload(client: TestClient, name: str) -> None:
    key = client.post(f"{API_PREFIX}/images", params={"name": "x.png"}, content=content_of(name)).json()["image"]
    response = client.post(f"{API_PREFIX}/run", params={"wait": 30}, json={"lens": "predict", "image": key})
    assert response.json()["state"] == "done"
    assert client.get(f"{API_PREFIX}/images/{key}").status_code == 200


def test_file_of_100_mb_is_refused_with_a_readable_error(address: str) -> None:
    import http.client

    wire = http.client.HTTPConnection(address.removeprefix("http://"), timeout=TIMEOUT)
    wire.request("POST", f"{API_PREFIX}/images", body=bytes(100 * 2**20), headers={"connection": "close"})
    response = wire.getresponse()
    assert response.status == 413
    assert b"more than 32 MB: shrink it" in response.read()
    wire.close()


def test_file_names_have_no_effect(client: TestClient) -> None:
    for name, displayed_name in LETTERS.items():
        client.post(f"{API_PREFIX}/images", params={"name": name}, content=png())
        assert client.get(f"{API_PREFIX}/images").json()["images"][0]["name"] == displayed_name
    response = client.post(f"{API_PREFIX}/images", params={"name": "x" * 5000}, content=png())
    assert response.status_code == 422
    assert "at most 500 characters" in response.json()["error"]


def test_page_shows_the_error_and_goes_on(visit: Any, tmp_path: Path) -> None:
    page = visit("/look?lens=grad-cam&model=bundled:shapes&image=sample:shapes/3")
    page.wait_for_selector(".card figure")
    notices = page.locator(".q-notification")
    for name in ("bomb", "truncated", "svg", "text bomb", "empty"):
        picture = {"name": f"{name}.png", "mimeType": "image/png", "buffer": content_of(name)}
        page.set_input_files(".drop input[type=file]", picture)
        notices.get_by_text(f"'{name}.png' is").wait_for()
        assert REFUSED[name][1] in " ".join(notices.all_inner_texts())
    large = tmp_path / "large.png"
    large.write_bytes(bytes(MAX_UPLOAD + 1))
    page.set_input_files(".drop input[type=file]", large)
    notices.get_by_text("too large, or has a name").wait_for()
    notices.get_by_text("too large, or has a name").wait_for(state="detached")
    before = page.evaluate("location.search")
    unsendable = ("x" * 5000 + ".png", "x' onload='window.hit=1'\\")
    for name in (
        *unsendable,
        "../../evil.png",
        "<img src=x onerror=window.hit=1>.png",
        "x\" onload='window.hit=1'.png",
    ):
        picture = {"name": name, "mimeType": "image/png", "buffer": png(seed=len(name))}
        page.set_input_files(".drop input[type=file]", picture)
        if name in unsendable:
            notices.get_by_text("a name that cannot be sent").first.wait_for()
        else:
            page.wait_for_function("before => location.search !== before", arg=before)
        before = page.evaluate("location.search")
    page.wait_for_url("**image=upload**")
    page.wait_for_selector(".thumb[title^='<img src=x']")
    assert page.evaluate("window.hit") is None
    page.set_input_files(
        ".drop input[type=file]", {"name": "x.gif", "mimeType": "image/gif", "buffer": content_of("many frames")}
    )
    page.wait_for_selector(".thumb[title='x.gif']")
