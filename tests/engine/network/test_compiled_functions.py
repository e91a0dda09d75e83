"""Compiled functions run as they were written inside the context, and compiled again after it."""

import torch
from torch import Tensor

from convscope.engine.network.compiled_functions import compiled_functions_as_written

GRAPHS: list[torch.fx.GraphModule] = []


def count_graphs(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> torch.fx.GraphModule:
    GRAPHS.append(graph)
    return graph


def test_nothing_is_compiled_inside_the_context() -> None:
    GRAPHS.clear()
    square = torch.compile(lambda x: x * x, backend=count_graphs)
    number = torch.tensor([3.0])
    with compiled_functions_as_written():
        with compiled_functions_as_written():
            assert square(number).item() == 9
        assert square(number).item() == 9
    assert not GRAPHS
    assert square(number).item() == 9
    assert len(GRAPHS) == 1
