"""Sizes found from shapes alone are those of the results; what a file may not ask for is refused before it runs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from convscope.errors import LoadError
from convscope.loaders.size_guard import SMALL, _elements_by_shapes, bounded_sizes

X = torch.rand(2, 4, 9, 7)


class _Sizes(TorchDispatchMode):
    """Keeps the size that is found for each operation, and that of its result."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[str, int | None, int]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        expected = _elements_by_shapes(function, args)
        result = function(*args, **(kwargs or {}))
        first = result[0] if isinstance(result, tuple) else result
        self.pairs.append((function.__name__, expected, first.numel()))
        return result


RUNS: dict[str, Callable[[], Tensor]] = {
    "strided": lambda: F.conv2d(X, torch.rand(6, 2, 3, 2), None, (2, 3), (1, 0), (2, 1), 2),
    "one number for both axes": lambda: torch.convolution(
        X, torch.rand(6, 4, 3, 3), None, [2], [1], [1], False, [0], 1
    ),
    "transposed": lambda: F.conv_transpose2d(X, torch.rand(4, 3, 3, 2), None, (2, 3), (1, 0), (1, 2), 2, (2, 1)),
    "signal": lambda: F.conv1d(X[0], torch.rand(5, 9, 3), padding=2),
    "volume": lambda: F.conv3d(X[None], torch.rand(3, 2, 2, 3, 3)),
    "broadcast": lambda: torch.rand(3, 1, 1, 9, 1) * X,
    "scalar": lambda: X + 1,
    "chosen": lambda: torch.where(X > 0, X, torch.rand(3, 2, 4, 9, 7)),
    "batch normalisation": lambda: F.batch_norm(X, torch.zeros(4), torch.ones(4)),
    "softmax": lambda: X.softmax(1),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_size_found_from_shapes_is_that_of_the_result(name: str) -> None:
    with torch.no_grad(), _Sizes() as sizes:
        RUNS[name]()
    expected = [(operation, size, actual) for operation, size, actual in sizes.pairs if size is not None]
    assert expected
    assert all(size == actual for _, size, actual in expected), expected


def test_an_operation_that_writes_into_its_operand_creates_nothing() -> None:
    with torch.no_grad(), _Sizes() as sizes:
        X.clone().relu_()
    assert sizes.pairs[-1][1] == 0


@pytest.mark.parametrize(
    ("run", "operation"),
    [
        (lambda: F.conv2d(X, torch.rand(1, 4, 1, 1), padding=SMALL), "convolution"),
        (lambda: torch.rand(SMALL, 1) * torch.rand(SMALL), "mul"),
        (lambda: F.pad(X, (0, SMALL)), "constant_pad_nd"),
        (lambda: torch.empty(0).resize_(2 * SMALL), "resize_"),
        (lambda: torch.ops.aten._resize_output_(torch.empty(0), [2 * SMALL], torch.device("cpu")), "_resize_output_"),
        (lambda: torch.add(X, 1, out=torch.empty(0)).expand(SMALL, 2, 4, 9, 7).clone(), "expand"),
        (lambda: torch.ones(1).repeat_interleave(torch.tensor([2 * SMALL])), "repeat_interleave"),
        (lambda: torch.tensor([2 * SMALL]).bincount(), "bincount"),
        (lambda: torch.arange(int(torch.tensor(2 * SMALL))).float(), "arange"),
        (lambda: torch.ones(1, SMALL // 2, 1).expand(1, SMALL // 2, 1).nonzero(), "nonzero"),
    ],
    ids=[
        "convolution",
        "product",
        "padding",
        "resizing",
        "resized for output",
        "expansion",
        "repetition by values",
        "counts of large numbers",
        "numbers up to a value",
        "indices along each axis",
    ],
)
def test_an_operation_with_a_huge_result_is_refused_before_it_runs(run: Callable[[], Tensor], operation: str) -> None:
    refused = pytest.raises(LoadError, match=f"its operation '{operation}' would create [0-9,]+ numbers")
    with refused, bounded_sizes(100, X.numel()):
        run()


def test_a_choice_by_values_is_no_larger_than_what_it_chooses_from() -> None:
    with bounded_sizes(100, X.numel()):
        assert len(X[X >= 0]) == X.numel()
        assert X.masked_select(X < 2).shape == (X.numel(),)
        assert torch.tensor([3, 1]).repeat_interleave(torch.tensor([2, 4])).tolist() == [3, 3, 1, 1, 1, 1]
        assert torch.tensor([3, 1]).bincount(minlength=5).tolist() == [0, 1, 0, 1, 0]
