"""``keras:NAME``: the networks of keras.applications, with Keras' cached weights, a weight file or random weights.

Their configurations come with this package (``architectures.zip``, written by ``scripts/keras_architectures.py``), so
that Keras is not needed.
"""

import functools
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.errors import LoadError, UnknownName, did_you_mean
from convscope.loaders.keras import engine
from convscope.loaders.keras.calls import Call, TensorRef, replace_references
from convscope.loaders.keras.config import Layer, Network, parse_network
from convscope.loaders.keras.legacy_hdf5 import has_weights
from convscope.loaders.keras.weights import Array, LayerWeights
from convscope.spec import loader

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

_REVERSAL = "rgb_to_bgr"
"""The name of the layer that reverses the channels for networks that were trained on blue, green, red."""


@functools.cache
def architecture_names() -> list[str]:
    """The names of all networks."""
    with _bundle() as archive:
        return sorted(name.removesuffix(".json") for name in archive.namelist())


@dataclass(frozen=True)
class Architecture:
    """One network of keras.applications.

    Attributes:
        description: its member of ``architectures.zip``.
    """

    name: str
    description: Mapping[str, Any]

    def open(self, weights: Path | None, *, source: str) -> "Model":
        """The `Model` with the weights of a file, or with random ones.

        Raises:
            LoadError: the file cannot be read, or its weights are those of another network.
        """
        from convscope.engine.network.labels import label_names
        from convscope.engine.network.model import RANDOM_WEIGHTS
        from convscope.loaders.keras.assembly import Parts, build_model
        from convscope.loaders.keras.formats import read_any_weights

        imagenet = weights is not None and weights == self.cached_weights()
        network = self.network(imagenet=imagenet)
        arrays = read_any_weights(weights, network) if weights is not None else self.random_weights(network)
        if self.description["reversed"]:
            network = _with_reversed_channels(network)
        original = partial(self._in_keras, arrays, imagenet=imagenet)
        caveats = RANDOM_WEIGHTS if weights is None else ()
        model = build_model(Parts(network, arrays, "3", self.name, source, keras_model=original, caveats=caveats))
        model.input = self._input(model.input)
        model.assumed_from = "" if weights is None or imagenet else self.name
        if _outputs(arrays, network) == 1000:
            model.labels = label_names(imagenet_labels())
        return model

    def network(self, *, imagenet: bool = True) -> Network:
        """The configuration; some networks have a layer that only Keras' ImageNet weights need."""
        network = parse_network(self.description["config"])
        unneeded = () if imagenet else self.description["imagenet_only"]
        for name in unneeded:
            network = _without_layer(network, name)
        return network

    def _in_keras(self, arrays: LayerWeights, *, imagenet: bool) -> Any:
        """The network as Keras builds it, which takes the channels in the order red, green, blue as ours does."""
        own = _with_rates(self.description["config"])
        config = {"module": "keras.src.models.functional", "registered_name": "Functional", **own}
        for name in () if imagenet else self.description["imagenet_only"]:
            config = _config_without_layer(config, name)
        model = engine.build(config, arrays, self.network(imagenet=imagenet), trust=False)
        if not self.description["reversed"]:
            return model
        keras = engine.library()
        given = keras.Input(model.inputs[0].shape[1:])
        return keras.Model(given, model(keras.ops.flip(given, -1)))

    def cached_weights(self) -> Path:
        """Where Keras keeps its ImageNet weights of this network."""
        home = Path(os.environ.get("KERAS_HOME") or Path("~/.keras").expanduser())
        return home / "models" / str(self.description["file"])

    def random_weights(self, network: Network) -> LayerWeights:
        """Weights as an untrained network has them, the same at each call."""
        generator = np.random.default_rng(0)
        shapes = self.description["shapes"]
        children = {
            layer.name: _random_weights(layer, shapes.get(layer.name, ()), generator) for layer in network.layers
        }
        return LayerWeights(children=children)

    def _input(self, specification: Any) -> Any:
        return replace(specification, mean=tuple(self.description["mean"]), std=tuple(self.description["std"]))


def find_architecture(name: str) -> Architecture:
    """The network of that name.

    Raises:
        UnknownName: there is none; the message suggests one.
    """
    names = architecture_names()
    if name not in names:
        raise UnknownName(
            f"keras.applications has no network {name!r}{did_you_mean(name, names)} ('convscope models' lists them)"
        )
    with _bundle() as archive:
        return Architecture(name, json.loads(archive.read(f"{name}.json")))


@loader(
    scheme="keras",
    title="networks of keras.applications",
    example="keras:VGG16",
    names=architecture_names,
    extra="keras",
)
def keras(name: str, *, chosen: str | None = None, weights: str | Path | None = None, trust: bool = False) -> "Model":
    """Open a network of keras.applications with Keras' ImageNet weights, those of a file, or random ones."""
    architecture = find_architecture(name)
    if chosen not in (None, "none", "imagenet"):
        raise UnknownName(f"{name} has no weights {chosen!r} (it has imagenet and none, and ?weights=FILE)")
    if weights is not None:
        return architecture.open(Path(weights).expanduser(), source=f"keras:{name} with {weights}")
    if chosen == "none":
        return architecture.open(None, source=f"keras:{name}?weights=none")
    cached = architecture.cached_weights()
    if not cached.is_file():
        raise LoadError(
            f"the ImageNet weights of {name} are not in Keras' cache ({str(cached)!r}): load them there once with "
            f"keras.applications.{name}(), name a file with ?weights=FILE, or take random ones with ?weights=none"
        )
    return architecture.open(cached, source=f"keras:{name}")


def imagenet_labels() -> list[str] | None:
    """The names of ImageNet's classes from Keras' cache; None where they are not in it."""
    home = Path(os.environ.get("KERAS_HOME") or Path("~/.keras").expanduser())
    index = home / "models" / "imagenet_class_index.json"
    if not index.is_file():
        return None
    names = json.loads(index.read_text("utf-8"))
    return [names[str(number)][1].replace("_", " ") for number in range(len(names))]


def _bundle() -> zipfile.ZipFile:
    return zipfile.ZipFile(str(files("convscope.loaders.keras").joinpath("architectures.zip")))


def _random_weights(layer: Layer, shapes: Any, generator: np.random.Generator) -> LayerWeights:
    """The weights of a layer, or of the layers of a nested network, of which each has equally many arrays."""
    if layer.network is None:
        return LayerWeights(tuple(_random_arrays(layer, shapes, generator)))
    inner = [nested for nested in layer.network.layers if has_weights(nested)]
    count = len(shapes) // max(len(inner), 1)
    children = {
        nested.name: _random_weights(nested, shapes[count * index : count * (index + 1)], generator)
        for index, nested in enumerate(inner)
    }
    return LayerWeights(children=children)


def _random_arrays(layer: Layer, shapes: Any, generator: np.random.Generator) -> list[Array]:
    """The arrays of one layer: kernels with the variance that keeps activations alive, statistics of nothing seen."""
    if layer.kind == "BatchNormalization":
        values = [1.0] * layer.settings.get("scale", True) + [0.0] * layer.settings.get("center", True) + [0.0, 1.0]
        return [np.full(shape, value, np.float32) for shape, value in zip(shapes, values, strict=True)]
    if layer.kind == "Normalization":
        return [
            np.full(shape, value, np.float32) for shape, value in zip(shapes, (0.0, 1.0, 0.0), strict=False)
        ]  # none if they are settings
    arrays: list[Array] = []
    for shape in shapes:
        if len(shape) == 1:
            filled = 1.0 if layer.kind == "LayerNormalization" and not arrays else 0.0
            filled = 1e-6 if layer.kind == "LayerScale" else filled
            arrays.append(np.full(shape, filled, np.float32))
            continue
        depthwise = layer.kind.startswith("Depthwise") or (layer.kind.startswith("Separable") and not arrays)
        inputs = int(np.prod(shape[:-2] if depthwise else shape[:-1]))
        arrays.append(generator.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / inputs)))
    return arrays


def _outputs(arrays: LayerWeights, network: Network) -> int:
    """The number of outputs: the last axis of the last array that the output layer has."""
    own = arrays.children.get(next(iter(network.outputs)), LayerWeights()).arrays
    return int(own[-1].shape[-1]) if own else 0


def _without_layer(network: Network, name: str) -> Network:
    """The network without a layer of one input; those that read its output read its input instead."""
    removed = network.by_name[name]
    source = removed.calls[0].args[0]
    layers = tuple(
        replace(layer, calls=tuple(replace_references(call, name, source) for call in layer.calls))
        for layer in network.layers
        if layer.name != name
    )
    return replace(network, layers=layers)


def _with_rates(config: Any) -> Any:
    """A configuration with what the bundle leaves out and Keras asks for: rates of dropout, shapes of tensors."""
    if isinstance(config, list):
        return [*map(_with_rates, config)]
    if not isinstance(config, dict):
        return config
    plain = {key: _with_rates(value) for key, value in config.items()}
    if "Dropout" in str(plain.get("class_name")) and isinstance(plain.get("config"), dict):
        plain["config"] = {"rate": 0.0, **plain["config"]}
    if plain.get("class_name") == "__keras_tensor__":
        plain["config"] = {"shape": [None], "dtype": "float32", **plain["config"]}
    return plain


def _config_without_layer(config: Any, name: str) -> Any:
    """A configuration without a layer of one input; what read its output reads its input instead."""
    body = config["config"]
    removed = next(layer for layer in body["layers"] if layer["name"] == name)
    source = removed["inbound_nodes"][0]["args"][0]["config"]["keras_history"]

    def redirected(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: redirected(member) for key, member in value.items()}
        if isinstance(value, list):
            return source if value[:1] == [name] and len(value) == len(source) else [*map(redirected, value)]
        return value

    layers = [redirected(layer) for layer in body["layers"] if layer is not removed]
    return {**config, "config": {**redirected({**body, "layers": []}), "layers": layers}}


def _with_reversed_channels(network: Network) -> Network:
    """The network with a layer at its input that reverses the order of the channels."""
    source = network.inputs[0]
    reversal = Layer(_REVERSAL, "ReversedChannels", {}, (Call((source,)),))
    layers = [
        replace(
            layer,
            calls=tuple(replace_references(call, source.layer, TensorRef(_REVERSAL, 0, 0)) for call in layer.calls),
        )
        for layer in network.layers
    ]
    position = next(i for i, layer in enumerate(layers) if layer.name == source.layer) + 1
    return replace(network, layers=(*layers[:position], reversal, *layers[position:]))
