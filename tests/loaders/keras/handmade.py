"""Small Keras files written without Keras."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Arrays = dict[str, np.ndarray]


def layer(kind: str, name: str, reads: str | list[str] | None = None, **settings: Any) -> dict[str, Any]:
    """The configuration of a layer in Keras 2's form, which Keras 3 reads too."""
    sources = [reads] if isinstance(reads, str) else reads or []
    nodes = [[[source, 0, 0, {}] for source in sources]] if sources else []
    return {"class_name": kind, "name": name, "config": {"name": name, **settings}, "inbound_nodes": nodes}


def functional(*layers: dict[str, Any], output: str, source: str = "image") -> dict[str, Any]:
    """The configuration of a network with one input and one output."""
    body = {"name": "net", "layers": list(layers), "input_layers": [[source, 0, 0]], "output_layers": [[output, 0, 0]]}
    return {"class_name": "Functional", "config": body}


IMAGE = layer("InputLayer", "image", batch_shape=[None, 8, 8, 3])
CONV = layer("Conv2D", "conv", "image", filters=4, kernel_size=[3, 3], padding="same", activation="relu")
POOL = layer("GlobalAveragePooling2D", "pool", "conv")
SCORES = layer("Dense", "scores", "pool", units=5, activation="softmax")
CONFIG = functional(IMAGE, CONV, POOL, SCORES, output="scores")
"""A convolution, a pooling and a dense layer."""


def weights() -> Arrays:
    """The weights of `CONFIG`, by layer and name."""
    generator = np.random.default_rng(0)
    shapes = {"conv/kernel": (3, 3, 3, 4), "conv/bias": (4,), "scores/kernel": (4, 5), "scores/bias": (5,)}
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def archive_bytes(config: Any = CONFIG, arrays: Arrays | None = None) -> bytes:
    """A ``.keras`` file; layers of the classes Conv2D and Dense."""
    paths = {"conv/kernel": "conv2d/vars/0", "conv/bias": "conv2d/vars/1", "scores/kernel": "dense/vars/0"}
    paths["scores/bias"] = "dense/vars/1"
    store = io.BytesIO()
    with h5py.File(store, "w") as file:
        for name, array in (weights() if arrays is None else arrays).items():
            file[f"layers/{paths.get(name, name)}"] = array
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.5.0"}))
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        archive.writestr("model.weights.h5", store.getvalue())
    return result.getvalue()


def hdf5_bytes(config: Any = CONFIG, arrays: Arrays | None = None) -> bytes:
    """A file of a whole network of Keras 2."""
    store = io.BytesIO()
    with h5py.File(store, "w") as file:
        file.attrs["keras_version"], file.attrs["model_config"] = "2.9.0", json.dumps(config)
        names: dict[str, list[str]] = {}
        for name, array in (weights() if arrays is None else arrays).items():
            names.setdefault(name.split("/")[0], []).append(f"{name}:0")
            file[f"model_weights/{name.split('/')[0]}/{name}:0"] = array
        file["model_weights"].attrs["layer_names"] = list(names)
        for name, members in names.items():
            file[f"model_weights/{name}"].attrs["weight_names"] = members
    return store.getvalue()


def tfjs_content(config: Any = CONFIG) -> dict[str, Any]:
    """``model.json`` of TensorFlow.js for `CONFIG`, whose weights are in ``weights.bin``."""
    entries = [{"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in weights().items()]
    manifest = [{"paths": ["weights.bin"], "weights": entries}]
    return {"format": "layers-model", "modelTopology": {"model_config": config}, "weightsManifest": manifest}


def write_tfjs(folder: Path, content: Any = None, data: bytes | None = None) -> Path:
    """Write a model of TensorFlow.js into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    own = b"".join(array.tobytes() for array in weights().values())
    (folder / "weights.bin").write_bytes(own if data is None else data)
    (folder / "model.json").write_text(json.dumps(tfjs_content() if content is None else content))
    return folder
