"""Model files are opened by their content; what cannot be opened is refused in one sentence."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import convscope as cs
from convscope.errors import LoadError
from convscope.spec import FILE_FORMATS, LOADERS, file_format
from tests.nets import PlainNet, seeded


@pytest.fixture
def plain_format(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """A format ``.plain`` whose files begin with PLAIN; the options of each opened file are collected."""
    LOADERS.fill()
    calls: list[dict] = []
    monkeypatch.setattr(FILE_FORMATS, "_specs", dict(FILE_FORMATS))

    @file_format(
        name="plain",
        title="plain files",
        example="net.plain",
        extensions=(".plain",),
        recognizes=lambda path, head: head.startswith(b"PLAIN"),
        options=("arch",),
    )
    def open_plain(path: Path, *, options, weights, trust) -> cs.Model:
        calls.append({"path": path, "options": options, "weights": weights, "trust": trust})
        return cs.Model(seeded(PlainNet), input=cs.ImageInput(size=16), source=str(path))

    return calls


def test_content_decides_whatever_the_name_says(plain_format: list[dict], tmp_path: Path) -> None:
    for name in ("net.plain", "net.other", "net.pt"):
        (tmp_path / name).write_bytes(b"PLAIN content")
        model = cs.load(tmp_path / name)
        assert model.source == str(tmp_path / name)
        assert plain_format[-1]["path"] == tmp_path / name


def test_options_of_the_address_reach_the_format_and_the_model(plain_format: list[dict], tmp_path: Path) -> None:
    path = tmp_path / "net.plain"
    path.write_bytes(b"PLAIN")
    model = cs.load(f"{path}?arch=VGG16&size=24", "some.safetensors", labels=list("abcd"), trust=True)
    assert plain_format == [{"path": path, "options": {"arch": "VGG16"}, "weights": "some.safetensors", "trust": True}]
    assert model.input.size == (24, 24)
    assert model.source == f"{path}?size=24"
    assert model.labels is not None
    with pytest.raises(LoadError, match=r"option 'arhc'; did you mean 'arch'"):
        cs.load(f"{path}?arhc=VGG16")
    with pytest.raises(LoadError, match="no named weights"):
        cs.load(f"{path}?weights=DEFAULT")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("net.plain", b"other", "is not a complete file of the format that its name says"),
        ("net.plain", b"", "is not a complete file .*; save or copy it again"),
        ("net.xyz", b"other", "is of no format that can be opened"),
        ("net.safetensors", b"", "net.safetensors' is empty: save or copy it again"),
        ("net.safetensors", b"other", "is not a complete file of the format that its name says"),
        (
            "net.safetensors",
            bytes([9, *bytes(7)]) + b"{}",
            "is not a complete safetensors file: .*; save or copy it again",
        ),
        ("net.safetensors", bytes([2, *bytes(7)]) + b"{}", "holds weights without the network that they belong to"),
        ("net.pt", b"GARBAGE", "is not a complete file of the format that its name says.*: save or copy it again$"),
        ("net.plain", bytes([2, *bytes(7)]) + b"{}", r"rename it to net\.safetensors, .* as in .*net\.safetensors$"),
        ("net.xyz", bytes([2, *bytes(7)]) + b"{}", r"rename it to net\.safetensors, "),
        ("net.pt", bytes([2, *bytes(7)]) + b"{}", r"belong to: give them to an architecture, .*weights=.*net\.pt$"),
        ("net.plain", b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS.*'git lfs pull'$"),
        ("net.safetensors", b"\n<!DOCTYPE html><html>", "is a web page, not a model: download the file itself"),
        ("net.pt", b"\xff\xd8\xff\xe0\x00\x10JFIF", "net.pt' is a picture, not a model: give it as the input"),
        ("photo.webp", b"RIFF\0\0\0\0WEBPVP8 ", "photo.webp' is a picture, not a model"),
        ("net.pth", b"PK\x03\x04" + bytes(99), "its archive is cut off or damaged; save or copy it again"),
        ("net.plain", None, "no such model file"),
        ("net.safetensors", None, "no such model file"),
    ],
)
def test_files_that_cannot_be_opened_are_refused(
    plain_format: list[dict], tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LoadError, match=sentence):
        cs.load(tmp_path / name)


def test_folders_are_recognized_too(plain_format: list[dict], tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"the folder '.*' is empty: a folder of Hugging Face has a config\.json"):
        cs.load(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(LoadError, match=r"the folder '.*' holds no model: a folder of Hugging Face"):
        cs.load(tmp_path)


def test_source_file_may_return_a_function(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "def scores(batch):\n    return batch.mean((2, 3))\ndef make():\n    return scores\n"
    )
    model = cs.load(f"{tmp_path / 'net.py'}:make", size=8)
    assert torch.allclose(model.run(torch.ones(1, 3, 8, 8)), torch.ones(1, 3))


def test_format_with_its_own_weights_refuses_others(
    plain_format: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = replace(FILE_FORMATS["plain"], takes_weights=False)
    monkeypatch.setitem(FILE_FORMATS._specs, "plain", fixed)
    (tmp_path / "net.plain").write_bytes(b"PLAIN")
    with pytest.raises(LoadError, match=r"holds its own weights: open it without weights='w\.safetensors'"):
        cs.load(tmp_path / "net.plain", "w.safetensors")
    assert plain_format == []
