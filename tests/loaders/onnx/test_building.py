"""What is kept while a network is built."""

from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper

from convscope.loaders.onnx.building import NetworkBuilder
from convscope.loaders.onnx.reading import read_model
from convscope.loaders.onnx.values import Dependence, Value


def test_values_are_kept_until_their_last_reader_has_run(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Exp", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Mul", ["c", "c"], ["y"]),
    ]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y", "b")]
    graph = helper.make_graph(nodes, "net", info[:1], info[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "net.onnx")
    stored = read_model(tmp_path / "net.onnx")
    builder = NetworkBuilder(stored, fixed_shape=True)
    x = torch.tensor([[1.0, 2.0, 3.0, -1.0]])
    scope = {"x": Value("x", x, Dependence.INPUT, builder.network.input)}
    outputs = builder.run_graph(stored.proto.graph, scope)
    assert set(scope) == {"x", "b", "y"}
    assert torch.equal(outputs[0].example, (x.relu() + x.relu().exp()) ** 2)
