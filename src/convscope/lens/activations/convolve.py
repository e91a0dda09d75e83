from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from convscope.engine.arithmetic.convolutions import convolution
from convscope.engine.arithmetic.evaluation import Evaluation, ExecutedOperation, format_number, format_operand
from convscope.engine.ops.call import Call
from convscope.errors import InputError, ParameterError
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Arithmetic, ArithmeticStep

Matrix = str | list | tuple | np.ndarray | Tensor  # type: ignore[type-arg]

_MAX_SIDE = 32
"""The largest number of rows or columns of the matrix."""


@lens(
    family="activations",
    title="Convolve",
    cite="dumoulin2016guide",
    asks="What does a convolution do with these numbers?",
    reads="The kernel slides over the matrix; at each position it is multiplied element by element with the numbers "
    "under it, and the products are summed. As in all neural networks the kernel is not flipped, so strictly speaking "
    "this is a cross-correlation.",
    claims={"deterministic"},
)
def convolve(
    matrix: Annotated[
        Matrix, Param(help="the input matrix: rows separated by /, numbers by spaces or commas")
    ] = "1 0 2 1 0 / 0 1 0 2 1 / 1 1 0 0 2 / 2 0 1 1 0 / 1 2 0 0 1",
    kernel: Annotated[Matrix, Param(help="the kernel, in the same format")] = "1 0 1 / 1 1 0 / 0 1 1",
    *,
    position: Annotated[
        str, Param(help="the output position shown in detail, as row,column", min=0, max=95, joined=",")
    ] = "0,0",
    stride: Annotated[int, Param(help="step of the kernel between output positions", min=1, max=32)] = 1,
    padding: Annotated[
        int, Param(help="rows and columns of zeros added on each side of the matrix", min=0, max=32)
    ] = 0,
    dilation: Annotated[int, Param(help="distance between neighbouring elements of the kernel", min=1, max=32)] = 1,
    bias: Annotated[float, Param(help="number added to every sum")] = 0.0,
) -> Arithmetic:
    """Convolve a small matrix with a kernel and show every sum.

        y[i, j] = bias + Σ_a Σ_b kernel[a, b] · matrix[i·stride + a·dilation − padding, j·stride + b·dilation − padding]

    Along an axis of length n, a kernel of length k has ⌊(n + 2·padding − dilation·(k − 1) − 1) / stride⌋ + 1 positions.
    A 5×5 input and a 3×3 kernel give a 3×3 output, since along each axis the kernel fits entirely at 5 − 3 + 1 = 3
    positions.

    Args:
        matrix: the input as text or as a two-dimensional array; a single row is a signal.
        kernel: the kernel, in the same format.
        position: the output position shown in detail; all are listed.
        stride: the step of the kernel between output positions, along both axes.
        padding: rows and columns of zeros added on each side of the matrix.
        dilation: the distance between neighbouring elements of the kernel.
        bias: number added to every sum.

    Returns:
        Window, kernel and products at the position; the whole output; and the sum at every position as text.

    Raises:
        InputError: rows of different length, an entry that is not a number, or a kernel larger than the padded matrix.
        ParameterError: no such position.

    Example:
        >>> import convscope as cs
        >>> a = cs.convolve("1 0 2 1 0 / 0 1 0 2 1 / 1 1 0 0 2 / 2 0 1 1 0 / 1 2 0 0 1", "1 0 1 / 1 1 0 / 0 1 1")
        >>> tuple(a.output.shape), a.workings[0]
        ((3, 3), 'row 0, column 0: 1·1 + 0·0 + 2·1 + 0·1 + 1·1 + 0·0 + 1·0 + 1·1 + 0·1 = 5')

    Source: :cite:`dumoulin2016guide`.
    """
    x, w = _matrix(matrix, "matrix"), _matrix(kernel, "kernel")
    _refuse_too_large(x, w, padding, dilation)
    offset = torch.tensor([bias], dtype=torch.float64, device="cpu")
    call = Call(torch.conv2d, (x[None, None], w[None, None], offset, stride, padding, dilation), {})
    operation = ExecutedOperation(call, call.run())
    output = operation.output[0, 0]
    row_column = _position(position, tuple(output.shape))
    worked = convolution(operation, (0, 0, *row_column))
    return Arithmetic(
        unit=f"output[{row_column[0]}, {row_column[1]}]",
        steps=(
            ArithmeticStep(
                operation="conv2d",
                title=worked.title,
                formula=_sum(worked, bias),
                value=worked.value,
                network=float(output[row_column]),
                facts=worked.facts,
            ),
        ),
        numbers=worked.numbers,
        output=output,
        position=row_column,
        workings=_workings(operation, tuple(output.shape), bias),
    )


def _matrix(matrix: Any, name: str) -> Tensor:
    """A matrix of numbers from text or an array."""
    rows: Any = matrix.tolist() if isinstance(matrix, (Tensor, np.ndarray)) else matrix
    if isinstance(matrix, str):
        rows = [row.replace(",", " ").split() for row in matrix.replace(";", "/").replace("\n", "/").split("/")]
        rows = rows if rows != [[]] else []
    if not isinstance(rows, Sequence):
        raise InputError(f"{name} is rows of numbers, such as '1 0 2 / 0 1 0', got {rows!r}")
    if rows and not any(isinstance(row, Sequence) and not isinstance(row, str) for row in rows):
        rows = [rows]  # a single row
    rows = [list(row) if isinstance(row, Sequence) and not isinstance(row, str) else [row] for row in rows]
    if not any(rows):
        raise InputError(f"{name} is empty: write rows of numbers, such as '1 0 2 / 0 1 0'")
    lengths = [len(row) for row in rows]
    if len(set(lengths)) > 1:
        raise InputError(f"the rows of {name} have {', '.join(map(str, lengths))} numbers: all must have as many")
    if max(len(rows), lengths[0]) > _MAX_SIDE:
        raise InputError(
            f"{name} is {len(rows)}×{lengths[0]}: every sum is written out for up to {_MAX_SIDE}×{_MAX_SIDE}"
        )
    return torch.tensor([[_number(entry, name) for entry in row] for row in rows], dtype=torch.float64, device="cpu")


def _number(entry: Any, name: str) -> float:
    try:
        number = float(entry)
    except (TypeError, ValueError):
        raise InputError(f"{name} holds {entry!r}, which is no number") from None
    if not np.isfinite(number):
        raise InputError(f"{name} holds {entry!r}: only finite numbers can be added up")
    return number


def _refuse_too_large(x: Tensor, w: Tensor, padding: int, dilation: int) -> None:
    padded = [n + 2 * padding for n in x.shape]
    covered = [dilation * (k - 1) + 1 for k in w.shape]
    if any(c > n for c, n in zip(covered, padded, strict=True)):
        raise InputError(
            f"a kernel that covers {covered[0]}×{covered[1]} does not fit into {padded[0]}×{padded[1]} "
            "(the matrix with its padding): take a smaller kernel or more padding"
        )


def _position(text: str, shape: tuple[int, ...]) -> tuple[int, int]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise ParameterError(f"position must be row,column, as in '0,2', got {text!r}")
    row, column = int(parts[0]), int(parts[1])
    if row >= shape[0] or column >= shape[1]:
        raise ParameterError(f"position must lie in the {shape[0]}×{shape[1]} output, got {text!r}")
    return row, column


def _workings(operation: ExecutedOperation, shape: tuple[int, ...], bias: float) -> tuple[str, ...]:
    """The sum at every position as text, row by row."""
    return tuple(
        f"row {row}, column {column}: {_sum(convolution(operation, (0, 0, row, column)), bias)}"
        for row in range(shape[0])
        for column in range(shape[1])
    )


def _sum(worked: Evaluation, bias: float) -> str:
    """The sum as text, such as 1·1 + 0·0 + 2·1 = 3, with the input's number first in each product."""
    pairs = zip(worked.numbers["window"].flatten().tolist(), worked.numbers["kernel"].flatten().tolist(), strict=True)
    terms = " + ".join(f"{format_operand(x)}·{format_operand(w)}" for x, w in pairs)
    return f"{terms}{f' + {format_operand(bias)}' if bias else ''} = {format_number(worked.value)}"
