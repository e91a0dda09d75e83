"""Formats that are not read are refused with a way to convert them; a SavedModel is converted where it can be."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
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
    converter.write_text("raise SystemExit(\"'_UserObject' object has no attribute 'add_slot'\")")
    with pytest.raises(LoadError, match=r"add_slot'; .* TensorFlow needs tf_keras: .* pip install tf_keras"):
        cs.load(saved_model)
    for name in ("tf2onnx", "tensorflow"):
        sys.modules.pop(name, None)


def test_an_error_of_the_converted_network_names_the_folder(
    saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")

    def write_nothing(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        Path(command[-1]).write_bytes(b"")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: object())
    monkeypatch.setattr(subprocess, "run", write_nothing)
    with pytest.raises(LoadError, match=str(saved_model)) as caught:
        cs.load(saved_model)
    assert "net.onnx" not in str(caught.value)


KERAS_EXPORT = """
import sys
import keras, numpy as np
keras.utils.set_random_seed(0)
photo = keras.Input((16, 16, 3))
maps = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="conv")(photo)
network = keras.Model(photo, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(maps)))
network.export(sys.argv[1] + "/saved", verbose=False)
images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
np.savez(sys.argv[1] + "/expected.npz", images=images, scores=network(images))
"""


def test_a_saved_model_of_tensorflow_gives_its_scores(tmp_path: Path) -> None:
    for name in ("tensorflow", "tf2onnx", "keras"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    subprocess.run([sys.executable, "-c", KERAS_EXPORT, str(tmp_path)], check=True, env=environment)
    expected = np.load(tmp_path / "expected.npz")
    images = torch.from_numpy(expected["images"]).permute(0, 3, 1, 2)
    model = cs.load(tmp_path / "saved")
    assert torch.allclose(model.run(images), torch.from_numpy(expected["scores"]), atol=1e-5)
    assert "tf2onnx" in model.conversion.engine  # type: ignore[union-attr]
    assert cs.grad_cam(model, images[:1], target=1).layer_values is not None


def test_a_conversion_that_does_not_end_is_refused(saved_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never_ends(command: list[str], **options: object) -> None:
        raise subprocess.TimeoutExpired(command, 1800)

    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: object())
    monkeypatch.setattr(subprocess, "run", never_ends)
    with pytest.raises(LoadError, match="within 30 minutes: convert it yourself"):
        cs.load(saved_model)
