"""Models that live in this process, of keras or tf.keras: read by their configuration and their weights.

Nothing is imported from Keras: whoever holds a model has imported it, with whichever backend.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from convscope.engine.network.foreign_models import ConvertedNetwork
from convscope.engine.network.scores_only import ScoresOnly
from convscope.errors import InputError, LoadError
from convscope.loaders.keras.checking import compare, computed_differently
from convscope.loaders.keras.config import Network, parse_network
from convscope.loaders.keras.engine import KerasFunction, as_array
from convscope.loaders.keras.inputs import example_shape, input_specification
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.network import all_layers, is_channels_first, translate_network
from convscope.loaders.keras.several_inputs import (
    check_joint_inputs,
    example_shapes,
    joint_specification,
    require_explainable,
)
from convscope.loaders.keras.shape_check import check_shapes
from convscope.loaders.keras.translation import Untranslatable
from convscope.loaders.keras.weights import Array, LayerWeights

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

_PACKAGES = ("keras", "tf_keras", "tensorflow")


def is_keras_model(candidate: Any) -> bool:
    """Whether an object is a model of keras or tf.keras, judged by the modules of its classes."""
    return any(
        cls.__name__ in ("Model", "Functional", "Sequential") and cls.__module__.partition(".")[0] in _PACKAGES
        for cls in type(candidate).__mro__
    )


def convert(model: Any) -> ConvertedNetwork | None:
    """A Keras model in memory as a torch module with a copy of its weights, and the input that it expects.

    A model that has no configuration, or a layer without translation, becomes a function that Keras computes. None for
    an object of Keras that is no model.

    Raises:
        InputError: the model has not been built.
        LoadError: its weights are not those of its configuration.
    """
    from convscope.engine.inputs.specs import TensorInput
    from convscope.engine.inputs.token_input import TokenInput

    if not is_keras_model(model):
        return None
    if not getattr(model, "built", True):
        raise InputError(f"the Keras model {model.name!r} has no weights yet: call it once, or give it an input shape")
    try:
        network = network_of(model)
    except Untranslatable as error:
        return ConvertedNetwork(_function(model, Layout(), error), model.name, TensorInput())
    layout = Layout(channels_first=is_channels_first(network))
    if len(network.inputs) > 1:
        return _with_several_inputs(model, network, layout)
    specification, assumed = input_specification(network, layout)
    shape, is_declared = example_shape(network, layout)
    try:
        module, remarks = translate_network(network, live_weights(model, network), keras_major=_major(model))
        if is_declared:
            check_shapes(module, (1, *shape))
    except Untranslatable as error:
        if isinstance(specification, TokenInput):  # its scores alone show no embedding, at which tokens are explained
            specification = TensorInput()
        return ConvertedNetwork(_function(model, layout, error), model.name, specification, assumed)
    remarks = [*assumed, *remarks]
    if isinstance(specification, TokenInput):
        return ConvertedNetwork(module, model.name, specification, tuple(remarks), _joint_check(model, network))
    check = partial(_check, original=model, network=network, shape=shape) if shape else None
    return ConvertedNetwork(module, model.name, specification, tuple(remarks), check)


def _with_several_inputs(model: Any, network: Network, layout: Layout) -> ConvertedNetwork:
    """A model in memory that takes several inputs, by the names of its input layers."""
    specification, assumed = joint_specification(network, layout)
    try:
        module, remarks = translate_network(network, live_weights(model, network), keras_major=_major(model))
        shapes = example_shapes(network, layout)
        if all(is_declared for _, is_declared in shapes):
            check_shapes(module, *[(1, *shape) for shape, _ in shapes])
    except Untranslatable as error:
        require_explainable(specification, error)
        return ConvertedNetwork(_function(model, layout, error), model.name, specification, assumed)
    return ConvertedNetwork(module, model.name, specification, (*assumed, *remarks), _joint_check(model, network))


def _joint_check(original: Any, network: Network) -> "Callable[[Model], None]":
    """Compares a translated network of several inputs, or of tokens, with the model in memory."""
    keras = sys.modules[package_of(original)]
    return partial(
        check_joint_inputs, network=network, keras_model=lambda: original, keras=keras, keras_major=_major(original)
    )


def _check(opened: "Model", *, original: Any, network: Network, shape: tuple[int, ...]) -> None:
    """Compare a translated network with the model in memory that it was made from."""
    keras = sys.modules[package_of(original)]
    if not any(computed_differently(layer, keras, _major(original)) for layer in all_layers(network)):
        compare(opened, network, shape, original, keras)


def package_of(model: Any) -> str:
    """The package whose model this is: ``keras`` or ``tf_keras``."""
    names = [cls.__module__.partition(".")[0] for cls in type(model).__mro__]
    return next(name for name in names if name in _PACKAGES)


def as_module(model: Any) -> nn.Module:
    """The torch module of a Keras model in memory; see `convert`.

    Raises:
        InputError: it is no Keras model, or has not been built.
    """
    converted = convert(model)
    if converted is None:
        raise InputError(f"a Keras model is needed, got {type(model).__name__}")
    return converted.module


def _function(model: Any, layout: Layout, error: Untranslatable) -> ScoresOnly:
    return ScoresOnly(KerasFunction(model, layout), reason=str(error))


def network_of(model: Any) -> Network:
    """The configuration of a Keras model in memory.

    Raises:
        Untranslatable: its class has none that lists layers.
    """
    try:
        return _with_functions(parse_network(json.loads(model.to_json())), model)
    except (LoadError, NotImplementedError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Untranslatable(f"the Keras model {model.name!r} cannot be translated: {reason}") from error


def _with_functions(network: Network, model: Any) -> Network:
    """The configuration with the functions of Lambda layers themselves, which are in memory already."""
    live = {layer.name: layer for layer in model.layers}
    layers = []
    for layer in network.layers:
        if layer.network is not None and layer.name in live:
            layer = replace(layer, network=_with_functions(layer.network, live[layer.name]))
        elif layer.kind == "Lambda" and layer.name in live:
            layer = replace(layer, settings={**layer.settings, "function": live[layer.name].function})
        layers.append(layer)
    return replace(network, layers=tuple(layers))


def live_weights(model: Any, network: Network) -> LayerWeights:
    """The weights of a Keras model by layer."""
    live = {layer.name: layer for layer in model.layers}
    children = {
        layer.name: _layer_weights(live[layer.name], layer.network) for layer in network.layers if layer.name in live
    }
    return LayerWeights(children=children)


def _layer_weights(layer: Any, network: Network | None) -> LayerWeights:
    if network is not None:
        return live_weights(layer, network)
    roles = [role for role in ("forward_layer", "backward_layer") if hasattr(layer, role)]
    if not roles and hasattr(layer, "layer"):
        roles = ["layer"]
    if roles:
        return LayerWeights(children={role: _inner_weights(getattr(layer, role)) for role in roles})
    return LayerWeights(tuple(map(_array, layer.weights)))


def _array(weight: Any) -> Array:
    """The numbers of a variable: a tensor of the backend in Keras 3, the variable itself in TensorFlow."""
    value = getattr(weight, "value", weight)
    return as_array(weight if callable(value) else value)


def _inner_weights(layer: Any) -> LayerWeights:
    """The weights of a layer inside a wrapper, which may be a network."""
    return _layer_weights(layer, network_of(layer) if is_keras_model(layer) else None)


def _major(model: Any) -> int:
    """The major version of the Keras that made the model: only Keras 3 names its configuration's modules."""
    return 3 if '"module": "keras' in model.to_json() else 2
