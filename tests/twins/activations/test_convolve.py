"""Convolve computed a second time, step by step, and compared with the lens."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import InputError, ParameterError
from tests.twins.binding import twin_of


@twin_of(cs.convolve)
def convolve(
    matrix: list[list[float]], kernel: list[list[float]], stride: int, padding: int, dilation: int, bias: float
) -> list[list[float]]:
    """The sum at every position where the kernel fits."""
    width = len(matrix[0]) + 2 * padding
    rows = [[0.0] * width for _ in range(padding)]
    padded = rows + [[0.0] * padding + list(row) + [0.0] * padding for row in matrix] + rows
    sums: list[list[float]] = []
    for top in range(0, len(padded) - dilation * (len(kernel) - 1), stride):
        sums.append([])
        for left in range(0, width - dilation * (len(kernel[0]) - 1), stride):
            total = bias
            for a, weights in enumerate(kernel):
                for b, weight in enumerate(weights):
                    total += weight * padded[top + a * dilation][left + b * dilation]
            sums[-1].append(total)
    return sums


EXAMPLE = "1 0 2 1 0 / 0 1 0 2 1 / 1 1 0 0 2 / 2 0 1 1 0 / 1 2 0 0 1", "1 0 1 / 1 1 0 / 0 1 1"


def _rows(text: str) -> list[list[float]]:
    return [[float(n) for n in row.split()] for row in text.split("/")]


def test_a_5x5_input_and_a_3x3_kernel_give_a_3x3_output() -> None:
    result = cs.convolve(*EXAMPLE)
    assert result.output.shape == (3, 3)
    assert result.output[0, 0] == 5
    matrix, kernel = map(_rows, EXAMPLE)
    assert result.output.tolist() == convolve(matrix, kernel, 1, 0, 1, 0.0)
    assert result.workings[0] == "row 0, column 0: 1·1 + 0·0 + 2·1 + 0·1 + 1·1 + 0·0 + 1·0 + 1·1 + 0·1 = 5"
    assert cs.convolve().output.tolist() == result.output.tolist()


@pytest.mark.parametrize(
    "options",
    [{}, {"padding": 2}, {"stride": 2}, {"dilation": 2}, {"stride": 3, "padding": 1, "dilation": 2, "bias": -1.5}],
)
def test_every_sum_equals_that_of_nested_loops(options: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "bias": 0.0, **options}
    matrix, kernel = map(_rows, EXAMPLE)
    expected = convolve(matrix, kernel, **settings)
    result = cs.convolve(*EXAMPLE, **options)
    assert result.output.tolist() == expected
    totals = [float(line.rpartition("= ")[2].replace("−", "-")) for line in result.workings]
    assert totals == list(itertools.chain(*expected))
    for row, column in np.ndindex(result.output.shape):
        result_at = cs.convolve(*EXAMPLE, **options, position=f"{row},{column}")
        assert result_at.value == expected[row][column]
        assert float(result_at.numbers["products"].sum()) + settings["bias"] == result_at.value


@pytest.mark.parametrize(
    "matrix", ["1 2 3 / 4 5 6", "1,2,3;4,5,6", [[1, 2, 3], [4, 5, 6]], np.arange(1, 7).reshape(2, 3)]
)
def test_a_matrix_can_be_text_or_an_array(matrix: Any) -> None:
    assert cs.convolve(matrix, "1 1").output.tolist() == [[3, 5], [9, 11]]
    assert cs.convolve(matrix, torch.tensor([[2.0]])).output.tolist() == [[2, 4, 6], [8, 10, 12]]


def test_a_single_row_is_a_signal() -> None:
    assert cs.convolve("1 2 3", [1, -1]).output.tolist() == [[-1, -1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"matrix": "1 2 / 3"}, "the rows of matrix have 2, 1 numbers: all must have as many"),
        ({"kernel": "1 a"}, "kernel holds 'a', which is no number"),
        ({"kernel": "1 inf"}, "kernel holds 'inf': only finite numbers"),
        ({"matrix": ""}, "matrix is empty: write rows of numbers"),
        ({"matrix": []}, "matrix is empty: write rows of numbers"),
        ({"matrix": np.zeros((2, 2, 2))}, "matrix holds .*, which is no number"),
        ({"matrix": np.float64(3)}, "matrix must be a text"),
        ({"matrix": np.zeros((40, 2))}, "matrix is 40×2: every sum is written out for up to 32×32"),
        ({"matrix": "1 2"}, r"a kernel that covers 3×3 does not fit into 1×2 \(the matrix with its padding\)"),
        ({"dilation": 3}, "a kernel that covers 7×7 does not fit into 5×5"),
        ({"position": "3,0"}, "position must lie in the 3×3 output, got '3,0'"),
        ({"position": "first"}, "position must be whole numbers, each 0 to 95, joined by ',', got 'first'"),
    ],
)
def test_invalid_convolutions_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, ParameterError), match=message):
        cs.convolve(**arguments)


def test_a_small_convolution_is_drawn() -> None:
    for theme in ("light", "dark"):
        picture = cs.convolve(padding=1, stride=2, position="0,2").picture(theme=theme)
        assert "output[0, 2]" in picture.alt
