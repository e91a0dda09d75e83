"""Older versions of operators, and recurrent layers of every kind, against ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from tests.loaders.onnx.onnx_files import export, helper, onnx, save_graph

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

RANDOM = np.random.default_rng(0)


def node(kind: str, *further: str, **attributes: Any) -> tuple[Any, ...]:
    return kind, further, attributes


CASES = [
    (7, node("BatchNormalization", "v", "v", "v", "p", epsilon=1e-3)),
    (7, node("Upsample", mode="nearest", scales=[1.0, 1.0, 2.0, 3.0])),
    (9, node("Upsample", "scales", mode="linear")),
    (10, node("Resize", "scales", mode="linear")),
    (10, node("Resize", "scales", mode="nearest")),
    (8, node("Clip", min=0.2, max=0.7)),
    (11, node("Clip", "low", "high")),
    (7, node("Softmax")),
    (12, node("Softmax", axis=2)),
    (12, node("LogSoftmax", axis=-1)),
    (8, node("Unsqueeze", axes=[1])),
    (9, node("Slice", starts=[1, -4], ends=[3, -1], axes=[1, 3])),
    (10, node("Slice", "i", "sizes1")),
    (8, node("Pad", pads=[0, 0, 1, 2, 0, 0, 3, 0], value=0.5)),
    (8, node("Pad", pads=[0, 0, 1, 2, 0, 0, 3, 0], mode="reflect")),
    (8, node("Pad", pads=[0, 0, 1, 2, 0, 0, 3, 0], mode="edge")),
    (9, node("ReduceMean", axes=[2, 3])),
    (11, node("ReduceSum", axes=[1], keepdims=0)),
    (9, node("TopK", k=2)),
    (10, node("TopK", "k")),
    (8, node("Sum", "v3")),
    (7, node("Dropout", ratio=0.3)),
    (9, node("PRelu", "v3")),
    (8, node("LRN", size=3)),
    (8, node("AveragePool", kernel_shape=[3, 3], pads=[0, 1, 1, 0], strides=[2, 2])),
    (8, node("AveragePool", kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2])),
    (8, node("MaxPool", kernel_shape=[3, 2], auto_pad="SAME_LOWER", strides=[2, 2])),
    (11, node("MaxPool", kernel_shape=[3, 3], ceil_mode=1, strides=[2, 2], pads=[1, 1, 1, 1])),
    (11, node("Conv", "kernel", auto_pad="SAME_UPPER", strides=[2, 2])),
    (11, node("Conv", "kernel", pads=[0, 1, 2, 1], dilations=[2, 1])),
    (11, node("ConvTranspose", "kernel_t", auto_pad="SAME_LOWER", strides=[2, 2])),
    (11, node("ConvTranspose", "kernel_t", strides=[3, 3], output_shape=[14, 13])),
    (11, node("ConvTranspose", "kernel_t", strides=[2, 2], output_padding=[1, 1], pads=[1, 0, 0, 1])),
]
WEIGHTS = {
    "v": np.array([0.3, 1.1, -0.4], np.float32), "p": np.array([0.6, 1.4, 0.9], np.float32),
    "scales": np.array([1, 1, 2, 1.5], np.float32), "low": np.array(0.2, np.float32), "high": np.array(0.7, np.float32),
    "i": np.array([0, 1]), "sizes1": np.array([1, 3]), "k": np.array([2]),
    "v3": RANDOM.normal(size=(3, 1, 1)).astype(np.float32),
    "kernel": RANDOM.normal(size=(4, 3, 3, 3)).astype(np.float32),
    "kernel_t": RANDOM.normal(size=(3, 2, 3, 3)).astype(np.float32),
}  # fmt: skip


@pytest.mark.parametrize(("opset", "case"), CASES, ids=[f"{c[0]}-{o}-{i}" for i, (o, c) in enumerate(CASES)])
def test_older_versions_of_operators(tmp_path: Path, opset: int, case: tuple[Any, ...]) -> None:
    kind, further, attributes = case
    outputs = ["y", "positions"] if kind == "TopK" else ["y"]
    nodes = [helper.make_node(kind, ["x", *further], outputs, **attributes)]
    weights = {name: WEIGHTS[name] for name in further}
    model = cs.load(save_graph(tmp_path / "net.onnx", nodes, [1, 3, 5, 6], weights=weights, opset=opset))
    assert model.conversion is not None
    assert model.conversion.difference < 1e-5


class Recurrent(nn.Module):
    """A recurrent layer over the columns of an image."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.layer = getattr(nn, kind)(12, 5, **options)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1, 2).permute(2, 0, 1))[0][-1]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}])
def test_recurrent_layers_are_pytorchs_own(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = Recurrent(kind, **options)
    model = cs.load(export(net, torch.rand(1, 3, 4, 7), tmp_path / "net.onnx"))
    layers = [module for module in model.module.modules() if isinstance(module, getattr(nn, kind))]
    assert len(layers) == options.get("num_layers", 1)
    images = torch.rand(3, 3, 4, 7)
    assert torch.allclose(model.module(images), net(images), atol=1e-6)
    original, opened = (cs.lrp(network, images, target=1)[0].values for network in (cs.Model(net), model))
    assert np.allclose(original, opened, atol=1e-6)


@pytest.mark.parametrize(("reset", "direction"), [(0, "forward"), (1, "reverse"), (0, "bidirectional")])
def test_gru_with_either_place_of_the_reset_gate(tmp_path: Path, reset: int, direction: str) -> None:
    directions = 2 if direction == "bidirectional" else 1
    shapes = {"w": (directions, 15, 4), "r": (directions, 15, 5), "b": (directions, 30)}
    weights = {name: RANDOM.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    attributes = {"hidden_size": 5, "linear_before_reset": reset, "direction": direction}
    nodes = [
        helper.make_node("Transpose", ["x"], ["sequence"], perm=[2, 0, 1]),
        helper.make_node("GRU", ["sequence", "w", "r", "b"], ["steps"], **attributes),
        helper.make_node("ReduceMean", ["steps"], ["y"], axes=[0, 1], keepdims=0),
    ]
    model = cs.load(save_graph(tmp_path / "net.onnx", nodes, ["N", 4, 6], weights=weights, opset=14))
    assert model.conversion is not None
    assert model.conversion.difference < 1e-5


def test_a_state_that_is_an_input_is_zero(tmp_path: Path) -> None:
    weights = {
        name: RANDOM.normal(size=shape).astype(np.float32) for name, shape in (("w", (1, 20, 4)), ("r", (1, 20, 5)))
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["sequence"], perm=[2, 0, 1]),
        helper.make_node("LSTM", ["sequence", "w", "r", "", "", "h", "c"], ["", "last"], hidden_size=5),
        helper.make_node("Squeeze", ["last"], ["y"], axes=[0]),
    ]
    path = save_graph(tmp_path / "net.onnx", nodes, ["N", 4, 6], weights=weights, opset=12)
    proto = onnx.load(path)
    for name in ("h", "c"):
        proto.graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, "N", 5]))
    path.write_bytes(proto.SerializeToString())
    model = cs.load(path)
    assert model.conversion is not None
    assert model.conversion.difference < 1e-5
    assert model.module(torch.rand(3, 4, 6)).shape == (3, 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).to(dtype)
    model = cs.load(export(net, torch.rand(1, 3, 8, 8, dtype=dtype), tmp_path / "net.onnx"))
    assert model.dtype is torch.float32
    assert "single precision" in model.caveats[0]
    assert model.conversion is not None
    assert model.conversion.difference < 1e-5
    assert cs.saliency(model, torch.rand(1, 3, 8, 8), target=0).values.shape == (8, 8)
