"""The configuration of a Keras network, changed so that Keras builds it in less time for a single comparison.

Keras fills all weights with random numbers before it reads those of the file, and passes tensors without numbers
through each layer twice, to see which sizes depend on the batch. Neither changes what the network computes on one
sample.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_RANDOM = (
    "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform", "Orthogonal",
    "OrthogonalInitializer", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling",
)  # fmt: skip
_RANDOM_NAMES = frozenset(name.lower() for name in _RANDOM)
_ZEROS: dict[str, Any] = {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}
_SHAPES = ("batch_shape", "batch_input_shape")


_ATTRIBUTES_ONCE = ("Layer", "Functional", "Sequential")
"""The kinds of parts of which Keras lists the attributes that hold no weights."""


@contextmanager
def attributes_listed_once() -> Iterator[None]:
    """While it is open, Keras lists the attributes of a layer that hold no weights once, not for each layer.

    Keras 3.15 writes the list down under one name and looks it up under another. Its notes are those of a thread.
    """
    from keras.src.backend.common import global_state
    from keras.src.saving.saving_lib import get_attr_skipset

    names = {kind: f"saving_attr_skiplist_{kind}" for kind in _ATTRIBUTES_ONCE}
    before = {name: global_state.get_global_attribute(name) for name in names.values()}
    for kind, name in names.items():
        global_state.set_global_attribute(name, get_attr_skipset(kind))
    try:
        yield
    finally:
        for name, value in before.items():
            global_state.set_global_attribute(name, value)


def without_random_weights(config: Any) -> Any:
    """A copy of a configuration that starts with zeros where it would draw random numbers."""
    if isinstance(config, Mapping):
        return {
            name: _ZEROS if str(name).endswith("initializer") and _is_random(value) else without_random_weights(value)
            for name, value in config.items()
        }
    if isinstance(config, list | tuple):
        return [without_random_weights(value) for value in config]
    return config


def for_one_sample(config: Any) -> Any:
    """A copy of the configuration of a network that takes one sample at a time and starts with zeros."""
    config = without_random_weights(config)
    body = config.get("config") if isinstance(config, Mapping) else None
    layers = body.get("layers") if isinstance(body, Mapping) else None
    for layer in layers if isinstance(layers, list) else ():
        settings = layer.get("config") if isinstance(layer, Mapping) else None
        if isinstance(settings, dict) and layer.get("class_name") == "InputLayer":
            for name in _SHAPES:
                shape = settings.get(name)
                if isinstance(shape, list) and shape and shape[0] is None:
                    settings[name] = [1, *shape[1:]]
    return config


def _is_random(initializer: Any) -> bool:
    """Whether an initializer draws random numbers; it is written as its name, or as an object with its class."""
    name = initializer.get("class_name") if isinstance(initializer, Mapping) else initializer
    return isinstance(name, str) and name.replace("_", "").lower() in _RANDOM_NAMES
