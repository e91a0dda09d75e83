"""Functions as targets: of the output alone, or of the output and the image that each of its rows belongs to.

Copies of images run through a network in chunks of any size, so the index of a row in a chunk does not identify its
image. A function of the output alone must therefore give a row the same score at every index. This is tested on the
first outputs it scores; a function that pairs rows with references by index is refused.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import OutputError

_MAX_ROWS = 16
"""How many rows of a batch are scored alone and compared with their score in the batch."""
_MAX_BATCH_SIZES = 3
"""For how many batch sizes this is tested."""
_REMEDY = (
    "for a reference per image give a list with one target per image, or a function of (output, rows), where rows[i] "
    "is the image that output[i] belongs to"
)


class FunctionScorer:
    """Applies a user-defined function to a batch of outputs.

    Attributes:
        signature: the name of the function with its arguments, for messages and notes.
    """

    def __init__(self, function: Callable[..., Any], images: int) -> None:
        self.function, self.images = function, images
        self.rows_argument = _rows_argument(function)
        name = getattr(function, "__name__", None) or type(getattr(function, "func", function)).__name__
        self.signature = f"{name}(output{'' if self.rows_argument is None else ', rows'})"
        self._tested_sizes: set[int] = set()

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        """The score of each row of the output."""
        scores = self._apply(output, rows)
        if scores.shape != (len(output),) and self.images > 1:
            raise OutputError(
                f"the target {self.signature} gives shape {tuple(scores.shape)} for {len(output)} of {self.images} "
                f"images: one number per row is needed; {_REMEDY}"
            )
        if self.rows_argument is None and scores.shape == (len(output),):
            self._check_row_independence(output, rows, scores.detach())
        return scores

    def _apply(self, output: Tensor, rows: Tensor) -> Tensor:
        try:
            if self.rows_argument is None:
                scores = self.function(output)
            elif self.rows_argument == "keyword":
                scores = self.function(output, rows=rows)
            else:
                scores = self.function(output, rows)
        except Exception as error:
            message = f"the target {self.signature} raised {type(error).__name__}: {error}"
            takes_single_rows = self.rows_argument is not None or (self.images == 1 and len(output) == 1)
            raise OutputError(message if takes_single_rows else f"{message}; {_REMEDY}") from error
        if not isinstance(scores, Tensor):
            raise OutputError(
                f"the target {self.signature} gives {type(scores).__name__}, not a tensor of one number per image"
            )
        return scores

    def _check_row_independence(self, output: Tensor, rows: Tensor, scores: Tensor) -> None:
        """Refuse a function whose score of a row depends on the row's index or on the number of rows."""
        count = len(output)
        if (
            count in self._tested_sizes
            or len(self._tested_sizes) >= _MAX_BATCH_SIZES
            or (count == 1 and self.images == 1)
        ):
            return
        self._tested_sizes.add(count)
        if count == 1:  # images run one at a time: the row is repeated as the second of a batch
            rescored, expected = self._apply(torch.cat([output, output]), rows.repeat(2)), scores.repeat(2)
            independent = _equal_scores(rescored, expected)
        else:
            indices = (
                torch.linspace(0, count - 1, min(count, _MAX_ROWS), dtype=torch.float32, device="cpu")
                .round()
                .long()
                .tolist()
            )
            pairs = ((self._apply(output[i : i + 1], rows[i : i + 1]), scores[i : i + 1]) for i in indices)
            independent = all(_equal_scores(rescored, expected) for rescored, expected in pairs)
        if not independent:
            raise OutputError(
                f"the target {self.signature} scores a row by its index in the batch, but copies of images come in any "
                f"order: {_REMEDY}"
            )


def _equal_scores(scores: Tensor, expected: Tensor) -> bool:
    """Whether two sets of scores are equal up to rounding."""
    if scores.shape != expected.shape:
        return False
    tolerance = max(1e-4, 8 * torch.finfo(expected.dtype).eps) if expected.is_floating_point() else 0.0
    scores, expected = scores.detach().double(), expected.double()
    return bool(torch.allclose(scores, expected, rtol=tolerance, atol=tolerance * 1e-2, equal_nan=True))


def takes_rows(function: Callable[..., Any]) -> bool:
    """Whether a function takes the image index of each output as a second argument."""
    return _rows_argument(function) is not None


def _rows_argument(function: Callable[..., Any]) -> str | None:
    """How a function takes the image indices: by position, by keyword, or not at all (None).

    It takes them if it has a parameter named ``rows``, or a second parameter without a default.
    """
    try:
        signature = inspect.signature(function.forward if isinstance(function, nn.Module) else function)
    except (TypeError, ValueError):  # a function written in C has no signature
        return None
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = signature.parameters.get("rows")
    if named is not None and named.kind in (named.KEYWORD_ONLY, named.POSITIONAL_OR_KEYWORD):
        return None if named in positional[:1] else "keyword"
    second = positional[1:2]
    return "position" if second and second[0].default is inspect.Parameter.empty else None
