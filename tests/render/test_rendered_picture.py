"""A picture as a file, in a notebook and in threads, with its manifest and description."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from convscope.errors import CannotWrite
from convscope.render.rendered_picture import Picture
from tests.render.example_values import attribution


def test_a_png_carries_its_manifest_and_its_description(tmp_path: Path) -> None:
    value = attribution()
    path = value.save(tmp_path / "map.png", theme="dark")
    with Image.open(path) as image:
        image.load()
        stored = image.info
    assert json.loads(stored["convscope"]) == json.loads(json.dumps(value.manifest()))
    assert stored["Description"] == value.picture().alt


HEADS = {".png": b"\x89PNG", ".jpg": b"\xff\xd8\xff", ".jpeg": b"\xff\xd8\xff", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("ending", HEADS)
def test_pictures_are_written_as_what_their_ending_says_with_their_description(tmp_path: Path, ending: str) -> None:
    path = attribution().save(tmp_path / f"map{ending}")
    assert path.read_bytes().startswith(HEADS[ending])
    if ending in (".png", ".jpg", ".jpeg"):
        read_pixels = np.asarray(Image.open(path).convert("RGB"), np.float32)
        pixels = attribution().picture().pixels
        assert read_pixels.shape == pixels.shape
        assert np.abs(read_pixels - pixels).mean() < 3
    if ending == ".svg":  # letters are outlines, maps are pixels
        text = path.read_text("utf-8")
        assert text.count("<image") >= 2
        assert attribution().picture().alt[:40] in text
        assert "<path" in text


def test_a_picture_of_pixels_alone_is_written_as_any_of_them(tmp_path: Path) -> None:
    clear = np.zeros((8, 6, 4), np.uint8)
    picture = Picture(clear, "nothing")
    for ending in HEADS:
        assert picture.save(tmp_path / f"clear{ending}").stat().st_size
    assert np.asarray(Image.open(tmp_path / "clear.jpg")).min() == 255  # on white
    with pytest.raises(CannotWrite, match=r"written as \.png, \.jpg"):
        picture.save(tmp_path / "clear.bmp")


def test_pictures_are_shown_in_the_notebook_or_in_the_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, opened_images = attribution().picture(), []
    monkeypatch.setattr(Image.Image, "show", lambda self: opened_images.append("viewer"))
    monkeypatch.setitem(sys.modules, "IPython", None)
    picture.show()
    shell = SimpleNamespace(kernel=object())
    display = SimpleNamespace(display=lambda thing: opened_images.append(thing))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    picture.show()
    assert opened_images == ["viewer", picture]
    assert picture._repr_png_() == picture.png()


def test_pictures_are_the_same_from_several_threads() -> None:
    alone = attribution().picture().pixels
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda _: attribution().picture().pixels, range(8)))
    assert all(np.array_equal(pixels, alone) for pixels in pictures)
