"""Only what was given at start can be named; uploads are opened with care."""

import io

import numpy as np
import pytest
from PIL import Image

from convscope.errors import ConvScopeError, InputError, UnknownName
from convscope.web import assets as module
from convscope.web.assets import Library
from tests.web.library import claims_to_be_huge, png


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
def test_a_key_that_was_not_handed_out_names_nothing(library, key):
    with pytest.raises(UnknownName, match="no image"):
        library.image(key)
    with pytest.raises(UnknownName):
        library.thumbnail(key)


@pytest.mark.parametrize("key", [*HOSTILE[1:10], "folder:1", "folder:0/..", "sample:photo", "sample:../x", "/etc", ""])
def test_no_other_collection_can_be_named(library, key):
    with pytest.raises(UnknownName, match="no collection"):
        library.collection(key)


def test_everything_listed_can_be_had(library, folder):
    keys = [one.key for one in library.images()]
    assert keys == ["folder:0/cat.png", "folder:0/sub/dog.jpg", "sample:shapes/0", "sample:digits/0"]
    assert library.image(keys[0]) == str(folder / "cat.png")
    for key in keys:
        assert Image.open(io.BytesIO(library.thumbnail(key, 32))).width <= 32
    kinds = {f"sample:{name}/0-99": f"sample:{name}/0-99" for name in ("shapes", "digits")}
    assert library.collections() == {"folder:0": "images"} | kinds
    assert library.collection("folder:0") == str(folder)


def test_a_model_that_was_not_named_at_start_is_not_loaded(library, tmp_path):
    code = tmp_path / "net.py"
    code.write_text("raise SystemExit('code of a stranger was run')")
    for address in (f"{code}:make", "bundled:digits", "torchvision:resnet18"):
        with pytest.raises(UnknownName, match="no model"):
            library.model(address)
    assert library.model() is library.model("bundled:shapes"), "opened once and shared"
    assert Library(["bundled:shapes"], allow_load=True).model("bundled:digits").name == "digits"


def test_an_upload_is_had_by_its_content(library):
    key = library.upload("../../cat.png", png())
    assert library.upload("other.png", png()) == key
    assert library.image(key).size == (40, 40)
    assert library.images()[0].name == "other.png"
    assert "/" not in next(one.name for one in library.images() if one.key == key)


def eps() -> bytes:
    stored = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(stored, "EPS")
    return stored.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
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
        (b"\0" * (module.MAX_UPLOAD + 1), "more than 32"),
    ],
    ids=range(12),
)
def test_a_broken_or_hostile_upload_is_refused(library, content, says):
    with pytest.raises(InputError, match=says):  # and no warning, which would fail the test
        library.upload("x.png", content)
    assert not any(one.key.startswith("upload:") for one in library.images())


def test_uploads_push_out_the_oldest(library, monkeypatch):
    monkeypatch.setattr(module, "KEPT_UPLOADS", 3)
    keys = [library.upload(f"{n}.png", png(seed=n)) for n in range(5)]
    assert [one.key for one in library.images()][:3] == keys[:1:-1]
    with pytest.raises(UnknownName, match="upload it again"):
        library.image(keys[0])
    monkeypatch.setattr(module, "KEPT_BYTES", len(png()) * 3 // 2)
    library.upload("last.png", png(seed=9))
    assert sum(one.key.startswith("upload:") for one in library.images()) == 1


def test_what_is_kept_of_a_file_is_forgotten_when_it_changes(library, folder):
    before = library.fingerprint("folder:0/cat.png")
    assert library.fingerprint("folder:0/cat.png") == before
    (folder / "cat.png").write_bytes(png(20, seed=5))
    assert library.fingerprint("folder:0/cat.png") != before


def test_a_file_that_is_gone_is_said(library, folder):
    (folder / "cat.png").unlink()
    with pytest.raises(ConvScopeError, match="no such file"):
        library.thumbnail("folder:0/cat.png")
    with pytest.raises(ConvScopeError, match="no such file"):
        library.fingerprint("folder:0/cat.png")


def test_a_folder_that_is_none_is_refused_at_start(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Library(["bundled:shapes"], [tmp_path / "nowhere"])


def test_models_are_called_by_short_names_where_those_are_clear() -> None:
    library = Library(["torchvision:resnet18?weights=/a/b/one.pt", "/home/me/net.py:make", "bundled:shapes"])
    assert list(library.names().values()) == ["torchvision:resnet18?weights=one.pt", "net.py:make", "bundled:shapes"]
    alike = Library(["/a/net.py:make", "/b/net.py:make"])
    assert list(alike.names("more.py:make").values()) == ["/a/net.py:make", "/b/net.py:make", "more.py:make"]
