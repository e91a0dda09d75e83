"""Networks in half precision, rewritten to single precision, in which processors compute many times faster."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from convscope.loaders.onnx.graph import MAX_DEPTH
from convscope.loaders.onnx.reading import StoredModel
from convscope.loaders.onnx.tensors import read_tensor

_FLOAT, _HALF = 1, (10, 16)


def in_single_precision(stored: StoredModel) -> StoredModel:
    """The same network with float32 in place of float16 and bfloat16."""
    proto = type(stored.proto)()
    proto.CopyFrom(stored.proto)
    for graph in _graphs(proto.graph):
        for tensor in graph.initializer:
            _widen(tensor, stored.folder)
        for info in (*graph.input, *graph.output, *graph.value_info):
            if info.type.tensor_type.elem_type in _HALF:
                info.type.tensor_type.elem_type = _FLOAT
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    _widen(attribute.t, stored.folder)
                elif attribute.name in ("to", "dtype", "output_dtype") and attribute.i in _HALF:
                    attribute.i = _FLOAT
    return replace(stored, proto=proto, is_changed=True)


def _graphs(graph: Any, depth: int = 0) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g") and depth < MAX_DEPTH:
                yield from _graphs(attribute.g, depth + 1)


def _widen(tensor: Any, folder: Path) -> None:
    """Store a tensor in half precision as float32; others stay as they are."""
    if tensor.data_type not in _HALF:
        return
    values = read_tensor(tensor, folder).to(torch.float32)
    name, shape = tensor.name, list(tensor.dims)
    tensor.Clear()
    tensor.name, tensor.data_type, tensor.raw_data = name, _FLOAT, values.numpy().tobytes()
    tensor.dims.extend(shape)
