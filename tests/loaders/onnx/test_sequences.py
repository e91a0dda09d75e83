"""Scans and sequences become nodes, one for each pass and element; decisions about values are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import InputError, LoadError
from convscope.loaders.onnx import opening
from tests.loaders.onnx.onnx_files import helper, onnx, save_graph

FLOAT = onnx.TensorProto.FLOAT
IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def info(name: str, shape: list[int] | None = None) -> Any:
    return helper.make_tensor_value_info(name, FLOAT, shape)


def scan(**attributes: Any) -> Any:
    """A scan over the rows of ``x`` that adds each to half of the sum so far."""
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["state", "half"], ["less"], name="decay"),
            helper.make_node("Add", ["less", "row"], ["next"], name="add"),
            helper.make_node("Identity", ["next"], ["kept"]),
        ],
        "body",
        [info("state"), info("row")],
        [info("next"), info("kept")],
    )
    return helper.make_node(
        "Scan", ["start", "x"], ["last", "y"], name="scan", num_scan_inputs=1, body=body, **attributes
    )


WEIGHTS = {"half": np.array(0.5, np.float32), "start": np.zeros((2, 3, 8), np.float32)}


@pytest.mark.parametrize("backwards", [0, 1])
def test_a_scan_is_unrolled(tmp_path: Path, backwards: int) -> None:
    node = scan(
        scan_input_axes=[-2], scan_output_axes=[2],
        scan_input_directions=[backwards], scan_output_directions=[backwards],
    )  # fmt: skip
    model = cs.load(save_graph(tmp_path / "net.onnx", [node], [2, 3, 8, 8], weights=WEIGHTS))
    state, rows = torch.zeros(2, 3, 8), IMAGES.flip(2) if backwards else IMAGES
    expected = []
    for row in rows.unbind(2):
        state = state * 0.5 + row
        expected.append(state)
    output = torch.stack(expected, 2)
    assert torch.allclose(model.module(IMAGES), output.flip(2) if backwards else output)
    assert "scan/7/add" in model.layers()
    assert model.conversion is None or model.conversion.difference < 1e-5


def test_a_scan_of_another_length_is_refused(tmp_path: Path) -> None:
    node = scan(scan_input_axes=[2], scan_output_axes=[2])
    weights = {**WEIGHTS, "start": np.zeros((1, 3, 1), np.float32)}
    path = save_graph(tmp_path / "net.onnx", [node], ["N", 3, "height", 8], weights=weights)
    model = cs.load(f"{path}?shape=3x8x8")
    assert model.module(IMAGES).shape == (2, 3, 8, 8)
    with pytest.raises(InputError, match="node 'scan' computes something else for inputs of this shape"):
        cs.load(path).module(IMAGES)


def test_a_sequence_of_parts_is_joined_in_another_order(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("SplitToSequence", ["x"], ["parts"], name="split", axis=1, keepdims=0),
        helper.make_node("SequenceAt", ["parts", "last"], ["blue"]),
        helper.make_node("SequenceErase", ["parts"], ["others"]),
        helper.make_node("SequenceInsert", ["others", "blue", "first"], ["turned"]),
        helper.make_node("ConcatFromSequence", ["turned"], ["y"], name="join", axis=1, new_axis=1),
    ]
    weights = {"last": np.array(-1), "first": np.array(0)}
    model = cs.load(save_graph(tmp_path / "net.onnx", nodes, ["N", 3, 8, 8], weights=weights))
    assert torch.equal(model.module(IMAGES), IMAGES[:, [2, 0, 1]])
    assert model.conversion is None or model.conversion.difference == 0
    assert {type(layer).__name__ for layer in model.module.modules()} & {"SequenceValue"} == set()


def test_an_element_chosen_by_the_values_of_the_input_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "is_installed", lambda: False)
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "x"], ["both"]),
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["place"], to=onnx.TensorProto.INT64),
        helper.make_node("SequenceAt", ["both", "place"], ["y"]),
    ]
    with pytest.raises(LoadError, match="SequenceAt decided by the values of the input"):
        cs.load(save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8]))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([helper.make_node("SequenceConstruct", ["x"], ["y"])], "the output 'y' of the graph is a sequence"),
        (
            [helper.make_node("SequenceConstruct", ["x"], ["s"]), helper.make_node("Relu", ["s"], ["y"])],
            "does not translate|Relu of a sequence",
        ),
        (
            [helper.make_node("SequenceEmpty", [], ["s"]), helper.make_node("SequenceAt", ["s", "zero"], ["y"])],
            "needs element 0 of a sequence of 0",
        ),
        ([helper.make_node("SequenceLength", ["x"], ["y"], name="count")], "node 'count' .* needs a sequence"),
    ],
)
def test_sequences_that_do_not_fit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: list[Any], message: str
) -> None:
    monkeypatch.setattr(opening, "is_installed", lambda: False)
    with pytest.raises(LoadError, match=message):
        cs.load(save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8], weights={"zero": np.array(0)}))
