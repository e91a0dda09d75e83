"""Files that are cut off, hostile or not what their name says are refused in one sentence that names what is wrong."""

import copy
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convscope as cs
from convscope.errors import ConvScopeError, MissingExtra
from convscope.loaders.keras import engine

pytest.importorskip("h5py")

import h5py

from tests.loaders.keras import handmade
from tests.loaders.keras.handmade import CONFIG, CONV, IMAGE, POOL, SCORES, functional, layer


@pytest.fixture(autouse=True)
def without_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused here is refused by our own readers."""
    monkeypatch.setattr(engine, "library", lambda: None)


def refusal(path: Any, **options: Any) -> str:
    """The message with which a file is refused."""
    with pytest.raises(ConvScopeError) as raised:
        cs.load(path, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def write(path: Path, content: bytes) -> Path:
    """Write a file."""
    path.write_bytes(content)
    return path


def with_config(tmp_path: Path, config: Any, arrays: Any = None) -> Path:
    """A ``.keras`` file with a configuration."""
    return write(tmp_path / "net.keras", handmade.archive_bytes(config, arrays))


def test_the_handmade_files_open(tmp_path: Path):
    for name, content in (("net.keras", handmade.archive_bytes()), ("net.h5", handmade.hdf5_bytes())):
        assert cs.load(write(tmp_path / name, content)).layers()[:2] == ["conv", "conv.conv"]
    assert cs.load(handmade.write_tfjs(tmp_path / "web")).name == "web"


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.99])
def test_a_cut_off_file(tmp_path: Path, ending: str, share: float):
    whole = handmade.archive_bytes() if ending == ".keras" else handmade.hdf5_bytes()
    message = refusal(write(tmp_path / f"net{ending}", whole[: int(len(whole) * share)]))
    assert "not a complete" in message


def test_a_damaged_archive_is_not_quoted_in_full(tmp_path: Path):
    whole = handmade.archive_bytes()
    header = whole.rindex(b"PK\x03\x04")
    length = int.from_bytes(whole[header + 26 : header + 28], "little")
    damaged = whole[: header + 26] + (4000).to_bytes(2, "little") + whole[header + 28 : header + 30 + length]
    directory = whole.index(b"PK\x01\x02")
    message = refusal(
        write(tmp_path / "net.keras", damaged + whole[header + 30 + length : directory] + whole[directory:])
    )
    assert "is not a complete .keras archive: File name in directory" in message
    assert len(message) < 400


def test_a_file_of_another_kind_with_the_name_of_keras(tmp_path: Path):
    assert "not a complete file" in refusal(write(tmp_path / "net.keras", b"hello"))
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("data.pkl", b"")
    assert "not a complete file" in refusal(tmp_path / "other.keras")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["measurements"] = np.zeros(3)
    assert "?arch=VGG16" in refusal(tmp_path / "data.h5")
    (tmp_path / "net.json").write_text(json.dumps(CONFIG))
    assert "without weights of Keras" in refusal(f"{tmp_path}/data.h5?arch={tmp_path}/net.json")


def test_an_archive_member_that_declares_too_much(tmp_path: Path):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * 2**26)
        archive.writestr("model.weights.h5", b"")
    assert "declares 67,108,864 bytes" in refusal(path)


@pytest.mark.parametrize("chunks", [None, (1024, 1024)])
def test_an_array_that_declares_more_than_is_stored(tmp_path: Path, chunks: Any):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("layers/conv2d/vars/0", (2**16, 2**16), "f4", chunks=chunks)
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(CONFIG))
        archive.writestr("model.weights.h5", content.getvalue())
    assert "declares 17,179,869,184 bytes" in refusal(path)


@pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual"])
def test_an_array_outside_of_the_file(tmp_path: Path, kind: str):
    secret = write(tmp_path / "secret", b"\x00" * 4096)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["kernel"] = np.zeros((3, 3, 3, 4), np.float32)
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        group = file.create_group("layers/conv2d/vars")
        if kind == "external link":
            group["0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/kernel")
        elif kind == "soft link":
            file["elsewhere"] = np.zeros((3, 3, 3, 4), np.float32)
            group["0"] = h5py.SoftLink("/elsewhere")
        elif kind == "external storage":
            group.create_dataset("0", (3, 3, 3, 4), "f4", external=[(str(secret), 0, 432)])
        else:
            layout = h5py.VirtualLayout((3, 3, 3, 4), "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "kernel", (3, 3, 3, 4))
            group.create_virtual_dataset("0", layout)
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(CONFIG))
        archive.writestr("model.weights.h5", content.getvalue())
    assert any(words in refusal(path) for words in ("has no array", "refers to another file"))


def test_code_in_a_lambda_is_not_run(tmp_path: Path):
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
    config = functional(IMAGE, CONV, POOL, layer("Lambda", "trick", "pool", function=code), output="trick")
    message = refusal(with_config(tmp_path, config))
    assert "layer 'trick' (Lambda) cannot be translated: it holds code, which is not run" in message


def test_a_custom_layer_is_named(tmp_path: Path):
    config = functional(IMAGE, CONV, POOL, layer("MyLayer", "special", "pool"), output="special")
    assert "layer 'special' (MyLayer) cannot be translated" in refusal(with_config(tmp_path, config))


def test_a_cyclic_graph(tmp_path: Path):
    first, second = layer("Activation", "first", "second", activation="relu"), layer("ReLU", "second", "first")
    config = functional(IMAGE, first, second, output="second")
    assert "wait for each other: 'first' is in a cycle" in refusal(with_config(tmp_path, config))


def test_a_layer_that_reads_what_is_not_there(tmp_path: Path):
    config = functional(IMAGE, layer("ReLU", "first", "nothing"), output="first")
    assert "reads the output of 'nothing', which the network lacks" in refusal(with_config(tmp_path, config))


def test_a_network_nested_in_itself_too_often(tmp_path: Path):
    config = CONFIG
    for _ in range(40):
        config = functional(IMAGE, {**config, "name": "net", "inbound_nodes": [[["image", 0, 0, {}]]]}, output="net")
    assert "nested more than 12 times" in refusal(with_config(tmp_path, config))
    deep = '{"class_name":"Model","config":' * 5000 + "1" + "}" * 5000
    assert "is not JSON: RecursionError" in refusal(with_config(tmp_path, deep))


def test_weights_of_another_network(tmp_path: Path):
    wide = copy.deepcopy(CONV)
    wide["config"]["filters"] = 7
    message = refusal(with_config(tmp_path, functional(IMAGE, wide, POOL, SCORES, output="scores")))
    assert "layer 'conv' has 7 filters of 3×3, and its kernel 4 of 3×3" in message
    arrays = handmade.weights()
    del arrays["scores/bias"]
    assert "layer 'scores' needs a bias, and has only kernel" in refusal(with_config(tmp_path, CONFIG, arrays))
    arrays = {**handmade.weights(), "scores/kernel": np.zeros((9, 5), np.float32)}
    assert "the weights do not fit: layer 'scores.dense' fails on its input" in refusal(
        with_config(tmp_path, CONFIG, arrays)
    )
    plain = copy.deepcopy(CONV)
    plain["config"]["use_bias"] = False
    message = refusal(with_config(tmp_path, functional(IMAGE, plain, POOL, SCORES, output="scores")))
    assert "layer 'conv' has 1 array ((4,)) more than its configuration uses" in message


def test_outputs_that_do_not_fit_into_memory(tmp_path: Path):
    grown = layer("UpSampling2D", "grown", "conv", size=[60000, 60000])
    pool = layer("GlobalAveragePooling2D", "pool", "grown")
    message = refusal(with_config(tmp_path, functional(IMAGE, CONV, grown, pool, SCORES, output="scores")))
    assert "layer 'grown' gives" in message
    assert "more than fits in memory" in message


def test_settings_that_no_layer_has(tmp_path: Path):
    for setting, value in (
        ("strides", "wide"),
        ("kernel_size", [-1, 3]),
        ("padding", "around"),
        ("dilation_rate", 2**40),
    ):
        odd = copy.deepcopy(CONV)
        odd["config"][setting] = value
        assert "'conv'" in refusal(with_config(tmp_path, functional(IMAGE, odd, POOL, SCORES, output="scores")))


def test_a_network_without_configuration(tmp_path: Path):
    config = {"class_name": "MyModel", "config": {"name": "mine"}}
    assert "of the class 'MyModel', whose configuration does not list its layers" in refusal(
        with_config(tmp_path, config)
    )


def test_a_network_of_text(tmp_path: Path):
    text = layer("InputLayer", "image", batch_shape=[None, 1], dtype="string")
    config = functional(text, layer("Activation", "scores", "image", activation="relu"), output="scores")
    assert "takes text" in refusal(with_config(tmp_path, config))


@pytest.mark.parametrize("name", ["../secret.bin", "/etc/passwd", "sub/weights.bin", "", ".."])
def test_a_tfjs_file_outside_of_its_folder(tmp_path: Path, name: str):
    (tmp_path / "secret.bin").write_bytes(b"\x00" * 4096)
    content = handmade.tfjs_content()
    content["weightsManifest"][0]["paths"] = [name]
    folder = handmade.write_tfjs(tmp_path / "web", content)
    assert "which is not in its own folder" in refusal(folder)


def test_a_tfjs_link_to_another_folder(tmp_path: Path):
    folder = handmade.write_tfjs(tmp_path / "web")
    (folder / "weights.bin").rename(tmp_path / "secret.bin")
    (folder / "weights.bin").symlink_to(tmp_path / "secret.bin")
    assert "which is missing" in refusal(folder)


def test_tfjs_weights_that_are_cut_off_or_missing(tmp_path: Path):
    assert "cut off: 'conv/kernel' needs 432 bytes" in refusal(handmade.write_tfjs(tmp_path / "cut", data=b"\x00" * 50))
    assert "4 bytes more" in refusal(
        handmade.write_tfjs(tmp_path / "long", data=b"\x00" * (4 * (108 + 4 + 20 + 5) + 4))
    )
    folder = handmade.write_tfjs(tmp_path / "gone")
    (folder / "weights.bin").unlink()
    assert "'weights.bin' beside it, which is missing" in refusal(folder)


def test_a_tfjs_graph_model(tmp_path: Path):
    content = {"format": "graph-model", "modelTopology": {"node": []}, "weightsManifest": []}
    assert "graph model of TensorFlow.js, which has no layers" in refusal(handmade.write_tfjs(tmp_path / "g", content))


def test_labels_of_another_number_than_the_outputs(tmp_path: Path):
    model = cs.load(with_config(tmp_path, CONFIG), labels=["a", "b"])
    with pytest.raises(cs.ConvScopeError, match="2 labels for 5 outputs"):
        cs.predict(model, model.example())


def test_a_missing_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = with_config(tmp_path, CONFIG)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match="'h5py'"):
        cs.load(path)


def test_names_that_torch_does_not_have(tmp_path: Path):
    """A dot separates addresses, and ``forward`` is what every module has."""
    config = functional(
        IMAGE,
        layer("ReLU", "a.b", "image"),
        layer("ReLU", "forward", "a.b"),
        layer("ReLU", "group/part", "forward"),
        layer("GlobalAveragePooling2D", "training", "group/part"),
        output="training",
    )
    assert cs.load(with_config(tmp_path, config)).layers() == ["a_b", "forward_", "group/part", "training_"]


@pytest.mark.parametrize("change", [{"paths": None}, {"weights": None}, {"paths": ["weights.bin"] * 2}, None])
def test_tfjs_weights_listed_in_another_form(tmp_path: Path, change: Any):
    content = handmade.tfjs_content()
    (group,) = content["weightsManifest"]
    content["weightsManifest"] = [None if change is None else {**group, **change}]
    assert "in a form that is unreadable" in refusal(handmade.write_tfjs(tmp_path / "web", content))


@pytest.mark.parametrize("dtype", [{"name": "float32"}, ["float32"], None, "float128"])
def test_tfjs_weights_of_a_type_that_is_none(tmp_path: Path, dtype: Any):
    message = "describes the array 'conv/kernel' in a form that is unreadable"
    content = handmade.tfjs_content()
    content["weightsManifest"][0]["weights"][0]["dtype"] = dtype
    assert message in refusal(handmade.write_tfjs(tmp_path / "plain", content))
    content["weightsManifest"][0]["weights"][0] |= {"dtype": "float32", "quantization": {"dtype": dtype}}
    assert message in refusal(handmade.write_tfjs(tmp_path / "quantized", content))


def test_tfjs_weights_of_a_scale_that_is_no_number(tmp_path: Path):
    content = handmade.tfjs_content()
    content["weightsManifest"][0]["weights"][0]["quantization"] = {"dtype": "float32", "scale": None}
    assert "in a form that is unreadable" in refusal(handmade.write_tfjs(tmp_path / "web", content))


def test_a_record_that_unpacks_to_more_than_it_states_is_not_unpacked(tmp_path: Path):
    path = tmp_path / "net.keras"
    whole = bytearray(handmade.archive_bytes())
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, record in records.items():
            archive.writestr(name, record)
    content = bytearray(path.read_bytes())
    stated = content.rfind(b"config.json") - 46 + 24  # where the directory holds the unpacked size
    content[stated : stated + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    assert "is not a complete .keras archive: Bad CRC-32 for file 'config.json'" in refusal(path)
