"""Lists of operations: copied, pickled, moved and hooked as other modules, with values dropped after their last use."""

import copy
import gc
import pickle
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from convscope.engine.network import operation_lists
from convscope.engine.network.exported_layers import layers_of_program
from convscope.engine.network.operation_lists import (
    Block,
    Branch,
    Loop,
    Method,
    Operation,
    OperationModule,
    Slot,
    find_operator,
    operator_name,
)
from tests.loaders.torch_files.networks import exported, images, saved_net


def module_of(*steps: Any, outputs: tuple[Any, ...], slots: int = 10, **defaults: Any) -> OperationModule:
    """A module with a forward of one input, in slot 1, and of the parameters that have defaults."""
    names = ("self", "x", *defaults)
    return OperationModule(
        "Own", {"forward": Method(Block(tuple(range(len(names))), [*steps], outputs), slots, names, defaults)}
    )


def test_copies_and_pickles_compute_the_same() -> None:
    network = layers_of_program(exported(saved_net()))
    for duplicate in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(duplicate(images()), network(images()))
        assert duplicate.block.conv1 is not network.block.conv1  # type: ignore[union-attr]


def test_operators_are_found_by_their_names() -> None:
    for name in ("aten::add.Tensor", "aten::relu", "aten::flatten.using_ints"):
        assert operator_name(find_operator(name)) == name
    with pytest.raises(AttributeError):
        find_operator("aten::no_such_operator")


def test_branches_and_loops() -> None:
    add, negate = find_operator("aten::add.Scalar"), torch.neg
    body = Block((5, 6), [Operation(add, (Slot(6), 1), {}, (7,))], (True, Slot(7)))
    loop = Loop(Slot(2), True, (Slot(1),), (body,), (8,))
    branches = (Block((), [Operation(negate, (Slot(8),), {}, (9,))], (Slot(9),)), Block((), [], (Slot(8),)))
    module = module_of(loop, Branch(Slot(3), branches, (4,)), outputs=(Slot(4),), count=3, flip=True)
    assert module(torch.zeros(2)).tolist() == [-3, -3]
    assert module(torch.zeros(1), count=5, flip=False).tolist() == [5]
    assert pickle.loads(pickle.dumps(module))(torch.zeros(1)).tolist() == [-3]


def test_an_endless_loop_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation_lists, "MAX_ITERATIONS", 1000)
    body = Block((5, 6), [], (True, Slot(6)))
    module = module_of(Loop(2**62, True, (Slot(1),), (body,), (8,)), outputs=(Slot(8),))
    with pytest.raises(RuntimeError, match="did not end within 1,000 iterations"):
        module(torch.zeros(1))


def test_values_are_dropped_after_their_last_use() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def keep(x: Tensor) -> Tensor:
        result = x + 1
        alive.append(weakref.ref(result))
        return result

    def count(x: Tensor) -> Tensor:
        gc.collect()
        return torch.tensor(float(sum(reference() is not None for reference in alive)))

    steps = [Operation(keep, (Slot(index),), {}, (index + 1,)) for index in range(1, 5)]
    module = module_of(*steps, Operation(count, (Slot(5),), {}, (6,)), outputs=(Slot(6),))
    assert float(module(torch.zeros(1))) == 1  # the last one, which is an argument


def test_missing_arguments_are_named() -> None:
    with pytest.raises(TypeError, match="missing argument 'x'"):
        module_of(outputs=(Slot(1),))()


def test_a_further_call_of_a_traced_forward_runs_with_hooks() -> None:
    module = module_of(Operation(torch.neg, (Slot(1),), {}, (2,)), outputs=(Slot(2),))
    module.methods["forward1"] = module.methods["forward"]
    calls: list[float] = []
    module.register_forward_hook(lambda _module, _inputs, output: calls.append(float(output)))
    assert module.call_method("forward1", torch.ones(())) == -1
    assert module.call_method("forward", torch.ones(())) == -1
    assert calls == [-1, -1]
