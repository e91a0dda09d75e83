"""``keras:NAME``: the networks of keras.applications, from the configurations in this package."""

import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import LoadError, UnknownName
from convscope.loaders.keras import engine
from convscope.loaders.keras.applications import architecture_names, find_architecture
from convscope.loaders.keras.inputs import example_shape
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.live import as_module, live_weights
from convscope.loaders.keras.network import translate_network
from convscope.loaders.keras.shape_check import check_shapes
from tests.loaders.keras.twins import assert_equal_to_keras, with_own_weights

SMALL = ["MobileNet", "MobileNetV3Small"]
LARGER = ["ResNet50", "MobileNetV2", "EfficientNetB0", "ConvNeXtTiny"]
"""Compared whenever the tests run; the others, which take minutes, by hand: ``pytest -m by_hand``."""
KERNEL_GAINS = {
    "EfficientNetV2L": 1.0,
    "EfficientNetV2M": 1.1,
    "EfficientNetV2S": 1.2,
    "EfficientNet": 1.4,
    "MobileNetV3Large": 1.4,
}
"""By the beginning of a name, how strong its kernels are. With a gain of 2 the deep ones amplify rounding: Keras itself
is then as far from the result in double precision as the translation is (EfficientNetV2B0: 0.017 of the largest)."""
TRANSLATED = ["EfficientNetB0", "InceptionResNetV2", "MobileNetV2"]
"""Translated whenever the tests run, with layers that no other family has."""
RAW_PIXELS = ("EfficientNet", "ConvNeXt", "MobileNetV3")
"""Families that take pixels from 0 to 255."""


def built(keras: Any, name: str) -> Any:
    """A network of keras.applications for small images with few classes, and weights of every kind.

    It gives scores before the softmax, which could be 0 and 1 however different the layers are.
    """
    side = 75 if name.startswith(("Xception", "Inception")) else 64
    with mock.patch("keras.src.applications.nasnet.backend") as backend:
        backend.backend.return_value = "tensorflow"  # NASNet refuses torch, on which only its training is broken
        backend.image_data_format = keras.config.image_data_format
        make = getattr(keras.applications, name)
        model = make(weights=None, input_shape=(side, side, 3), classes=10, classifier_activation=None)
    gain = next((gain for start, gain in KERNEL_GAINS.items() if name.startswith(start)), 2.0)
    return with_strong_kernels(with_own_weights(model), gain)


def with_strong_kernels(model: Any, gain: float) -> Any:
    """The model with kernels that keep the extent of activations, so that pictures make a difference in the end."""
    generator = np.random.default_rng(2)
    for weight in model.weights:
        if "kernel" in weight.path and len(weight.shape) > 1:
            depthwise = weight.shape[-1] == 1 or "depthwise" in weight.path
            inputs = int(np.prod(weight.shape[:-2] if depthwise else weight.shape[:-1]))
            weight.assign(generator.normal(0, np.sqrt(gain / inputs), weight.shape))
    return model


def assert_a_network_is_translated(keras: Any, name: str) -> None:
    """Two pictures give two results, and those that Keras gives."""
    model = built(keras, name)
    largest = 255 if name.startswith(RAW_PIXELS) else 1
    pictures = np.random.default_rng(1).uniform(0, largest, (2, *model.inputs[0].shape[1:])).astype(np.float32)
    expected = engine.as_array(model(pictures, training=False))
    assert np.abs(expected[0] - expected[1]).max() > 1e-4 * np.abs(expected).max(), "the pictures make no difference"
    assert_equal_to_keras(model, arrays=pictures)


@pytest.mark.parametrize("name", SMALL)
def test_a_network_gives_what_keras_gives(keras, name: str):
    assert_a_network_is_translated(keras, name)


@pytest.mark.architectures
@pytest.mark.parametrize("name", LARGER)
def test_a_larger_network_gives_what_keras_gives(keras, name: str):
    assert_a_network_is_translated(keras, name)


@pytest.mark.by_hand
@pytest.mark.parametrize("name", [name for name in architecture_names() if name not in (*SMALL, *LARGER)])
def test_any_other_network_gives_what_keras_gives(keras, name: str):
    assert_a_network_is_translated(keras, name)


def test_the_configurations_are_those_of_keras(keras):
    """MobileNet: the same layers in the same order, with weights of the same shapes."""
    keras.utils.clear_session()  # names are numbered from 0
    original = keras.applications.MobileNet(weights=None)
    architecture = find_architecture("MobileNet")
    network = architecture.network()
    assert [layer.name for layer in network.layers] == [layer.name for layer in original.layers]
    shapes = {layer.name: [list(w.shape) for w in layer.weights] for layer in original.layers if layer.weights}
    assert architecture.description["shapes"] == shapes
    module, _ = translate_network(network, live_weights(original, network))
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(module(x), as_module(original)(x))


def test_every_network_of_keras_is_here(keras):
    assert architecture_names() == sorted(name for name in dir(keras.applications) if name[0].isupper())


@pytest.mark.parametrize("name", architecture_names())
def test_every_configuration_is_one_of_a_network(name: str):
    """Read, not run: each layer reads what is there, and has the weights of its kind."""
    architecture = find_architecture(name)
    network = architecture.network(imagenet=False)
    assert set(architecture.description["shapes"]) <= {layer.name for layer in network.layers}
    assert len(architecture.description["mean"]) == len(architecture.description["std"]) == 3


@pytest.mark.parametrize(
    "name",
    [name if name in TRANSLATED else pytest.param(name, marks=pytest.mark.by_hand) for name in architecture_names()],
)
def test_every_configuration_is_translated(name: str):
    """Run on shapes alone."""
    architecture = find_architecture(name)
    network = architecture.network(imagenet=False)
    module, _ = translate_network(network, architecture.random_weights(network))
    check_shapes(module, (1, *(side or 224 for side in example_shape(network, Layout())[0])))


@pytest.mark.parametrize("name", ["VGG16", "ResNet50V2", "DenseNet121", "MobileNetV3Small"])
def test_preprocessing_is_that_of_keras(keras, name: str):
    """Caffe's order of channels, −1 … 1, ImageNet's statistics, none."""
    import sys

    family = sys.modules[getattr(keras.applications, name).__module__]
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    expected = family.preprocess_input(picture[None].astype(np.float32))[0].transpose(2, 0, 1)
    architecture = find_architecture(name)
    description = architecture.description
    spec = cs.ImageInput(size=224, mean=description["mean"], std=description["std"])
    prepared = cs.Model(torch.nn.Identity(), input=spec).prepare(picture).tensor[0].numpy()
    np.testing.assert_allclose(prepared[::-1] if description["reversed"] else prepared, expected, atol=2e-4)


def test_random_weights_are_the_same_each_time_and_said():
    models = [cs.load("keras:MobileNetV3Small?weights=none") for _ in range(2)]
    x = models[0].example()
    assert torch.equal(models[0].run(x), models[1].run(x))
    assert models[0].source == "keras:MobileNetV3Small?weights=none"
    assert models[0].caveats == ("random weights: the network has learned nothing",)
    assert models[0].input.std == pytest.approx((1 / 255,) * 3)


def test_blue_green_red_networks_reverse_the_channels(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "library", lambda: None)
    model = cs.load("keras:VGG16?weights=none")
    assert model.layers()[0] == "rgb_to_bgr"
    x = torch.randn(1, 3, 224, 224)
    assert torch.equal(model.module.get_submodule("rgb_to_bgr")(x), x.flip(1))
    assert "block5_conv3.conv" in model.layers()


@pytest.mark.architectures
def test_weights_of_a_file_and_of_the_cache(keras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    original = with_own_weights(keras.applications.MobileNetV3Small(weights=None))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    cache = tmp_path / "models"
    cache.mkdir()
    original.save_weights(cache / "my.weights.h5")
    original.save(cache / find_architecture("MobileNetV3Small").description["file"])
    names = {str(index): [f"n{index}", f"class_{index}"] for index in range(1000)}
    (cache / "imagenet_class_index.json").write_text(json.dumps(names))
    for address in ("keras:MobileNetV3Small", f"keras:MobileNetV3Small?weights={cache}/my.weights.h5"):
        model = cs.load(address)
        assert model.label(7) == "class 7"
        x = model.example()
        with torch.no_grad():
            torch.testing.assert_close(model.module(x), as_module(original)(x))
    assert any("which is assumed" in caveat for caveat in model.caveats), "own weights may have been trained otherwise"
    assert cs.load(f"{cache}/my.weights.h5?arch=MobileNetV3Small").name == "MobileNetV3Small"


def test_what_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(UnknownName, match="did you mean 'VGG19'"):
        cs.load("keras:VGG91")
    with pytest.raises(LoadError, match=r"not in Keras' cache .*vgg16_weights.*weights=none"):
        cs.load("keras:VGG16")
    with pytest.raises(LoadError, match="no such weight file"):
        cs.load(f"keras:VGG16?weights={tmp_path}/none.h5")
    with pytest.raises(UnknownName, match="no weights 'places365'"):
        cs.load("keras:VGG16?weights=places365")


def test_weights_of_another_architecture_are_refused(tmp_path: Path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["layer_names"] = ["conv"]
        file.create_group("conv").attrs["weight_names"] = ["conv/kernel:0"]
        file["conv/conv/kernel:0"] = np.zeros((3, 3, 3, 4), np.float32)
    with pytest.raises(LoadError, match="weights for 1 layers, such as 'conv'"):
        cs.load(f"{tmp_path}/other.h5?arch=VGG16")
