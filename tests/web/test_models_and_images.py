"""The library: only assets named at start and uploads are available; uploads are checked."""

import io

import numpy as np
import pytest
from PIL import Image

from convscope.errors import ConvScopeError, InputError, UnknownName
from convscope.web.requests import models_and_images
from convscope.web.requests.models_and_images import MAX_UPLOAD, Library
from tests.web.image_files import claims_to_be_huge, png


@pytest.fixture
def library(folder):
    return Library(["bundled:shapes"], [folder], ["sample:shapes/0", "sample:digits/0"])


HOSTILE = [
    "folder:0/../../etc/passwd",
    "folder:0/../secret.png",
    "folder:0//etc/passwd",
    "folder:0/link.png",
    "folder:1/cat.png",
    "folder:-1/cat.png",
    "folder:²/cat.png",
    "folder:99999999999999999999/x",
    "folder:0/",
    "folder:",
    "folder:0",
    "upload:",
    "upload:../../etc/passwd",
    "sample:shapes/99",
    "sample:shapes/../../x",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1/x.png",
    "cat.png",
    "",
    "\0",
    "x" * 5000,
]


@pytest.mark.parametrize("key", HOSTILE, ids=range(len(HOSTILE)))
def test_unknown_keys_are_refused(library, key):
    with pytest.raises(UnknownName, match="no image"):
        library.image(key)
    with pytest.raises(UnknownName):
        library.thumbnail(key)


@pytest.mark.parametrize("key", [*HOSTILE[1:10], "folder:1", "folder:0/..", "sample:photo", "sample:../x", "/etc", ""])
def test_unknown_collections_are_refused(library, key):
    with pytest.raises(UnknownName, match="no collection"):
        library.collection(key)


def test_everything_listed_is_available(library, folder):
    keys = [image.key for image in library.images()]
    assert keys == ["folder:0/cat.png", "folder:0/sub/dog.jpg", "sample:shapes/0", "sample:digits/0"]
    assert library.image(keys[0]) == str(folder / "cat.png")
    for key in keys:
        assert Image.open(io.BytesIO(library.thumbnail(key, 32))).width <= 32
    kinds = {f"sample:{name}/0-99": f"sample:{name}/0-99" for name in ("shapes", "digits")}
    assert library.collections() == {"folder:0": "images"} | kinds
    assert library.collection("folder:0") == str(folder)


def test_model_not_named_at_start_is_not_loaded(library, tmp_path):
    code = tmp_path / "net.py"
    code.write_text("raise SystemExit('code of a stranger was run')")
    for address in (f"{code}:make", "bundled:digits", "torchvision:resnet18"):
        with pytest.raises(UnknownName, match="no model"):
            library.model(address)
    assert library.model() is library.model("bundled:shapes"), "opened once and shared"
    assert Library(["bundled:shapes"], allow_load=True).model("bundled:digits").name == "digits"


def test_uploads_are_keyed_by_content(library):
    key = library.upload("../../cat.png", png())
    assert library.upload("other.png", png()) == key
    assert library.image(key).size == (40, 40)
    assert library.images()[0].name == "other.png"
    assert "/" not in next(image.name for image in library.images() if image.key == key)


def test_uploads_that_are_read_in_another_way_have_another_key(library):
    file = io.BytesIO()
    np.savez(file, first=np.ones((1, 5)), second=np.zeros((1, 7)))
    first, second = (library.upload(f"a.npz?key={name}", file.getvalue()) for name in ("first", "second"))
    assert library.image(first).values.shape == (1, 5)
    assert library.image(second).values.shape == (1, 7)
    numbers = b"1,2\n3,4\n"
    assert library.upload("a.csv", numbers) == library.upload("b.csv", numbers) != library.upload("a.tsv", numbers)


def test_files_of_one_name_keep_their_kinds(library):
    first, second = (library.upload("a.csv", text) for text in (b"1,2\n3,4\n", b"5,6\n7,8\n"))
    listed = {image.key: image for image in library.images("vector")}
    assert first in listed, "a table is also the row of a network that takes one"
    assert listed[first].name != listed[second].name
    assert listed[first].kinds == ("signal", "vector")
    assert first not in {image.key for image in library.images("image")}


def eps() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(file, "EPS")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"no image", "no image"),
        (b"GIF89a", "damaged|no image"),
        (png()[:200], "damaged"),
        (png()[:60] + b"\xff" * 4000, "damaged|no image"),
        (claims_to_be_huge(), "too large"),
        (eps(), "no image of a kind"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image"),
        (b"%PDF-1.4", "no image"),
        (b"\x80\x04cos\nsystem\n", "no image"),
        (png(1), "nothing in it"),
        (b"\0" * (MAX_UPLOAD + 1), "more than 32"),
    ],
    ids=range(12),
)
def test_broken_or_hostile_upload_is_refused(library, content, message):
    with pytest.raises(InputError, match=message):  # and no warning, which would fail the test
        library.upload("x.png", content)
    assert not any(image.key.startswith("upload:") for image in library.images())


def test_oldest_uploads_are_dropped(library, monkeypatch):
    monkeypatch.setattr(models_and_images, "MAX_UPLOADS", 3)
    keys = [library.upload(f"{n}.png", png(seed=n)) for n in range(5)]
    assert [image.key for image in library.images()][:3] == keys[:1:-1]
    with pytest.raises(UnknownName, match="upload it again"):
        library.image(keys[0])
    monkeypatch.setattr(models_and_images, "MAX_UPLOADED_BYTES", len(png()) * 3 // 2)
    library.upload("last.png", png(seed=9))
    assert sum(image.key.startswith("upload:") for image in library.images()) == 1


def test_fingerprint_changes_with_the_file(library, folder):
    before = library.fingerprint("folder:0/cat.png")
    assert library.fingerprint("folder:0/cat.png") == before
    (folder / "cat.png").write_bytes(png(20, seed=5))
    assert library.fingerprint("folder:0/cat.png") != before


def test_missing_file_is_reported(library, folder):
    (folder / "cat.png").unlink()
    with pytest.raises(ConvScopeError, match="no such file"):
        library.thumbnail("folder:0/cat.png")
    with pytest.raises(ConvScopeError, match="no such file"):
        library.fingerprint("folder:0/cat.png")


def test_missing_folder_is_refused_at_start(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Library(["bundled:shapes"], [tmp_path / "nowhere"])


def test_models_have_short_names_where_unambiguous() -> None:
    library = Library(["torchvision:resnet18?weights=/a/b/one.pt", "/home/me/net.py:make", "bundled:shapes"])
    assert list(library.names().values()) == ["torchvision:resnet18?weights=one.pt", "net.py:make", "bundled:shapes"]
    alike = Library(["/a/net.py:make", "/b/net.py:make"])
    assert list(alike.names("more.py:make").values()) == ["/a/net.py:make", "/b/net.py:make", "more.py:make"]
