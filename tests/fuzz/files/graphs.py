"""ONNX files to mutate: convolutions, recurrent layers, quantised numbers, branches, weights beside the file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

_RANDOM = np.random.default_rng(0)


def _weights(**shapes: tuple[int, ...]) -> list[Any]:
    return [
        numpy_helper.from_array(_RANDOM.normal(size=shape).astype(np.float32), name) for name, shape in shapes.items()
    ]


def _integers(**values: Any) -> list[Any]:
    return [numpy_helper.from_array(np.asarray(value, np.int64), name) for name, value in values.items()]


def _model(nodes: Sequence[Any], weights: Sequence[Any], shape: Sequence[Any] = ("N", 3, 12, 12)) -> Any:
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        list(weights),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _file(model: Any) -> Mapping[str, bytes]:
    return {"net.onnx": model.SerializeToString()}


def convolutions() -> Mapping[str, bytes]:
    """Convolutions with norms, pooling and a shortcut."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "first", "bias"], ["a"], name="/stem/Conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", ["a", "bias", "bias", "bias", "variance"], ["b"], name="/stem/norm"),
        node("Relu", ["b"], ["c"], name="/stem/Relu"),
        node("Conv", ["c", "second"], ["d"], name="/block/Conv", auto_pad="SAME_UPPER", dilations=[1, 1]),
        node("Add", ["c", "d"], ["e"], name="/block/Add"),
        node("MaxPool", ["e"], ["f"], name="/pool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        node("Resize", ["f", "", "scales"], ["g"], name="/resize", mode="linear"),
        node("Pad", ["g", "padding"], ["h"], name="/pad"),
        node("ConvTranspose", ["h", "up"], ["i"], name="/up", strides=[2, 2]),
        node("GlobalAveragePool", ["i"], ["j"], name="/mean"),
        node("Flatten", ["j"], ["k"], name="/flatten"),
        node("Gemm", ["k", "head"], ["l"], name="/head", transB=1, alpha=0.5),
        node("Softmax", ["l"], ["y"], name="/scores", axis=-1),
    ]
    weights = _weights(first=(4, 3, 3, 3), bias=(4,), second=(4, 4, 3, 3), up=(4, 5, 2, 2), head=(3, 5))
    variance = numpy_helper.from_array(np.ones(4, np.float32), "variance")
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    return _file(_model(nodes, [*weights, variance, scales, *_integers(padding=[0, 0, 1, 1, 0, 0, 1, 1])]))


def recurrent() -> Mapping[str, bytes]:
    """An LSTM over columns, with shapes computed from the input."""
    node = helper.make_node
    nodes = [
        node("Shape", ["x"], ["shape"], name="/shape"),
        node("Gather", ["shape", "zero"], ["batch"], name="/batch"),
        node("Unsqueeze", ["batch", "zeros"], ["batches"], name="/batches"),
        node("Concat", ["batches", "rest"], ["target"], name="/target", axis=0),
        node("Reshape", ["x", "target"], ["a"], name="/reshape"),
        node("Transpose", ["a"], ["b"], name="/transpose", perm=[2, 0, 1]),
        node("LSTM", ["b", "W", "R", "B"], ["c", "", ""], name="/lstm", hidden_size=5, direction="forward"),
        node("Squeeze", ["c", "one"], ["d"], name="/squeeze"),
        node("Slice", ["d", "last", "end", "zeros"], ["e"], name="/slice"),
        node("Squeeze", ["e", "zeros"], ["f"], name="/squeeze2"),
        node("MatMul", ["f", "head"], ["y"], name="/head"),
    ]
    weights = _weights(W=(1, 20, 36), R=(1, 20, 5), B=(1, 40), head=(5, 3))
    numbers = _integers(zero=0, zeros=[0], one=[1], rest=[36, 12], last=[-1], end=[2**31])
    return _file(_model(nodes, [*weights, *numbers]))


def quantized() -> Mapping[str, bytes]:
    """Numbers rounded to eight bits around a convolution."""
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["a"]),
        node("DequantizeLinear", ["a", "scale", "zero"], ["b"]),
        node("DequantizeLinear", ["kernel", "scale", "shift"], ["c"]),
        node("Conv", ["b", "c"], ["d"]),
        node("ReduceMean", ["d"], ["e"], axes=[2, 3], keepdims=0),
        node("Clip", ["e", "low", "high"], ["y"]),
    ]
    constants = {
        "scale": np.float32(0.1), "zero": np.uint8(3), "shift": np.int8(0), "low": np.float32(-5),
        "high": np.float32(5), "kernel": _RANDOM.integers(-9, 9, (3, 3, 3, 3)).astype(np.int8),
    }  # fmt: skip
    return _file(_model(nodes, [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]))


def controlled() -> Mapping[str, bytes]:
    """A branch, a loop and indices."""
    node = helper.make_node
    info = helper.make_tensor_value_info
    branches = [
        helper.make_graph(
            [node(kind, ["x"], [f"{kind} out"])], kind, [], [info(f"{kind} out", onnx.TensorProto.FLOAT, None)]
        )
        for kind in ("Relu", "Tanh")
    ]
    body = helper.make_graph(
        [node("Identity", ["condition"], ["go"]), node("Add", ["carried", "carried"], ["doubled"])],
        "body",
        [
            info("pass", onnx.TensorProto.INT64, []),
            info("condition", onnx.TensorProto.BOOL, []),
            info("carried", onnx.TensorProto.FLOAT, None),
        ],
        [info("go", onnx.TensorProto.BOOL, []), info("doubled", onnx.TensorProto.FLOAT, None)],
    )
    nodes = [
        node("If", ["yes"], ["a"], then_branch=branches[0], else_branch=branches[1]),
        node("Loop", ["passes", "yes", "a"], ["b"], body=body),
        node("Gather", ["b", "indices"], ["c"], axis=1),
        node("ReduceMax", ["c"], ["d"], axes=[2, 3], keepdims=0),
        node("Expand", ["d", "extents"], ["e"]),
        node("Tile", ["e", "repeats"], ["f"]),
        node("TopK", ["f", "two"], ["y", ""], axis=-1),
    ]
    numbers = _integers(passes=3, indices=[0, 2, 1], extents=[1, 3], repeats=[1, 2], two=[2])
    return _file(_model(nodes, [*numbers, numpy_helper.from_array(np.array(True), "yes")]))


def beside() -> Mapping[str, bytes]:
    """Weights in a file beside the network's own."""
    (kernel,) = _weights(kernel=(3, 3, 12, 12))
    data = kernel.raw_data
    kernel.ClearField("raw_data")
    kernel.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", "offset": "0", "length": str(len(data))}.items():
        entry = kernel.external_data.add()
        entry.key, entry.value = key, value
    nodes = [helper.make_node("Conv", ["x", "kernel"], ["a"]), helper.make_node("Flatten", ["a"], ["y"])]
    return {**_file(_model(nodes, [kernel])), "weights.bin": data}


GRAPHS: dict[str, Callable[[], Mapping[str, bytes]]] = {
    function.__name__: function for function in (convolutions, recurrent, quantized, controlled, beside)
}
"""By name, what writes the files of a network."""
