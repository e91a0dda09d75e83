"""Small ONNX files for tests: written node by node, or exported by PyTorch."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
helper = onnx.helper


def save_graph(
    path: Path,
    nodes: Sequence[Any],
    shape: Sequence[int | str | None] | None,
    *,
    weights: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    element: int = onnx.TensorProto.FLOAT,
    **fields: Any,
) -> Path:
    """Write a graph with the input ``x`` of a shape, and outputs of unknown shape."""
    inputs = [helper.make_tensor_value_info("x", element, shape)]
    infos = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "graph", inputs, infos, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **fields)
    path.write_bytes(model.SerializeToString())
    return path


def export(net: torch.nn.Module, example: torch.Tensor, path: Path, **options: Any) -> Path:
    """Export a network with PyTorch's exporter that needs no further package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.eval(), (example,), path, dynamo=False, **options)
    return path
