from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from convscope.engine.arithmetic.convolutions import convolution
from convscope.engine.arithmetic.evaluate import Operation, Worked, bracketed, said
from convscope.engine.ops.call import Call
from convscope.errors import InputError, ParameterError
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Arithmetic, Step

Matrix = str | list | tuple | np.ndarray | Tensor  # type: ignore[type-arg]

_MOST = 32
"""Rows and columns that are still small."""


@lens(
    family="activations",
    title="Convolve",
    cite="dumoulin2016guide",
    asks="What does a convolution do with these numbers?",
    reads="The kernel slides over the matrix; at each position the products of what lies under it are added up. As in "
    "all networks the kernel is not flipped: strictly this is a cross-correlation.",
    claims={"deterministic"},
)
def convolve(
    matrix: Annotated[
        Matrix, Param(help="the input, rows separated by /, numbers by spaces or commas")
    ] = "1 0 2 1 0 / 0 1 0 2 1 / 1 1 0 0 2 / 2 0 1 1 0 / 1 2 0 0 1",
    kernel: Annotated[Matrix, Param(help="the kernel, written likewise")] = "1 0 1 / 1 1 0 / 0 1 1",
    *,
    position: Annotated[
        str, Param(help="the output position that is drawn in full, as row,column", min=0, max=95, joined=",")
    ] = "0,0",
    stride: Annotated[int, Param(help="how far the kernel moves at a time", min=1, max=32)] = 1,
    padding: Annotated[int, Param(help="rows and columns of zeros put around the matrix", min=0, max=32)] = 0,
    dilation: Annotated[int, Param(help="how far apart the kernel's cells lie", min=1, max=32)] = 1,
    bias: Annotated[float, Param(help="what is added to every sum")] = 0.0,
) -> Arithmetic:
    """Convolve a small matrix with a kernel and show every sum.

        y[i, j] = bias + Σ_a Σ_b kernel[a, b] · matrix[i·stride + a·dilation − padding, j·stride + b·dilation − padding]

    Of n rows and a kernel of k there are ⌊(n + 2·padding − dilation·(k − 1) − 1) / stride⌋ + 1 positions: of the
    example that is the default, with n = 5 and k = 3, there are 3 × 3.

    Args:
        matrix: the input as text or as an array of two axes; a single row is a signal.
        kernel: the kernel, likewise.
        position: which output position is drawn in full; all are listed.
        stride: how far the kernel moves at a time, down and across.
        padding: rows and columns of zeros around the matrix.
        dilation: the distance between the kernel's cells.
        bias: what is added to every sum.

    Returns:
        Window, kernel and products at the position; the whole output, and every position's sum in words.

    Raises:
        InputError: ragged rows, something that is no number, or a kernel larger than the padded matrix.
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
    made = Operation(call, call.run())
    output = made.out[0, 0]
    chosen = _position(position, tuple(output.shape))
    worked = convolution(made, (0, 0, *chosen))
    return Arithmetic(
        unit=f"output[{chosen[0]}, {chosen[1]}]",
        steps=(
            Step(
                operation="conv2d",
                title=worked.title,
                formula=_sum(worked, bias),
                value=worked.value,
                network=float(output[chosen]),
                facts=worked.facts,
            ),
        ),
        numbers=worked.numbers,
        output=output,
        position=chosen,
        workings=_workings(made, tuple(output.shape), bias),
    )


def _matrix(given: Any, name: str) -> Tensor:
    """A matrix of numbers from text or an array."""
    rows: Any = given.tolist() if isinstance(given, (Tensor, np.ndarray)) else given
    if isinstance(given, str):
        rows = [row.replace(",", " ").split() for row in given.replace(";", "/").replace("\n", "/").split("/")]
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
    if max(len(rows), lengths[0]) > _MOST:
        raise InputError(f"{name} is {len(rows)}×{lengths[0]}: every sum is written out for up to {_MOST}×{_MOST}")
    return torch.tensor([[_number(one, name) for one in row] for row in rows], dtype=torch.float64, device="cpu")


def _number(one: Any, name: str) -> float:
    try:
        number = float(one)
    except (TypeError, ValueError):
        raise InputError(f"{name} holds {one!r}, which is no number") from None
    if not np.isfinite(number):
        raise InputError(f"{name} holds {one!r}: only finite numbers can be added up")
    return number


def _refuse_too_large(x: Tensor, w: Tensor, padding: int, dilation: int) -> None:
    padded = [n + 2 * padding for n in x.shape]
    reach = [dilation * (k - 1) + 1 for k in w.shape]
    if any(r > n for r, n in zip(reach, padded, strict=True)):
        raise InputError(
            f"a kernel that covers {reach[0]}×{reach[1]} does not fit into {padded[0]}×{padded[1]} "
            "(the matrix with its padding): take a smaller kernel or more padding"
        )


def _position(text: str, shape: tuple[int, ...]) -> tuple[int, int]:
    found = [part.strip() for part in text.split(",")]
    if len(found) != 2 or not all(part.isdecimal() for part in found):
        raise ParameterError(f"position must be row,column, as in '0,2', got {text!r}")
    row, column = int(found[0]), int(found[1])
    if row >= shape[0] or column >= shape[1]:
        raise ParameterError(f"position must lie in the {shape[0]}×{shape[1]} output, got {text!r}")
    return row, column


def _workings(made: Operation, shape: tuple[int, ...], bias: float) -> tuple[str, ...]:
    """Every position's sum in words, row by row."""
    return tuple(
        f"row {row}, column {column}: {_sum(convolution(made, (0, 0, row, column)), bias)}"
        for row in range(shape[0])
        for column in range(shape[1])
    )


def _sum(worked: Worked, bias: float) -> str:
    """1·1 + 0·0 + 2·1 = 3, the input's number first."""
    pairs = zip(worked.numbers["window"].flatten().tolist(), worked.numbers["kernel"].flatten().tolist(), strict=True)
    terms = " + ".join(f"{bracketed(x)}·{bracketed(w)}" for x, w in pairs)
    return f"{terms}{f' + {bracketed(bias)}' if bias else ''} = {said(worked.value)}"
