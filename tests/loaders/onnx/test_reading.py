"""Files that cannot be opened are refused in one sentence, before anything is computed or read elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import LoadError, MissingExtra
from tests.loaders.onnx.onnx_files import helper, onnx, save_graph

FLOAT = onnx.TensorProto.FLOAT


def flat_mean() -> list[Any]:
    """Nodes from ``x`` to ``y`` that need no weight."""
    return [helper.make_node("GlobalAveragePool", ["x"], ["mean"]), helper.make_node("Flatten", ["mean"], ["y"])]


@pytest.fixture
def proto(tmp_path: Path) -> Any:
    return onnx.load(save_graph(tmp_path / "plain.onnx", flat_mean(), [1, 3, 8, 8]))


def refused(proto: Any, tmp_path: Path, options: str = "") -> str:
    """The sentence with which a network is refused."""
    path = tmp_path / "net.onnx"
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    with pytest.raises(LoadError) as refusal:
        cs.load(f"{path}{options}")
    sentence = str(refusal.value)
    assert "\n" not in sentence
    return sentence


def test_empty_truncated_and_foreign_files(proto: Any, tmp_path: Path) -> None:
    assert "not a complete file" in refused(b"", tmp_path)
    assert "not a complete file" in refused(b"text", tmp_path)
    assert "is a web page, not a model" in refused(b"<html>", tmp_path)
    assert "not a complete ONNX file" in refused(proto.SerializeToString()[:-20], tmp_path)
    with pytest.raises(LoadError, match="no such model file"):
        cs.load(tmp_path / "missing.onnx")


def test_content_decides_and_not_the_name(proto: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(proto.SerializeToString())
    assert cs.load(path).run(torch.ones(1, 3, 8, 8)).tolist() == [[1, 1, 1]]


def test_versions_of_the_operators(proto: Any, tmp_path: Path) -> None:
    proto.opset_import[0].version = 999
    assert "uses opset 999, and onnx" in refused(proto, tmp_path)
    proto.opset_import[0].version = 6
    assert "ConvScope reads opset 7 and newer: convert it" in refused(proto, tmp_path)
    del proto.opset_import[:]
    assert "does not say which version of the operators" in refused(proto, tmp_path)
    proto.ir_version = 99
    assert "is of IR version 99, and onnx" in refused(proto, tmp_path)


def test_a_cycle_a_missing_value_and_a_value_written_twice(proto: Any, tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"], name="first"), helper.make_node("Relu", ["a"], ["b"])]
    save_graph(tmp_path / "net.onnx", [*nodes, helper.make_node("Relu", ["b"], ["y"])], [1, 3, 8, 8])
    with pytest.raises(LoadError, match="the graph has a cycle: node 'first'"):
        cs.load(tmp_path / "net.onnx")
    save_graph(tmp_path / "net.onnx", [helper.make_node("Relu", ["nowhere"], ["y"], name="lost")], [1, 3, 8, 8])
    with pytest.raises(LoadError, match="node 'lost' reads 'nowhere', which no node"):
        cs.load(tmp_path / "net.onnx")
    save_graph(tmp_path / "net.onnx", [helper.make_node("Relu", ["x"], ["y"])] * 2, [1, 3, 8, 8])
    with pytest.raises(LoadError, match="'y' is written twice"):
        cs.load(tmp_path / "net.onnx")
    save_graph(tmp_path / "net.onnx", [helper.make_node("Relu", ["x"], ["z"])], [1, 3, 8, 8])
    with pytest.raises(LoadError, match="'y' of the graph is written by no node"):
        cs.load(tmp_path / "net.onnx")


def test_nodes_in_any_order(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "net.onnx", flat_mean()[::-1], [1, 3, 8, 8])
    assert cs.load(path).run(torch.ones(1, 3, 8, 8)).tolist() == [[1, 1, 1]]


def test_inputs_and_outputs_that_cannot_be_explained(proto: Any, tmp_path: Path) -> None:
    second = helper.make_tensor_value_info("state", FLOAT, [1, 4])
    proto.graph.input.append(second)
    assert "takes 2 inputs (x (1, 3, 8, 8), state (1, 4)), and one can be explained" in refused(proto, tmp_path)
    assert "fixed=other:1 is not of the form" in refused(proto, tmp_path, "?fixed=other:1")
    second.type.tensor_type.elem_type = onnx.TensorProto.INT64
    proto.graph.input[1].CopyFrom(second)
    for number in ("inf", "1.5", "1e30"):
        assert "sets 'state', which takes int64" in refused(proto, tmp_path, f"?fixed=state:{number}")
    proto.graph.input[1].type.tensor_type.elem_type = onnx.TensorProto.STRING
    assert "takes texts as its input 'state'" in refused(proto, tmp_path)
    proto.graph.input[1].type.sequence_type.elem_type.tensor_type.elem_type = FLOAT
    assert "takes a sequence as its input 'state'" in refused(proto, tmp_path)
    del proto.graph.input[:]
    assert "takes no input" in refused(proto, tmp_path)


def test_outputs_that_cannot_be_explained(proto: Any, tmp_path: Path) -> None:
    proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.STRING
    assert "gives a text as its output 'y'" in refused(proto, tmp_path)
    proto.graph.output[0].type.sequence_type.elem_type.tensor_type.elem_type = FLOAT
    assert "gives a sequence as its output 'y'" in refused(proto, tmp_path)
    del proto.graph.output[:]
    assert "has no output" in refused(proto, tmp_path)


def test_a_layer_without_outputs_is_said_to_have_none(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    nodes = [*flat_mean()[:1], helper.make_node("Flatten", ["mean"], ["flat"])]
    nodes.append(helper.make_node("Gemm", ["flat", "weight"], ["y"], name="head"))
    save_graph(path, nodes, [1, 3, 8, 8], weights={"weight": np.zeros((3, 0), np.float32)})
    assert "node 'head' (Gemm) cannot run on tensors (1, 3), (3, 0): a size is 0, so there is" in refused(
        path.read_bytes(), tmp_path
    )


def test_external_data_that_is_cut_off(proto: Any, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(4))
    tensor = proto.graph.initializer.add(name="w", data_type=FLOAT, dims=[3], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")
    proto.graph.node[0].input.append("w")
    assert refused(proto, tmp_path).endswith("which has 4 bytes and is said to store 12: save or copy it again")


def test_shapes_of_inputs(proto: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    save_graph(path, flat_mean(), ["N", 3, "height", "width"])
    assert cs.load(path).input.size == (224, 224)
    assert cs.load(f"{path}?shape=3x32x48").input.size == (32, 48)
    with pytest.raises(LoadError, match=r"\?shape=1x32x48 does not fit the input .* which is \(\?, 3, \?, \?\)"):
        cs.load(f"{path}?shape=1x32x48")
    with pytest.raises(LoadError, match="not of the form 3x224x224"):
        cs.load(f"{path}?shape=large")
    save_graph(path, flat_mean(), [1, 3, 2**20, 2**20])
    with pytest.raises(LoadError, match="do not fit into memory"):
        cs.load(path)
    save_graph(path, flat_mean(), None)
    with pytest.raises(LoadError, match="say which shape one sample has"):
        cs.load(path)


def test_external_data_only_in_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    weights = np.arange(3, dtype=np.float32)
    for place in (tmp_path / "secret.bin", tmp_path / "inside/weights.bin"):
        place.write_bytes(weights.tobytes())
    (tmp_path / "inside/link.bin").symlink_to(tmp_path / "secret.bin")
    path = tmp_path / "inside/net.onnx"
    nodes = [*flat_mean()[:1], helper.make_node("Flatten", ["mean"], ["f"]), helper.make_node("Mul", ["f", "w"], ["y"])]
    proto = onnx.load(save_graph(path, nodes, [1, 3, 8, 8], weights={"w": weights}))
    tensor = proto.graph.initializer[0]

    def stored_at(location: str, **entries: int) -> str:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        for key, value in {"location": location, **entries}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
        path.write_bytes(proto.SerializeToString())
        return str(path)

    assert cs.load(stored_at("weights.bin")).run(torch.ones(1, 3, 8, 8)).tolist() == [[0, 1, 2]]
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "link.bin", ".", "weights.bin/../../secret.bin"):
        with pytest.raises(LoadError, match=r"external data at .* is refused"):
            cs.load(stored_at(location))
    with pytest.raises(LoadError, match=r"'none.bin' with the network's weights is missing"):
        cs.load(stored_at("none.bin"))
    with pytest.raises(LoadError, match=r"needs 12 bytes from 4 on in 'weights.bin'"):
        cs.load(stored_at("weights.bin", offset=4))


def test_sparse_weights_and_those_of_functions_lie_in_the_folder_too(proto: Any, tmp_path: Path) -> None:
    outside = onnx.TensorProto(name="w", data_type=1, dims=[3], data_location=onnx.TensorProto.EXTERNAL)
    entry = outside.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    sparse = onnx.ModelProto.FromString(proto.SerializeToString())
    sparse.graph.sparse_initializer.add().values.CopyFrom(outside)
    within = onnx.ModelProto.FromString(proto.SerializeToString())
    node = within.functions.add(domain="own", name="Own").node.add(op_type="Constant")
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(outside)
    for changed in (sparse, within):
        assert "external data at '../secret.bin' is refused" in refused(changed, tmp_path)


def test_sizes_are_checked_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    nodes = [*flat_mean()[:1], helper.make_node("Flatten", ["mean"], ["f"]), helper.make_node("Mul", ["f", "w"], ["y"])]
    proto = onnx.load(save_graph(path, nodes, [1, 3, 8, 8], weights={"w": np.ones(3, np.float32)}))
    proto.graph.initializer[0].dims[:] = [2**40]
    assert "needs 4,398,046,511,104 bytes, but 12 are stored" in refused(proto, tmp_path)
    proto.graph.initializer[0].ClearField("raw_data")
    assert "larger than what the file stores" in refused(proto, tmp_path)
    proto.graph.initializer[0].dims[:] = [-3]
    assert "impossible shape" in refused(proto, tmp_path)


@pytest.mark.parametrize(
    ("kind", "weights", "attributes"),
    [
        ("Expand", {"w": np.array([2**30, 3, 8, 8])}, {}),
        ("Tile", {"w": np.array([1, 1, 2**20, 2**20])}, {}),
        ("Pad", {"w": np.array([0, 0, 2**20, 2**20, 0, 0, 0, 0])}, {}),
        ("Upsample", {"w": np.array([1, 1, 2**20, 2**20], np.float32)}, {"opset": 9}),
    ],
)
def test_operators_that_would_fill_the_memory(
    tmp_path: Path, kind: str, weights: dict[str, np.ndarray], attributes: dict[str, Any]
) -> None:
    nodes = [helper.make_node(kind, ["x", "w"], ["y"], name="large")]
    path = save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8], weights=weights, **attributes)
    with pytest.raises(LoadError, match=r"would create a tensor of .* elements"):
        cs.load(path)


def test_operands_that_do_not_fit_name_their_node(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="narrow")]
    weights = {"w": np.ones((4, 5, 3, 3), np.float32)}
    with pytest.raises(LoadError, match=r"node 'narrow' \(Conv\) cannot run on tensors"):
        cs.load(save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8], weights=weights))


def test_thousands_of_operands_are_not_all_listed(tmp_path: Path) -> None:
    nodes = [helper.make_node("Concat", ["x"] * 5000 + ["w"], ["y"], name="many", axis=1)]
    path = save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8], weights={"w": np.ones((4, 5, 3, 3), np.float32)})
    with pytest.raises(LoadError, match=r"node 'many' \(Concat\) cannot run on tensors .* and 4995 more: ") as error:
        cs.load(path)
    assert len(str(error.value)) < 600


def test_a_missing_package_names_its_extra(proto: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convscope.loaders.onnx.reading import onnx_package

    onnx_package.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingExtra, match="needs the package 'onnx'"):
        cs.load(tmp_path / "plain.onnx")
    onnx_package.cache_clear()
