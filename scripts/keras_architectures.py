"""Write src/convscope/loaders/keras/architectures.zip: the networks of keras.applications as plain configurations.

With it ``keras:VGG16`` opens without Keras. Each member is the JSON of one network: the configuration without what only
training needs, the shapes of the weights of each layer, the name of the file with ImageNet weights in Keras' cache, and
the preprocessing of images, which is measured on Keras' own ``preprocess_input``.

python scripts/keras_architectures.py     needs keras; run it when a release of Keras adds a network
"""

import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

TARGET = Path(__file__).parents[1] / "src/convscope/loaders/keras/architectures.zip"
OF_TRAINING = ("initializer", "regularizer", "constraint")
"""Settings that end in one of these are left out."""
UNNEEDED = ("trainable", "momentum", "synchronized", "dtype", "registered_name", "seed", "build_config", "sparse",
            "ragged", "rate", "noise_shape")  # fmt: skip
"""Settings with these names are left out too."""


def main() -> None:
    """Build each network without its weights and write what it consists of."""
    os.environ["KERAS_BACKEND"] = "torch"
    with tempfile.TemporaryDirectory() as home, mock.patch.dict(os.environ, KERAS_HOME=home):
        from keras import applications, device
        from keras.src.models.model import Model
        from keras.src.utils import file_utils

        names = [name for name in dir(applications) if name[0].isupper()]
        with (
            zipfile.ZipFile(TARGET.with_suffix(".part"), "w") as archive,
            mock.patch.object(Model, "load_weights"),
            mock.patch.object(file_utils, "get_file") as get_file,
            mock.patch("keras.src.applications.nasnet.backend") as nasnet_backend,
            device("meta"),  # shapes without memory
        ):
            _as_tensorflow(nasnet_backend)
            for name in names:
                member = zipfile.ZipInfo(f"{name}.json", date_time=(2026, 1, 1, 0, 0, 0))
                member.compress_type = zipfile.ZIP_LZMA
                text = json.dumps(describe(applications, name, get_file), separators=(",", ":"))
                archive.writestr(member, text)
        TARGET.with_suffix(".part").replace(TARGET)


def describe(applications: Any, name: str, get_file: mock.Mock) -> dict[str, Any]:
    """What is kept of one network."""
    make = getattr(applications, name)
    sys.modules["keras"].utils.clear_session()  # names are numbered from 0
    get_file.reset_mock()
    network = make(weights="imagenet")
    family = sys.modules[make.__module__]
    config = json.loads(network.to_json())
    shapes = {layer.name: [list(weight.shape) for weight in layer.weights] for layer in network.layers if layer.weights}
    rescaled = sum(type(layer).__name__ == "Rescaling" for layer in network.layers) > 1  # EfficientNet, for ImageNet
    sys.modules["keras"].utils.clear_session()
    without = {layer.name for layer in (make(weights=None) if rescaled else network).layers}
    return {
        "config": {"class_name": config["class_name"], "config": _plain(config["config"])},
        "shapes": shapes,
        "file": get_file.call_args.args[0],
        "imagenet_only": [layer.name for layer in network.layers if layer.name not in without and not layer.weights],
        **measured_preprocessing(family.preprocess_input),
    }


def measured_preprocessing(preprocess: Any) -> dict[str, Any]:
    """Mean and deviation of pixels in 0 … 1 for each of red, green and blue, and whether their order is reversed."""
    black = preprocess(np.zeros((1, 1, 1, 3), np.float32)).ravel()
    lit = [
        preprocess(np.eye(3, dtype=np.float32)[channel].reshape(1, 1, 1, 3) * 255).ravel() - black
        for channel in range(3)
    ]
    places = [int(np.abs(change).argmax()) for change in lit]
    std = [1 / float(lit[channel][place]) for channel, place in enumerate(places)]
    mean = [-float(black[place]) * std[channel] for channel, place in enumerate(places)]
    return {
        "mean": [round(m, 9) + 0.0 for m in mean],
        "std": [round(s, 12) for s in std],
        "reversed": places == [2, 1, 0],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return {"class_name": "__keras_tensor__", "config": {"keras_history": value["config"]["keras_history"]}}
        kept = {key for key in value if not key.endswith(OF_TRAINING) and key not in UNNEEDED}
        return {key: _plain(member) for key, member in value.items() if key in kept and member is not None}
    return [_plain(member) for member in value] if isinstance(value, list) else value


def _as_tensorflow(backend: mock.Mock) -> None:
    """NASNetMobile refuses the torch backend, on which only its training is broken."""
    import keras.src.backend

    backend.backend.return_value = "tensorflow"
    backend.image_data_format = keras.src.backend.image_data_format


if __name__ == "__main__":
    main()
