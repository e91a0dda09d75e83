"""Formats that are not read are refused with a way to convert them; a SavedModel is converted where it can be."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import convscope as cs
from convscope.errors import LoadError


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("net.tflite", b"\x1c\0\0\0TFL3\0\0", "TensorFlow Lite network, .*tf2onnx.convert --tflite"),
        ("net.caffemodel", b"\n\x03net", "Caffe network, .* convert the .prototxt and .caffemodel to ONNX"),
        ("net.prototxt", b'name: "net"\nlayer {}', "Caffe network"),
        ("net.xml", b'<?xml version="1.0"?>\n<net name="net" version="11">\n<layers>', "OpenVINO network, .* cs.Model"),
    ],
)
def test_other_formats_say_how_to_convert(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LoadError, match=sentence):
        cs.load(tmp_path / name)


def test_a_folder_of_an_openvino_network_says_how_to_convert(tmp_path: Path) -> None:
    (tmp_path / "net.xml").write_text("<net>")
    (tmp_path / "net.bin").write_bytes(b"")
    with pytest.raises(LoadError, match=r"OpenVINO network, .* cs.Model"):
        cs.load(tmp_path)


@pytest.fixture
def saved_model(tmp_path: Path) -> Path:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    return folder


def test_a_saved_model_without_tensorflow_has_two_ways_out(saved_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = importlib.util.find_spec
    absent = {"tensorflow", "tf2onnx"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in absent else plain(name, *a))
    with pytest.raises(LoadError, match=r"needs the package 'tensorflow': .*pip install .*; or convert it .*tf2onnx"):
        cs.load(saved_model)


def test_a_saved_model_is_converted_in_a_process_of_its_own(
    saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    from tests.loaders.onnx.onnx_files import helper, save_graph

    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["mean"]), helper.make_node("Flatten", ["mean"], ["y"])]
    prepared = save_graph(tmp_path / "prepared.onnx", nodes, [1, 3, 8, 8])
    packages = tmp_path / "packages"  # stand-ins: TensorFlow is too large for the tests
    (packages / "tf2onnx").mkdir(parents=True)
    (packages / "tensorflow").mkdir()
    for name in ("tf2onnx", "tensorflow"):
        (packages / name / "__init__.py").touch()
    converter = packages / "tf2onnx/convert.py"
    converter.write_text(
        "import shutil, sys\n"
        "arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
        f"assert arguments['--saved-model'] == {str(saved_model)!r}\n"
        f"shutil.copy({str(prepared)!r}, arguments['--output'])\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(packages))
    monkeypatch.syspath_prepend(str(packages))
    model = cs.load(saved_model)
    assert model.source == str(saved_model)
    assert model.name == "saved"
    assert model.run(torch.ones(1, 3, 8, 8)).tolist() == [[1, 1, 1]]
    with converter.open("a") as file:
        file.write("assert arguments['--signature_def'] == 'embed'\n")
    address = f"{saved_model}?signature=embed"
    assert cs.load(address).source == address
    converter.write_text("raise SystemExit('no signature in this model')")
    with pytest.raises(LoadError, match=r"tf2onnx could not convert .*: no signature in this model"):
        cs.load(saved_model)
    for name in ("tf2onnx", "tensorflow"):
        sys.modules.pop(name, None)


def test_a_conversion_that_does_not_end_is_refused(saved_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never_ends(command: list[str], **options: object) -> None:
        raise subprocess.TimeoutExpired(command, 1800)

    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: object())
    monkeypatch.setattr(subprocess, "run", never_ends)
    with pytest.raises(LoadError, match="within 30 minutes: convert it yourself"):
        cs.load(saved_model)
