"""Quantised networks give what ONNX Runtime gives, and pass gradients straight through their rounding."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.loaders.onnx.operators.quantization import round_straight_through
from tests.loaders.onnx.onnx_files import helper, save_graph

RANDOM = np.random.default_rng(0)
IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def qdq_file(tmp_path: Path) -> Path:
    """A convolution with weights of 8 bits, between activations that are rounded to 8 bits."""
    scales = {name: np.array(scale, np.float32) for name, scale in (("sx", 1 / 255), ("sw", 0.01), ("sy", 0.02))}
    zeros = {"zx": np.array(0, np.uint8), "zw": np.array(0, np.int8), "zy": np.array(0, np.uint8)}
    kernel = {"w": RANDOM.integers(-100, 100, (4, 3, 3, 3), dtype=np.int8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["c"], name="conv"),
        helper.make_node("QuantizeLinear", ["c", "sy", "zy"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "sy", "zy"], ["cd"]),
        helper.make_node("ReduceMean", ["cd"], ["y"], axes=[2, 3], keepdims=0),
    ]
    return save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8], weights={**scales, **zeros, **kernel})


def dynamic_file(tmp_path: Path) -> Path:
    """A convolution of whole numbers whose scale is found for each input."""
    weights = {"w": RANDOM.integers(-100, 100, (4, 3, 3, 3), dtype=np.int8), "s": np.array(0.01, np.float32)}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "sx", "zx"]),
        helper.make_node("ConvInteger", ["xq", "w", "zx"], ["ci"], name="conv"),
        helper.make_node("Cast", ["ci"], ["cf"], to=1),
        helper.make_node("Mul", ["sx", "s"], ["scale"]),
        helper.make_node("Mul", ["cf", "scale"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["y"], axes=[2, 3], keepdims=0),
    ]
    return save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8], weights=weights)


@pytest.mark.parametrize("write", [qdq_file, dynamic_file])
def test_quantised_networks_agree_with_onnx_runtime_and_say_so(write: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = cs.load(write(tmp_path))
    assert model.conversion is not None
    assert model.conversion.difference < 1e-4
    assert any("quantised network: gradients pass straight through" in caveat for caveat in model.caveats)


def test_weights_become_those_of_an_ordinary_convolution(tmp_path: Path) -> None:
    model = cs.load(qdq_file(tmp_path))
    assert type(model.module.get_submodule("conv")) is torch.nn.Conv2d


def test_gradients_are_those_of_the_network_without_rounding(tmp_path: Path) -> None:
    model = cs.load(qdq_file(tmp_path))
    image = IMAGES[:1].clone().requires_grad_()
    model.module(image)[0, 0].backward()
    plain = IMAGES[:1].clone().requires_grad_()
    convolved = model.module.get_submodule("conv")(plain)
    convolved.clamp(0, 255 * 0.02).mean((2, 3))[0, 0].backward()
    assert image.grad is not None
    assert plain.grad is not None
    assert image.grad.abs().max() > 0
    assert torch.allclose(image.grad, plain.grad, atol=1e-6)


def test_rounding_has_the_gradient_one() -> None:
    x = torch.tensor([0.5, 1.5, -0.7], requires_grad=True)
    rounded = round_straight_through(x)
    rounded.sum().backward()
    assert rounded.tolist() == [0, 2, -1]
    assert x.grad.tolist() == [1, 1, 1]
