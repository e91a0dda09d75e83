"""Networks that others trained, from their own files, and the two pictures with which tutorials of Keras begin."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import LoadError
from convscope.loaders.keras.engine import KerasFunction
from convscope.loaders.keras.layers.wrappers import Masking
from convscope.loaders.keras.layout import Layout
from tests.loaders.keras.twins import TOLERANCE, with_own_weights


def test_a_network_of_keras_2_for_emotions(keras, assets: Path):
    model = cs.load(assets / "loaders/fer2013_mini_XCEPTION.102-0.66.hdf5", labels=list("abcdefg"))
    assert model.conversion.difference < TOLERANCE
    assert model.input == cs.ImageInput(size=64, channels=1, mean=(0,), std=(1,))
    face = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    for lens in (cs.grad_cam, cs.lrp, cs.deep_lift):
        assert torch.isfinite(lens(model, face).values).all()
    assert cs.feature_maps(model, face, layer="conv2d_7").maps["conv2d_7"].shape[-2:] == (4, 4)


def test_a_recurrent_network_for_sleep_stages(keras, assets: Path):
    model = cs.load(assets / "trained/sleepecg_ws_gru.keras")
    assert model.conversion.difference < TOLERANCE
    assert isinstance(model.module.get_submodule("masking"), Masking), "it skips steps that are missing"
    assert model.run(torch.randn(2, 36, 11)).shape == (2, 3, 11)


@pytest.mark.parametrize("path", ["loaders/tfjs_tinyvgg", "loaders/tfjs_tinyvgg/model.json"])
def test_the_network_of_cnn_explainer(keras, assets: Path, path: str):
    model = cs.load(assets / path)
    content = json.loads((assets / "loaders/tfjs_tinyvgg/model.json").read_text())
    config = content["modelTopology"]["model_config"]["config"]
    original = keras.Sequential.from_config({**config, "layers": _current(config["layers"])})
    data = np.frombuffer((assets / "loaders/tfjs_tinyvgg/group1-shard1of1.bin").read_bytes(), "<f4")
    weights, position = [], 0
    for entry in content["weightsManifest"][0]["weights"]:
        count = int(np.prod(entry["shape"]))
        weights.append(data[position : position + count].reshape(entry["shape"]))
        position += count
    original.set_weights(weights)
    x = model.example()
    expected = KerasFunction(original, Layout())(x.numpy())
    np.testing.assert_allclose(model.run(x).detach().numpy(), expected, atol=1e-6)
    assert model.layers()[0] == "conv_1_1"


def _current(layers: list) -> list:
    """Layers of Keras 2 in the form that Keras 3 reads."""
    shape = layers[0]["config"]["batch_input_shape"]
    plain = [{**layer, "config": dict(layer["config"])} for layer in layers]
    for layer in plain:
        layer["config"].pop("batch_input_shape", None)
    return [{"class_name": "InputLayer", "config": {"batch_shape": shape, "name": "input"}}, *plain]


def test_weights_of_lenet_need_their_architecture(keras, assets: Path, tmp_path: Path):
    path = assets / "loaders/lenet_mnist_weights.keras"
    with pytest.raises(LoadError, match=r"holds weights without the network .*\?arch=FILE\.json"):
        cs.load(path)
    layers = keras.layers
    stack = [
        layers.Conv2D(6, 3, activation="relu"),
        layers.AveragePooling2D(2),
        layers.Conv2D(16, 3, activation="relu"),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(120, activation="relu"),
        layers.Dense(84, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
    lenet = keras.Sequential([keras.Input((28, 28, 1)), *stack])
    (tmp_path / "lenet.json").write_text(lenet.to_json())
    model = cs.load(f"{path}?arch={tmp_path}/lenet.json")
    lenet.load_weights(_with_ending(path, tmp_path / "lenet.h5"))
    x = model.example()
    np.testing.assert_allclose(
        model.run(x).detach().numpy(), KerasFunction(lenet, Layout())(x.numpy()), rtol=1e-5, atol=1e-6
    )


def _with_ending(path: Path, copy: Path) -> Path:
    """A copy under a name that Keras reads."""
    copy.write_bytes(path.read_bytes())
    return copy


@pytest.mark.architectures
def test_feature_maps_of_vgg16_are_those_of_keras(keras):
    """The picture with which the tutorials begin: ``block5_conv3`` of VGG16."""
    original = with_own_weights(keras.applications.VGG16(weights=None, include_top=False, input_shape=(64, 64, 3)))
    model = cs.Model(original)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    maps = cs.feature_maps(model, picture, layer="block5_conv3")
    inner = keras.Model(original.inputs, original.get_layer("block5_conv3").output)
    expected = KerasFunction(inner, Layout())(model.prepare(picture).tensor.numpy())[0]
    shown = torch.from_numpy(expected[list(maps.channels["block5_conv3"])].copy())
    torch.testing.assert_close(maps.maps["block5_conv3"], shown, rtol=1e-5, atol=1e-5 * float(expected.max()))
