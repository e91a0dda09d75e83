"""A recorded forward pass: operations, their edges and their modules."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.graph import INPUT, ForwardGraph, record_graph
from convscope.engine.ops.dispatch_mode import DispatchMode
from tests.engine.graph.networks import Tokens, record
from tests.nets import ResidualNet, seeded


def kinds_of(graph: ForwardGraph) -> list[str]:
    return [record.kind for record in graph.operations if not record.moves]


def parents_of(graph: ForwardGraph, kind: str, which: int = 0) -> set[str]:
    """The kinds of the operations that computed what an operation reads."""
    operations = graph.operations
    numbers = [number for number, record in enumerate(operations) if record.kind == kind]
    pending, kinds = list(operations[numbers[which]].parents), set()
    while pending:
        number = pending.pop()
        if number != INPUT and operations[number].moves:
            pending += operations[number].parents
        else:
            kinds.add("input" if number == INPUT else operations[number].kind)
    return kinds


def test_functions_modules_and_operators_are_recorded_alike_with_their_module() -> None:
    graph = record(seeded(ResidualNet), 3, 16, 16)
    records = [record for record in graph.operations if not record.moves]
    assert [record.kind for record in records] == [
        "convolution", "batch norm", "relu", "convolution", "batch norm", "sum", "relu", "mean", "linear",
    ]  # fmt: skip
    assert [record.module for record in records] == ["stem", "bn1", "", "conv", "bn2", "", "relu", "", "fc"]
    assert parents_of(graph, "sum") == {"relu", "batch norm"}


class Written(nn.Module):
    """Parts of a tensor are written to, through views and in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        out = torch.zeros_like(maps)
        out[:, :2] = maps[:, 2:].sigmoid()
        half = out[:, 2:]
        half += maps[:, :2].tanh()
        return out.flatten(1).cos()


def test_a_write_through_a_view_is_a_parent_of_operations_that_read_the_tensor() -> None:
    graph = record(seeded(Written), 1, 6, 6)
    cosine = next(record for record in graph.operations if record.kind == "cos")
    ancestors, pending = set(), list(cosine.parents)
    while pending:
        number = pending.pop()
        ancestors.add(graph.operations[number].kind) if number != INPUT else None
        pending += graph.operations[number].parents if number != INPUT else ()
    assert {"sigmoid", "tanh", "sum", "convolution"} <= ancestors
    assert graph.layer_calls[""].dependence[0].bounds() == (0, 5)


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        convolution = nn.Conv2d(2, 2, 3, padding=1)
        self.block = nn.Sequential(convolution, nn.ReLU())
        self.never = nn.Linear(3, 3)
        self.tied = nn.Conv2d(2, 2, 3)
        self.tied.weight = convolution.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.tied(self.block(self.block(x)))


class DoublesCounted(DispatchMode):
    """Counts the operations that give double precision, in which the recorder calculates with positions."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations, self.doubles = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        self.doubles += isinstance(result, Tensor) and result.dtype == torch.float64
        return result


@pytest.mark.parametrize("network", [ResidualNet, Written])
def test_other_modes_do_not_see_the_arithmetic_of_positions(network: type[nn.Module]) -> None:
    model, image = cs.Model(seeded(network)), torch.ones(1, 3 if network is ResidualNet else 1, 16, 16)
    with DoublesCounted() as mode:
        graph = record_graph(model, image)
    assert mode.operations >= len(graph.operations) > 5
    assert mode.doubles == 0


def test_a_reused_module_shows_every_call_and_shared_parameters_count_once() -> None:
    s = cs.structure(cs.Model(seeded(Reused), input=cs.TensorInput((2, 8, 8))))
    assert [operation.calls for operation in s.operations] == [(1, 1), (1, 1), (2, 2), (2, 2), (1,)]
    assert s.module("block.0").calls == 2
    assert s.module("never").calls == 0
    assert s.parameters == 2 * 2 * 9 + 2 + 2 + 12
    assert [operation.parameters for operation in s.operations] == [38, 0, 0, 0, 2]
    assert s.module("tied").parameters == 38
    names = [node.name for node in s.folded(1).nodes]
    assert names == ["input", "block (1 of 2)", "block (2 of 2)", "tied"]
    assert any("not run" in line for line in s.lines() if "never" in line)
    assert any("×2" in line for line in s.lines() if "block" in line)


def test_attention_is_recorded_as_products_and_the_fast_path_setting_is_restored() -> None:
    for fast in (True, False):
        torch.backends.mha.set_fastpath_enabled(fast)
        try:
            graph = record(seeded(Tokens), 1, 12, 12)
            assert torch.backends.mha.get_fastpath_enabled() is fast
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
        assert sum(record.flops for record in graph.operations if record.module == "attend") > 0
        assert not graph.without_rule


def test_composite_operations_under_inference_mode_are_recorded_as_their_parts() -> None:
    class Inference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(36, 2)

        @torch.inference_mode()
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.flatten(1))

    graph = record(seeded(Inference), 1, 6, 6)
    assert kinds_of(graph) == ["linear"]
    assert graph.operations[-1].flops == 2 * 36 * 2


def test_a_graph_folds_by_module_and_keeps_the_shortcuts() -> None:
    s = cs.structure(cs.load("bundled:shapes"))
    full = s.folded(9)
    names = [node.name for node in full.nodes]
    sums = [number for number, name in enumerate(names) if name == "sum"]
    assert len(sums) == 6
    assert all(sum(b == number for _, b in full.edges) == 2 for number in sums)
    folded = s.folded(1, chains=True)
    assert [node.name for node in folded.nodes] == ["input", "conv1", "layer1", "layer2", "layer3", "avgpool", "fc"]
    assert folded.edges == tuple((n, n + 1) for n in range(6))
    assert folded.nodes[1].kinds == ("Conv2d 5×5 /2", "BatchNorm2d", "ReLU")
    for graph in (full, folded):
        assert sum(node.flops for node in graph.nodes) == s.flops
        assert sum(node.parameters for node in graph.nodes) == s.parameters
