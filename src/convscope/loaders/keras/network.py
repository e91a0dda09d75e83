"""From the configuration and the weights of a Keras network to a torch module."""

from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from convscope.errors import LoadError
from convscope.loaders.keras.calls import Call
from convscope.loaders.keras.config import Layer, Network
from convscope.loaders.keras.graph import KerasNetwork
from convscope.loaders.keras.layers import (  # noqa: F401 - declare their translators
    activations,
    attention,
    categories,
    convolutional_lstm,
    convolutions,
    dense,
    identities,
    images,
    lambdas,
    merging,
    normalization,
    pooling,
    recurrent,
    reshaping,
    resizing,
    transposed_convolutions,
    untranslated,
    wrappers,
)
from convscope.loaders.keras.layers.operations import translate_operation
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.masks import ATTENTION, READERS, uses_masks
from convscope.loaders.keras.translation import Conversion, LayerContext, translate_layer
from convscope.loaders.keras.weights import LayerWeights
from convscope.values.facts import Fact

_IGNORED_ARGUMENTS = ("training", "name")
"""Arguments of calls that change nothing when a network is used."""


def translate_network(
    network: Network, weights: LayerWeights, *, keras_major: int = 3, trust: bool = False
) -> tuple[KerasNetwork, list[str]]:
    """The torch module of a network in eval mode, and remarks for its results.

    Args:
        network: its configuration.
        weights: its weights.
        keras_major: the version of Keras that it is of.
        trust: whether code in its configuration may run.

    Raises:
        Untranslatable: a layer has no counterpart; the message names it.
        LoadError: the configuration or the weights are not those of a network.
    """
    layout = Layout(channels_first=is_channels_first(network))
    conversion = Conversion(layout, keras_major, [], _translate, masked=uses_masks(all_layers(network)), trust=trust)
    module = _translate_graph(network, weights, conversion)
    module.eval()
    return module, conversion.remarks


def _translate(context: LayerContext) -> nn.Module:
    """The module of a layer or of a nested network."""
    if context.layer.network is None:
        return translate_operation(context) if _is_operation(context.layer) else translate_layer(context)
    return _translate_graph(context.layer.network, context.weights, context.conversion)


def _translate_graph(network: Network, weights: LayerWeights, conversion: Conversion) -> KerasNetwork:
    modules: dict[str, nn.Module] = {}
    input_names = {reference.layer for reference in network.inputs}
    for layer in network.layers:
        if layer.name in input_names and not layer.calls:
            continue
        context = LayerContext(layer, weights.children.get(layer.name, LayerWeights()), conversion)
        modules[layer.name] = _translate(context)
        if any(call.kwargs.get("training") is True for call in layer.calls):
            _say_or_refuse_training(context)
    layers = tuple(
        replace(layer, calls=tuple(_without_ignored(call, layer) for call in layer.calls)) for layer in network.layers
    )
    return KerasNetwork(
        replace(network, layers=layers), modules, masked=conversion.masked, keras_major=conversion.keras_major
    )


def _say_or_refuse_training(context: LayerContext) -> None:
    """A layer that is always called as in training: what is random is left out, which a remark says.

    Raises:
        Untranslatable: it would normalize by the statistics of each batch.
    """
    if "BatchNorm" in context.layer.kind:
        raise context.refuse("it is called with training=True, and normalizes by the statistics of each batch")
    if context.layer.kind.startswith(("Random", "Gaussian")) or "Dropout" in context.layer.kind:
        context.conversion.remarks.append(
            Fact(
                "layer {layer} is random at each call in Keras (training=True); here it passes its input on",
                layer=context.layer.name,
            )
        )


def _is_operation(layer: Layer) -> bool:
    return layer.operation or layer.kind in ("TFOpLambda", "SlicingOpLambda")


def _without_ignored(call: Call, layer: Layer) -> Call:
    """The call without arguments that change nothing: a mask does not, where the layer reads none."""
    kept = {name: value for name, value in call.kwargs.items() if name not in _IGNORED_ARGUMENTS and value is not None}
    if layer.kind not in READERS | ATTENTION:
        kept = {name: value for name, value in kept.items() if name != "mask" or layer.network is not None}
    return replace(call, kwargs=kept)


def is_channels_first(network: Network) -> bool:
    """Whether the layers of a network keep channels at axis 1.

    Raises:
        LoadError: some do and some do not.
    """
    formats = {
        layer.settings["data_format"]: layer.name
        for layer in all_layers(network)
        if layer.kind != "Flatten" and layer.settings.get("data_format") in ("channels_first", "channels_last")
    }
    if len(formats) > 1:
        raise LoadError(
            f"the network mixes channels first (layer {formats['channels_first']!r}) and channels last "
            f"(layer {formats['channels_last']!r})"
        )
    return "channels_first" in formats


def all_layers(network: Network) -> Iterator[Layer]:
    """The layers of a network and of those nested in it."""
    for layer in network.layers:
        yield layer
        if layer.network is not None:
            yield from all_layers(layer.network)
