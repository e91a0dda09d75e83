"""Opening an ONNX file: as a network of modules, or as scores only where a node cannot be translated."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.engine.network.scores_only import ScoresOnly
from convscope.errors import LoadError, install_command
from convscope.loaders.conversion_check import MAX_DIFFERENCE, check_conversion
from convscope.loaders.onnx import operators  # noqa: F401 - declares the operators
from convscope.loaders.onnx.batches import settle_batch_size
from convscope.loaders.onnx.building import NetworkBuilder
from convscope.loaders.onnx.functions import unsupported_operators
from convscope.loaders.onnx.inputs import GraphInput, input_specification, read_input, read_labels
from convscope.loaders.onnx.network import OnnxNetwork
from convscope.loaders.onnx.operators.translation import UnsupportedOperator
from convscope.loaders.onnx.outputs import check_outputs, first_scores
from convscope.loaders.onnx.reading import StoredModel, read_model
from convscope.loaders.onnx.runtime import RuntimeNetwork, engine_name, is_installed, layer_outputs
from convscope.loaders.onnx.single_precision import in_single_precision
from convscope.loaders.size_guard import bounded_sizes
from convscope.values.facts import Fact
from convscope.values.formatting import format_list

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

QUANTIZED = Fact(
    "quantised network: gradients pass straight through the rounding, and are zero where values are clipped"
)
"""The remark on every result of a network with quantised operators."""

SINGLE_PRECISION = Fact("the file is in half precision; the network is computed in single precision")
"""The remark on every result of a network in half precision."""

MAX_QUANTIZED_DIFFERENCE = 0.05
"""A quantised network may differ by some steps of its integers: a number between two steps is rounded either way."""


def open_model(path: Path, options: Mapping[str, str]) -> "Model":
    """The model in an ONNX file.

    Args:
        path: the file.
        options: ``shape`` of one sample and ``fixed`` values of further inputs, as text.
    """
    stored = read_model(path)
    check_outputs(stored)
    graph_input = read_input(stored, options.get("shape"), options.get("fixed"))
    source = str(path) + "".join(f"{'&' if i else '?'}{name}={text}" for i, (name, text) in enumerate(options.items()))
    as_stored, stored_input, widened = stored, graph_input, graph_input.dtype in (torch.float16, torch.bfloat16)
    if widened:  # processors compute with half precision many times slower; ONNX Runtime widens it there too
        stored = in_single_precision(stored)
        graph_input = replace(graph_input, dtype=torch.float32)
    inputs = 2 * math.prod(graph_input.shape)
    try:
        with bounded_sizes(stored.size, inputs):
            translated = _translate(stored, graph_input)
    except UnsupportedOperator as error:
        return _open_scores_only(as_stored, stored_input, source, error.reason)
    network, builder, caveats, outputs = translated
    caveats += (SINGLE_PRECISION,) if widened else ()
    model = _model(
        network, stored, graph_input, source, caveats, [tuple(output.shape) for output in builder.outputs.values()]
    )
    stored.release_weights()
    if is_installed():
        _check_with_runtime(model, stored, graph_input, builder, outputs or {})
    return model


def _translate(
    stored: StoredModel, graph_input: GraphInput
) -> tuple[OnnxNetwork, NetworkBuilder, tuple[Fact, ...], dict[str, Tensor] | None]:
    """The network as modules, its builder, remarks for every result, and the outputs for two examples where it ran.

    Raises:
        UnsupportedOperator: nodes that cannot be translated.
    """
    unsupported = unsupported_operators(stored)
    if unsupported:
        counted = [f"{kind} ({count} node{'s' * (count > 1)})" for kind, count in unsupported.most_common()]
        raise UnsupportedOperator(format_list(counted))
    size = graph_input.batch_size or 1
    pair = graph_input.for_graph(graph_input.examples(2))
    example = pair[1:].expand(size, *pair.shape[1:]).contiguous()
    for fixed_shape in (True, False):
        builder = NetworkBuilder(stored, fixed_shape=fixed_shape and graph_input.has_fixed_shape)
        network = builder.build(graph_input.name, example, graph_input.fixed)
        in_parts, outputs = settle_batch_size(network, pair, size, builder.outputs)
        if in_parts is None or not graph_input.has_fixed_shape:
            break
    network.channels_last = graph_input.channels_last
    network.whole_numbers = not graph_input.dtype.is_floating_point
    caveats = (in_parts, QUANTIZED if builder.quantized else None)
    return network, builder, tuple(caveat for caveat in caveats if caveat is not None), outputs


def _model(
    network: nn.Module,
    stored: StoredModel,
    graph_input: GraphInput,
    source: str,
    caveats: tuple[Fact, ...],
    output_shapes: Sequence[Sequence[int]],
) -> "Model":
    from convscope.engine.network.model import Model

    single = output_shapes[0] if len(output_shapes) == 1 else ()
    classes = single[1] if len(single) > 1 and math.prod(single[2:]) == 1 else None
    specification, assumed_from = input_specification(stored, graph_input, classes)
    return Model(
        network,
        input=specification,
        labels=read_labels(stored),
        name=stored.path.stem,
        source=source,
        caveats=caveats,
        assumed_from=assumed_from,
    )


def _in_runtime(stored: StoredModel, graph_input: GraphInput, output: str) -> RuntimeNetwork:
    return RuntimeNetwork(
        stored.path,
        graph_input.name,
        {name: tensor.numpy() for name, tensor in graph_input.fixed.items()},
        output,
        1 if graph_input.fixed else graph_input.batch_size,  # fixed inputs have the batch size 1
        graph_input.channels_last,
        str(graph_input.dtype).removeprefix("torch."),
    )


def _open_scores_only(stored: StoredModel, graph_input: GraphInput, source: str, reason: str) -> "Model":
    """The model as it runs in ONNX Runtime.

    Raises:
        LoadError: ONNX Runtime is not installed, or refuses the network.
    """
    if not is_installed():
        raise LoadError(
            f"{str(stored.path)!r} has operators that ConvScope does not translate: {reason}; with ONNX Runtime it "
            f"opens for lenses that need only scores: {install_command('onnx')} onnxruntime"
        )
    runtime = _in_runtime(stored, graph_input, "")
    try:
        runtime.output, shape = first_scores(stored, runtime, graph_input)
    except LoadError as error:
        raise LoadError(
            f"{str(stored.path)!r} has operators that ConvScope does not translate: {reason}; and {error}"
        ) from error
    scores = ScoresOnly(runtime, f"it runs in {engine_name()}, because ConvScope does not translate {reason}")
    return _model(scores, stored, graph_input, source, (), [shape])


def _check_with_runtime(
    model: "Model",
    stored: StoredModel,
    graph_input: GraphInput,
    builder: NetworkBuilder,
    outputs: Mapping[str, Tensor],
) -> None:
    """Compare each output that has scores per image with that of ONNX Runtime; the largest difference is kept."""
    from convscope.engine.network.model import Model

    module, inputs = model.module, graph_input.examples(2)
    names = [info.name for info in stored.proto.graph.output]
    runtime = _in_runtime(stored, graph_input, names[0])
    try:
        runtime.as_written, runtime.keeps_memory = builder.quantized, False
        runtime.open(stored)
        expected = dict(zip(names, runtime.run(inputs.numpy(), names), strict=True))
    except LoadError as error:
        model.caveats += (Fact("the conversion could not be checked: {reason}", reason=str(error)),)
        return

    def layers() -> Any:
        return layer_outputs(runtime, stored, inputs.numpy(), builder.layers)

    conversions = []
    for name, values in expected.items():
        if values.dtype.kind == "f" and values.ndim and len(values) == len(inputs) and values.size:
            probe = Model(module, input=model.input, output=name if len(names) > 1 else None, name=model.name)
            limit = MAX_QUANTIZED_DIFFERENCE if builder.quantized else MAX_DIFFERENCE
            check_conversion(
                probe, inputs, values, engine=engine_name(), layers=layers, limit=limit, actual=outputs.get(name)
            )
            conversions.append(probe.conversion)
    model.conversion = max(filter(None, conversions), key=lambda conversion: conversion.difference, default=None)
