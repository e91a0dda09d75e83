"""Keras networks of several inputs, or of tokens: the specification of each, and the comparison with Keras on all."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.errors import LoadError, ModelFailed
from convscope.loaders.keras import engine
from convscope.loaders.keras.checking import computed_differently, engine_name, unchecked
from convscope.loaders.keras.config import Network
from convscope.loaders.keras.inputs import declared_shape, example_shape, input_specification, vocabulary
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.network import all_layers, is_channels_first

if TYPE_CHECKING:
    from convscope.engine.inputs.named_inputs import NamedInputs
    from convscope.engine.inputs.specs import InputSpec
    from convscope.engine.network.model import Model


def joint_specification(network: Network, layout: Layout) -> tuple["NamedInputs", tuple[str, ...]]:
    """The specification of each input by the name of its layer, and what is assumed in them."""
    from convscope.engine.inputs.named_inputs import NamedInputs

    specifications: dict[str, InputSpec] = {}
    remarks: list[str] = []
    for name, alone in _one_by_one(network):
        specifications[name], assumed = _specification(alone, layout)
        remarks += [remark for remark in assumed if remark not in remarks]
    return NamedInputs(specs=specifications), tuple(remarks)


def example_shapes(network: Network, layout: Layout) -> list[tuple[tuple[int, ...], bool]]:
    """For each input the shape of one, channels first, and whether all of it is declared; see `example_shape`."""
    return [example_shape(alone, layout) for _, alone in _one_by_one(network)]


def check_joint_inputs(
    model: "Model", network: Network, keras_model: Callable[[], Any], *, keras: Any, keras_major: int
) -> None:
    """Run a translated network and the original in Keras on the same random inputs, and keep the largest difference.

    Args:
        model: the translated network.
        network: its configuration.
        keras_model: opens the original.
        keras: the package keras or tf.keras; None where it is not installed, and nothing is checked.
        keras_major: the version of Keras that the file is of.

    Raises:
        LoadError: they differ; the message names the first layer at which they do.
    """
    from convscope.loaders.conversion_check import check_conversion

    layout = Layout(channels_first=is_channels_first(network))
    shapes = [shape for shape, _ in example_shapes(network, layout)]
    all_declared = all(is_declared for _, is_declared in example_shapes(network, layout))
    if (
        keras is None
        or not all(shapes)
        or any(computed_differently(x, keras, keras_major) for x in all_layers(network))
    ):
        return
    inputs = _examples(network, shapes)
    try:
        with torch.no_grad(), model.wrap_forward_errors(tuple(inputs[0].shape)):
            outputs = model.module(*inputs)
    except ModelFailed:
        if all_declared:
            raise
        return  # the extent that was chosen is too small for this network
    differences = []
    try:
        original = keras_model()
        arrays = tuple(part.numpy() for part in inputs)
        functions = [engine.KerasFunction(original, layout, output=n) for n in range(len(network.outputs))]
        expected = [function(*arrays) for function in functions]
    except Exception as error:  # whatever the original engine raises
        model.caveats += (unchecked(error),)
        return
    layers = partial(functions[0].layer_outputs, *arrays) if keras.__name__ == "keras" else None
    for number, reference in enumerate(expected):
        actual = list(outputs.values())[number] if isinstance(outputs, dict) else outputs
        check_conversion(model, inputs, reference, engine=engine_name(keras), actual=actual, layers=layers)
        differences.append(model.conversion)
    model.conversion = max(filter(None, differences), key=lambda conversion: conversion.difference)


def require_explainable(specification: "NamedInputs", reason: Exception) -> None:
    """Refuse a network of which only the scores are known, and that takes nothing but tokens.

    Raises:
        LoadError: tokens are explained at their embedding, which is not known.
    """
    from convscope.engine.inputs.token_input import TokenInput

    if all(isinstance(spec, TokenInput) for spec in (specification.specs or {}).values()):
        raise LoadError(f"{reason}; its inputs are tokens, which are explained at their embedding and not by scores")


def _one_by_one(network: Network) -> Iterator[tuple[str, Network]]:
    """Each input by the name of its layer, and the network as if it were the only one.

    Raises:
        LoadError: two inputs are of one layer.
    """
    names = [reference.layer for reference in network.inputs]
    for reference in network.inputs:
        if names.count(reference.layer) > 1:
            raise LoadError(f"two inputs of the network are of one layer, {reference.layer!r}, and have no names")
        yield reference.layer, replace(network, inputs=(reference,))


def _specification(alone: Network, layout: Layout) -> tuple["InputSpec", tuple[str, ...]]:
    """As for a network of one input; a vector of known length that holds no tokens is the row of a table."""
    from convscope.engine.inputs.table_input import TableInput

    shape = declared_shape(alone)
    if vocabulary(alone) is None and shape is not None and len(shape) == 2 and shape[1] is not None:
        return TableInput(features=shape[1]), ()
    return input_specification(alone, layout)


def _examples(network: Network, shapes: list[tuple[int, ...]]) -> tuple[Tensor, ...]:
    """Two random samples: numbers of tokens where an embedding reads them, else standard normal numbers."""
    generator = torch.Generator().manual_seed(0)
    examples = []
    for (_, alone), shape in zip(_one_by_one(network), shapes, strict=True):
        words = vocabulary(alone)
        if words is None:
            part = torch.randn(2, *shape, generator=generator, dtype=torch.float32, device="cpu")
        else:
            part = torch.randint(0, words, (2, *shape), generator=generator, dtype=torch.int64, device="cpu").float()
        examples.append(part)
    return tuple(examples)
