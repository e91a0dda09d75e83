"""Compares a translated network with the original in Keras."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.errors import LoadError, ModelFailed
from convscope.loaders.keras import engine
from convscope.loaders.keras.config import Layer, Network
from convscope.loaders.keras.inputs import declared_shape, vocabulary
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.masks import READERS
from convscope.loaders.keras.network import all_layers, is_channels_first
from convscope.values.facts import Fact

if TYPE_CHECKING:
    from convscope.engine.inputs.specs import InputSpec
    from convscope.engine.network.model import Model


def check_against_keras(
    model: "Model",
    network: Network,
    shape: tuple[int, ...],
    keras_model: Callable[[], Any],
    *,
    keras_major: int,
    agrees: Callable[["Model", Any], bool] | None = None,
) -> None:
    """Run both on the same random inputs and keep the difference in the model.

    A network is not checked where Keras is not installed, and where Keras is known to compute something else than when
    the network was trained. Where Keras cannot build or run it, a remark of the model says so.

    Args:
        model: the translated network.
        network: its configuration.
        shape: the shape of one input.
        keras_model: opens the original.
        keras_major: the version of Keras that the file is of.
        agrees: a comparison in less time, such as `agrees_on_one_sample`; where it fails, the whole one tells why.

    Raises:
        LoadError: they differ; the message names the first layer at which they do.
    """
    keras = engine.library()
    if keras is None or any(computed_differently(layer, keras, keras_major) for layer in all_layers(network)):
        return
    if agrees is not None and agrees(model, keras):
        return
    try:
        original = keras_model()
    except LoadError as error:
        model.caveats += (unchecked(error),)
        return
    compare(model, network, shape, original, keras)


def agrees_on_one_sample(
    model: "Model",
    keras: Any,
    *,
    original: Callable[[], Any],
    inputs: Tensor,
    outputs: list[Tensor],
    layout: Layout,
) -> bool:
    """Whether Keras gives for the first sample alone what the translated network gave for it in a batch.

    If so, the difference is kept in the model. Nothing is said of a network for which it is not.

    Args:
        model: the translated network.
        keras: the package.
        original: opens the original, for one sample.
        inputs: a batch of samples.
        outputs: what the translated network gives for them.
        layout: where the axes of Keras are.
    """
    from convscope.engine.network.conversion import Conversion
    from convscope.loaders.conversion_check import MAX_DIFFERENCE, relative_difference

    try:
        expected = engine.KerasFunction(original(), layout).outputs(inputs[:1].numpy())
    except Exception:  # whatever Keras meets: the whole comparison says what
        return False
    if len(expected) != len(outputs) or any(not part.ndim or len(part) != len(inputs) for part in outputs):
        return False
    pairs = zip(outputs, expected, strict=True)
    difference = max(relative_difference(part[:1].float().numpy(), reference) for part, reference in pairs)
    if not difference <= MAX_DIFFERENCE:
        return False
    model.conversion = Conversion(engine_name(keras), difference)
    return True


def compare(model: "Model", network: Network, shape: tuple[int, ...], original: Any, keras: Any) -> None:
    """Compare a translated network with a model in memory of ``keras``, or of tf.keras.

    Raises:
        LoadError: they differ; the message names the first layer at which they do.
    """
    from convscope.loaders.conversion_check import check_conversion

    inputs = random_samples(model.input, network, shape)
    layout = Layout(channels_first=is_channels_first(network))
    output, differences, arrays = model.output, [], inputs.numpy()
    try:
        for index, name in enumerate(network.outputs):
            model.output = name if len(network.outputs) > 1 else output
            function = engine.KerasFunction(original, layout, output=index)
            try:
                expected = function(arrays)
            except Exception as error:  # whatever the original engine raises
                model.caveats += (unchecked(error),)
                return
            layers = partial(function.layer_outputs, arrays) if keras.__name__ == "keras" else None
            check_conversion(model, inputs, expected, engine=engine_name(keras), layers=layers)
            differences.append(model.conversion)
    except ModelFailed:
        if None not in (declared_shape(network) or (None,))[1:]:
            raise
        return  # the extent that was chosen is too small for this network
    finally:
        model.output = output
    model.conversion = max(filter(None, differences), key=lambda conversion: conversion.difference)


def unchecked(error: Exception) -> Fact:
    """The remark on a network that the original engine could not run."""
    return Fact("the conversion could not be checked: {reason}", reason=" ".join(str(error).split())[:200])


def engine_name(keras: Any) -> str:
    """Keras, its version and its backend."""
    return f"Keras {keras.__version__} on {keras.backend.backend()}"


def computed_differently(layer: Layer, keras: Any, keras_major: int) -> bool:
    """Whether Keras computes a layer in another way than it was trained with.

    Keras 3 has another hard sigmoid than Keras 2, and gives recurrent layers no mask beside their first states. Newer
    versions do not crop after training, against their documentation. On torch it has another cubic filter, repeats the
    border in averages with one-sided padding, and crops the other side of transposed convolutions, unlike TensorFlow.
    """
    settings = layer.settings
    if keras_major < 3 and "hard_sigmoid" in (settings.get("activation"), settings.get("recurrent_activation")):
        return True
    if keras_major < 3 and layer.kind in READERS and any("initial_state" in call.kwargs for call in layer.calls):
        return True
    if layer.kind == "RandomCrop":
        return True
    if keras.backend.backend() == "torch" and settings.get("interpolation") == "bicubic":
        return not settings.get("antialias")
    if keras.backend.backend() != "torch" or settings.get("padding") != "same":
        return False
    if layer.kind.startswith("AveragePooling"):
        return settings.get("strides") not in (1, [1, 1], [1], None) or _even(settings.get("pool_size"))
    return layer.kind.endswith("Transpose") and settings.get("strides") not in (1, [1, 1], [1], [1, 1, 1])


def _even(sizes: Any) -> bool:
    return any(
        size % 2 == 0 for size in (sizes if isinstance(sizes, (list, tuple)) else [sizes]) if isinstance(size, int)
    )


def random_samples(specification: "InputSpec | None", network: Network, shape: tuple[int, ...]) -> Tensor:
    """Two random inputs: pixels for a network of images, indices for one that looks them up."""
    from convscope.engine.inputs.specs import ImageInput

    generator = torch.Generator().manual_seed(0)
    words = vocabulary(network)
    if words is not None:
        return torch.randint(0, words, (2, *shape), generator=generator, dtype=torch.int64, device="cpu").float()
    if isinstance(specification, ImageInput):
        levels = (specification.mean, specification.std)
        mean, std = (torch.tensor(numbers, dtype=torch.float32, device="cpu").view(1, -1, 1, 1) for numbers in levels)
        return (torch.rand(2, *shape, generator=generator, dtype=torch.float32, device="cpu") - mean) / std
    return torch.randn(2, *shape, generator=generator, dtype=torch.float32, device="cpu")
