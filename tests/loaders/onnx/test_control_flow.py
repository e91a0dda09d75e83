"""Branches and loops are replaced by what runs, functions by their nodes; decisions about values are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import InputError, LoadError
from convscope.loaders.onnx import opening
from tests.loaders.onnx.onnx_files import helper, onnx, save_graph

FLOAT, INT64, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def branch(kind: str) -> Any:
    """A graph without inputs that applies an operator to ``x``, which it reads from the graph around it."""
    output = helper.make_tensor_value_info(f"of {kind}", FLOAT, None)
    return helper.make_graph([helper.make_node(kind, ["x"], [f"of {kind}"], name=f"inner {kind}")], kind, [], [output])


def choice(condition: str) -> Any:
    return helper.make_node(
        "If", [condition], ["y"], name="choice", then_branch=branch("Neg"), else_branch=branch("Abs")
    )


@pytest.mark.parametrize("taken", [True, False])
def test_a_constant_condition_takes_its_branch(tmp_path: Path, taken: bool) -> None:
    path = save_graph(tmp_path / "net.onnx", [choice("c")], [1, 3, 8, 8], weights={"c": np.array(taken)})
    model = cs.load(path)
    assert torch.equal(model.module(IMAGES), -IMAGES if taken else IMAGES)
    assert model.layers() == ["inner_Neg" if taken else "inner_Abs"]


def test_a_condition_on_the_shape_is_checked_for_each_input(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "three"], ["width"]),
        helper.make_node("Greater", ["width", "limit"], ["wide"]),
        choice("wide"),
    ]
    weights = {"three": np.array(3), "limit": np.array(100)}
    model = cs.load(save_graph(tmp_path / "net.onnx", nodes, ["N", 3, "height", "width"], weights=weights))
    wide = torch.rand(1, 3, 8, 128)
    assert torch.equal(model.module(wide), -wide)
    with pytest.raises(InputError, match="node 'choice' computes something else for inputs of this shape"):
        model.module(IMAGES)
    narrow = cs.load(f"{tmp_path / 'net.onnx'}?shape=3x8x8")
    assert torch.equal(narrow.module(IMAGES), IMAGES)


def test_a_condition_on_values_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "is_installed", lambda: False)
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "limit"], ["c"]),
        choice("c"),
    ]
    path = save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8], weights={"limit": np.array(0.5, np.float32)})
    with pytest.raises(LoadError, match="does not translate: If decided by the values of the input"):
        cs.load(path)


def loop(passes: str) -> Any:
    """A loop that doubles a value in each pass, and collects its means."""
    inputs = [("i", INT64), ("go", BOOL), ("value", FLOAT)]
    outputs = [("goes on", BOOL), ("doubled", FLOAT), ("mean", FLOAT)]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["goes on"]),
            helper.make_node("Add", ["value", "value"], ["doubled"], name="double"),
            helper.make_node("ReduceMean", ["doubled"], ["mean"], axes=[1, 2, 3], keepdims=0),
        ],
        "body",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
    )
    return helper.make_node("Loop", [passes, "", "x"], ["z", "means"], name="loop", body=body)


def test_a_loop_of_constant_length_is_unrolled(tmp_path: Path) -> None:
    nodes = [loop("passes"), helper.make_node("Transpose", ["means"], ["y"], perm=[1, 0])]
    path = save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8], weights={"passes": np.array(3)})
    model = cs.load(path)
    expected = torch.stack([IMAGES.mean((1, 2, 3)) * 2**n for n in (1, 2, 3)], 1)
    assert torch.allclose(model.module(IMAGES), expected)
    assert "loop/2/double" in model.layers()


def test_a_loop_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "is_installed", lambda: False)
    nodes = [loop("passes"), helper.make_node("Identity", ["z"], ["y"])]
    path = save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8], weights={"passes": np.array(2**40)})
    with pytest.raises(LoadError, match="Loop of more than 1000 passes"):
        cs.load(path)


def test_functions_of_the_file_are_replaced_by_their_nodes(tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("", 17)]
    scaled = helper.make_function(
        "own",
        "Scaled",
        ["a"],
        ["b"],
        [
            onnx.parser.parse_node("factor = Constant <value_float: float = @by> ()"),
            helper.make_node("Mul", ["a", "factor"], ["b"], name="times"),
        ],
        opsets,
        ["by"],
    )
    nodes = [helper.make_node("Scaled", ["x"], ["y"], name="scale", domain="own", by=3.0)]
    path = save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8], functions=[scaled])
    proto = onnx.load(path)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    path.write_bytes(proto.SerializeToString())
    model = cs.load(path)
    assert torch.equal(model.module(IMAGES), IMAGES * 3)
    assert model.layers() == ["scale/times"]


def test_a_function_that_calls_itself_is_refused(tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    endless = helper.make_function(
        "own", "Endless", ["a"], ["b"], [helper.make_node("Endless", ["a"], ["b"], domain="own")], opsets
    )
    nodes = [helper.make_node("Endless", ["x"], ["y"], domain="own")]
    path = save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8], functions=[endless])
    with pytest.raises(LoadError, match="nested more than 12 deep"):
        cs.load(path)
