"""Operators give what the cases of the ONNX standard expect, with constants as weights and with all inputs variable."""

import functools
import re
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from convscope.loaders.onnx import operators  # noqa: E402, F401 - declares them
from convscope.loaders.onnx.building import NetworkBuilder  # noqa: E402
from convscope.loaders.onnx.functions import unsupported_operators  # noqa: E402
from convscope.loaders.onnx.operators.translation import UnsupportedOperator  # noqa: E402
from convscope.loaders.onnx.reading import StoredModel  # noqa: E402
from convscope.loaders.onnx.tensors import ELEMENT_TYPES  # noqa: E402
from convscope.loaders.onnx.values import Dependence, SequenceValue, Value  # noqa: E402

GROUPS = {
    "convolution": "Conv ConvTranspose Col2Im",
    "pooling": "MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool MaxUnpool",
    "normalization": "BatchNormalization InstanceNormalization GroupNormalization LayerNormalization LRN "
    "LpNormalization MeanVarianceNormalization RMSNormalization",
    "matrix": "MatMul Gemm Einsum Det Trilu",
    "activation": "Relu LeakyRelu PRelu Elu Celu Selu Sigmoid HardSigmoid Tanh Softplus Softsign HardSwish Mish Gelu "
    "Swish ThresholdedRelu Shrink Clip Softmax LogSoftmax Hardmax Dropout",
    "shapes": "Reshape Flatten Transpose Squeeze Unsqueeze Concat Split Slice Expand Tile Pad Shape Size Cast CastLike "
    "DepthToSpace SpaceToDepth CenterCropPad Identity",
    "indexing": "Gather GatherElements GatherND ScatterElements ScatterND OneHot NonZero Compress TopK ArgMax ArgMin "
    "CumSum CumProd ReverseSequence GridSample AffineGrid Unique TensorScatter",
    "reduction": "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp "
    "ReduceSumSquare",
    "resizing": "Resize Upsample",
    "recurrent": "LSTM GRU RNN",
    "attention": "Attention RotaryEmbedding",
    "quantisation": "QuantizeLinear DequantizeLinear DynamicQuantizeLinear ConvInteger MatMulInteger QLinearConv "
    "QLinearMatMul",
    "creation": "Constant ConstantOfShape Range EyeLike",
    "detection": "NonMaxSuppression RoiAlign DeformConv",
    "sequences": "SequenceConstruct SequenceEmpty SequenceAt SequenceInsert SequenceErase SequenceLength SequenceMap "
    "ConcatFromSequence SplitToSequence Optional OptionalHasElement OptionalGetElement",
    "control": "If Loop Scan",
    "signals": "DFT STFT MelWeightMatrix",
}
"""The groups in which the cases run; operators of no group are elementwise."""

NOT_LIKE_THE_CASES = {
    "test_resize_downsample_scales_linear_align_corners": "rounds the extent first, as ONNX Runtime does",
    "test_resize_downsample_scales_cubic_align_corners": "rounds the extent first, as ONNX Runtime does",
    "test_dynamicquantizelinear": "each sample of a batch has a scale of its own, as if it were alone",
    "test_training_dropout": "drops nothing, as networks are explained in inference",
}
LEAST_CASES = 1645
"""Cases that must run, of those of onnx 1.23 (1884 of all kinds); others need operators or types that are refused."""


@functools.cache
def cases() -> dict[str, list[Any]]:
    """The cases of the standard with numbers as inputs and outputs, by group."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the generators divide by zero on purpose
        collected = collect_testcases()
    group_of = {kind: group for group, kinds in GROUPS.items() for kind in kinds.split()}
    groups = defaultdict(list)
    for case in collected:
        kind = case.model.graph.node[-1].op_type if len(case.model.graph.node) == 1 else "expanded"
        standard = any(entry.domain in ("", "ai.onnx") for entry in case.model.opset_import)
        if standard and case.data_sets and _holds_numbers(case):
            groups[group_of.get(kind, kind if kind == "expanded" else "elementwise")].append(case)
    return groups


def _holds_numbers(case: Any) -> bool:
    arrays = [array for values in case.data_sets[0] for array in _arrays(list(values))]
    types = [getattr(array, "dtype", np.dtype(object)) for array in arrays]
    return all(t.kind in "fiub" or t.name == "bfloat16" for t in types) and not any(
        re.search(r"float8|float4|int4|int2", t.name) for t in types
    )


def _arrays(value: Any) -> list[Any]:
    """The arrays of a value of a case, which may be a sequence of them or a stored tensor."""
    if isinstance(value, list):
        return [array for member in value for array in _arrays(member)]
    if isinstance(value, onnx.TensorProto):
        eight_bits = value.data_type not in ELEMENT_TYPES
        return [object() if eight_bits else onnx.numpy_helper.to_array(value)]
    return [value]


def value_of(name: str, data: Any, dependence: Dependence, number: int | None) -> Value:
    """An input of a case."""
    if data is None:
        return Value(name, None, Dependence.NOTHING)
    if isinstance(data, list):
        return SequenceValue.of(name, [Value(name, tensor(array), Dependence.NOTHING) for array in data])
    return Value(name, tensor(data), dependence, number)


def tensor(array: Any) -> torch.Tensor:
    (array,) = _arrays(array)
    array = np.asarray(array)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype(np.float32)).bfloat16()
    return torch.from_numpy(np.array(array))


def run(case: Any, *, constants: bool) -> list[Any]:
    """The outputs of a case; with ``constants`` all inputs but the first are weights."""
    graph = case.model.graph
    opset = max(entry.version for entry in case.model.opset_import if entry.domain in ("", "ai.onnx"))
    functions = {(f.domain, f.name): f for f in case.model.functions}
    stored = StoredModel(case.model, Path("case.onnx"), opset, functions)
    if unsupported := unsupported_operators(stored):
        raise UnsupportedOperator(str(unsupported))
    builder = NetworkBuilder(stored, fixed_shape=False)
    scope = {}
    for place, (info, array) in enumerate(zip(graph.input, case.data_sets[0][0], strict=True)):
        dependence = Dependence.NOTHING if constants and place else Dependence.INPUT
        scope[info.name] = value_of(info.name, array, dependence, None if constants and place else place)
    builder.network.values = len(scope)
    with torch.no_grad():
        return [_numbers(value) for value in builder.run_graph(graph, scope)]


def _numbers(value: Value) -> Any:
    return [_numbers(member) for member in value.example] if isinstance(value, SequenceValue) else value.example


def disagreement(case: Any, *, constants: bool) -> str:
    """How the outputs of a case differ from those expected; empty where they agree."""
    coarse = re.search("bf16|bfloat16|fp16|float16", case.name) is not None
    outputs = [array for output in run(case, constants=constants) for array in _arrays(output)]
    for actual, expected in zip(outputs, _arrays(list(case.data_sets[0][1])), strict=True):
        wanted = tensor(expected)
        if actual.shape != wanted.shape:
            return f"{case.name}: shape {tuple(actual.shape)}, not {tuple(wanted.shape)}"
        tolerance = 2e-2 if coarse else 1e-3
        same = torch.allclose(actual.double(), wanted.double(), rtol=tolerance, atol=1e-5, equal_nan=True)
        if not same:
            return f"{case.name}: {actual.flatten()[:4].tolist()}, not {wanted.flatten()[:4].tolist()}"
    return ""


@pytest.mark.parametrize("group", [*GROUPS, "elementwise", "expanded"])
def test_cases_of_the_standard_give_what_they_expect(group: str) -> None:
    wrong, cases_run = [], 0
    for case in cases()[group]:
        if case.name.startswith(tuple(NOT_LIKE_THE_CASES)):
            continue
        try:
            wrong += [text for constants in (True, False) if (text := disagreement(case, constants=constants))]
        except UnsupportedOperator:
            continue
        cases_run += 1
    assert wrong == []
    assert cases_run > 0


def test_most_cases_of_the_standard_run() -> None:
    supported = 0
    for case in (case for group in cases().values() for case in group):
        opset = max(entry.version for entry in case.model.opset_import)
        supported += not unsupported_operators(StoredModel(case.model, Path("case.onnx"), opset, {}))
    assert supported >= LEAST_CASES
