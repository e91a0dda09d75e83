"""The input that a Keras network expects, from its input layer and from the layers that prepare images."""

from typing import TYPE_CHECKING, Any

from convscope.engine.inputs.image_io import MAX_SIDE
from convscope.errors import LoadError
from convscope.loaders.keras.calls import references
from convscope.loaders.keras.config import Layer, Network, input_shape
from convscope.loaders.keras.layout import Layout
from convscope.loaders.preprocessing import ASSUMED_PIXELS, assumed_size

if TYPE_CHECKING:
    from convscope.engine.inputs.specs import InputSpec
    from convscope.engine.inputs.token_input import TokenInput

_UNKNOWN_SIDE = 224
"""The side of images for a network that takes any."""
_UNKNOWN_LENGTH = 64
"""The extent of other axes that a network leaves open."""
_RAW_PIXELS = 10
"""A network that divides by more than this, or subtracts more, is given pixels from 0 to 255."""
_PREPARING = ("Rescaling", "Normalization")
_PASSING = ("Resizing", "CenterCrop", "ZeroPadding2D", "Identity", "Dropout")


def declared_shape(network: Network) -> tuple[int | None, ...] | None:
    """The shape (batch, …) of the input in Keras' order of axes, if it is known."""
    layer = network.by_name.get(network.inputs[0].layer)
    while layer is not None:
        shape = input_shape(layer) or layer.built_for
        if shape is not None or layer.network is None:
            return shape
        layer = layer.network.by_name.get(layer.network.inputs[0].layer)
    return None


def input_specification(network: Network, layout: Layout) -> tuple["InputSpec", tuple[str, ...]]:
    """The input specification of a model, and what is assumed in it.

    An image of one, three or four channels is an `ImageInput`, a vector that an embedding reads a `TokenInput`. If the
    network does not prepare its pixels itself, nothing says how they were prepared in training; they are scaled to
    0 … 1, which a remark says.
    """
    from convscope.engine.inputs.specs import ImageInput, TensorInput

    _refuse_text(network)
    shape = declared_shape(network)
    if shape is None:
        return TensorInput(), ()
    axes = layout.shape_from_keras(shape)[1:]
    if len(axes) == 3 and axes[0] in (1, 3, 4):
        if max(side or 0 for side in axes) > MAX_SIDE:
            raise LoadError(f"the network takes images of {axes[1]}×{axes[2]} pixels, more than {MAX_SIDE} a side")
        size = (axes[1] or _UNKNOWN_SIDE, axes[2] or _UNKNOWN_SIDE)
        std, remarks = _pixel_range(network)
        if None in axes:
            remarks += (assumed_size(*size),)
        return ImageInput(size=size, mean=(0.0,) * axes[0], std=(std,) * axes[0], channels=axes[0]), remarks
    if len(axes) == 1 and (words := token_input(network, axes[0])) is not None:
        return words, ()
    if len(axes) < 2 or None in axes:
        return TensorInput(), ()
    return TensorInput(shape=axes), ()  # type: ignore[arg-type]


def example_shape(network: Network, layout: Layout) -> tuple[tuple[int, ...], bool]:
    """The shape of one input (channels first), empty where it is unknown, and whether all of it is declared."""
    shape = declared_shape(network)
    if shape is None:
        return (), False
    axes = layout.shape_from_keras(shape)[1:]
    unknown = _UNKNOWN_SIDE if len(axes) == 3 else _UNKNOWN_LENGTH
    if not axes or (axes[0] is None and (len(axes) > 1 or vocabulary(network) is None)):
        return (), False
    return tuple(side or unknown for side in axes), None not in axes


def vocabulary(network: Network) -> int | None:
    """The number of indices, if the input is looked up in an embedding."""
    layer = _embedding(network)
    indices = None if layer is None else layer.settings.get("input_dim")
    return indices if type(indices) is int and indices > 0 else None


def token_input(network: Network, length: int | None) -> "TokenInput | None":
    """The specification of a vector that an embedding reads; index 0 fills it up where it stands for no step."""
    from convscope.engine.inputs.token_input import TokenInput

    layer, indices = _embedding(network), vocabulary(network)
    if layer is None or indices is None:
        return None
    return TokenInput(vocabulary=indices, length=length, padding=0 if layer.settings.get("mask_zero") else None)


def _embedding(network: Network) -> Layer | None:
    """The embedding that reads the input, which may be in a nested network."""
    for layer in network.layers:
        if any(network.inputs[0] in references(call.args) for call in layer.calls):
            if layer.kind in ("Embedding", "ReversibleEmbedding"):
                return layer
            if layer.network is not None and len(layer.network.inputs) == 1:
                return _embedding(layer.network)
    return None


def _pixel_range(network: Network) -> tuple[float, tuple[str, ...]]:
    """The standard deviation that turns pixels in 0 … 1 into those of the network, and a remark if it is assumed."""
    layer = _preparing_layer(network)
    if layer is not None:
        return (1 / 255 if _reads_raw_pixels(layer) else 1.0), ()
    return 1.0, (ASSUMED_PIXELS,)


def _preparing_layer(network: Network) -> Layer | None:
    """The first layer that rescales the input, if no other layer computes before it."""
    source = network.inputs[0].layer
    for _ in network.layers:
        readers = [
            layer for layer in network.layers for call in layer.calls
            if source in {reference.layer for reference in references(call.args)}
        ]  # fmt: skip
        if len(readers) != 1:
            return None
        if readers[0].kind in _PREPARING:
            return readers[0]
        if readers[0].network is not None:
            return _preparing_layer(readers[0].network)
        if readers[0].kind not in _PASSING and not readers[0].kind.startswith("Random"):
            return None
        source = readers[0].name
    return None


def _reads_raw_pixels(layer: Layer) -> bool:
    """Whether a layer that rescales takes pixels from 0 to 255."""
    if layer.kind == "Rescaling":
        scales = _numbers(layer.settings.get("scale"))
        return bool(scales) and max(map(abs, scales)) < 1 / _RAW_PIXELS
    means = _numbers(layer.settings.get("mean"))
    return not means or max(map(abs, means)) > _RAW_PIXELS  # an adapted layer has its mean among the weights


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return _numbers(value.get("config", {}).get("value") if isinstance(value.get("config"), dict) else None)
    if isinstance(value, (list, tuple)):
        return [number for member in value for number in _numbers(member)]
    return [float(value)] if isinstance(value, (int, float)) else []


def _refuse_text(network: Network) -> None:
    layer = network.by_name.get(network.inputs[0].layer)
    if layer is not None and layer.settings.get("dtype") == "string":
        raise LoadError("the network takes text, which no lens explains")
