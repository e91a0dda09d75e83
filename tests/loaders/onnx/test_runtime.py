"""Sessions of ONNX Runtime for a single comparison."""

from pathlib import Path

import pytest

from convscope.loaders.onnx.runtime import open_session
from tests.loaders.onnx.onnx_files import save_graph

pytest.importorskip("onnxruntime")
helper = pytest.importorskip("onnx").helper


@pytest.mark.parametrize(("keeps_memory", "level"), [(True, "ORT_ENABLE_ALL"), (False, "ORT_ENABLE_BASIC")])
def test_a_session_for_one_run_keeps_no_second_layout_of_the_weights(
    tmp_path: Path, keeps_memory: bool, level: str
) -> None:
    path = save_graph(tmp_path / "net.onnx", [helper.make_node("Abs", ["x"], ["y"])], [1, 3, 8, 8])
    options = open_session(str(path), keeps_memory=keeps_memory).get_session_options()
    assert options.graph_optimization_level.name == level
    assert options.enable_cpu_mem_arena is keeps_memory
