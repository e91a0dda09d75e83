"""Functions as targets: of the output alone, or told which image each row of the output belongs to.

Copies of images go through a network in chunks of any size, so a row's place in a chunk says nothing about its image. A
function of the output alone must therefore score a row the same wherever it stands. That is tried on the first outputs
it scores; one that pairs rows with references of its own by their place is refused.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import OutputError

_TRIED = 16
"""How many rows of a batch are scored alone to compare them with their score in the batch."""
_SIZES = 3
"""For how many sizes of a batch that is tried."""
_REMEDY = (
    "for a reference per image give a list with one target per image, or a function of (output, rows), where rows[i] "
    "is the image that output[i] belongs to"
)


class FunctionScorer:
    """Applies a function that a person wrote to a batch of outputs.

    Attributes:
        word: what the function is called in messages and notes.
    """

    def __init__(self, function: Callable[..., Any], images: int) -> None:
        self.function, self.images = function, images
        self.rows_as = _rows_as(function)
        name = getattr(function, "__name__", None) or type(getattr(function, "func", function)).__name__
        self.word = f"{name}(output{'' if self.rows_as is None else ', rows'})"
        self._tried: set[int] = set()

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        scores = self._applied(output, rows)
        if scores.shape != (len(output),) and self.images > 1:
            raise OutputError(
                f"the target {self.word} gives shape {tuple(scores.shape)} for {len(output)} of {self.images} images: "
                f"one number per row is needed; {_REMEDY}"
            )
        if self.rows_as is None and scores.shape == (len(output),):
            self._try_other_places(output, rows, scores.detach())
        return scores

    def _applied(self, output: Tensor, rows: Tensor) -> Tensor:
        try:
            if self.rows_as is None:
                scores = self.function(output)
            elif self.rows_as == "keyword":
                scores = self.function(output, rows=rows)
            else:
                scores = self.function(output, rows)
        except Exception as error:
            raised = f"the target {self.word} raised {type(error).__name__}: {error}"
            alone = self.rows_as is not None or (self.images == 1 and len(output) == 1)
            raise OutputError(raised if alone else f"{raised}; {_REMEDY}") from error
        if not isinstance(scores, Tensor):
            raise OutputError(
                f"the target {self.word} gives {type(scores).__name__}, not a tensor of one number per image"
            )
        return scores

    def _try_other_places(self, output: Tensor, rows: Tensor, scores: Tensor) -> None:
        """Refuse a function whose score of a row hangs on the row's place or on how many rows there are."""
        count = len(output)
        if count in self._tried or len(self._tried) >= _SIZES or (count == 1 and self.images == 1):
            return
        self._tried.add(count)
        if count == 1:  # images that go through the network one at a time: the row once more, in second place
            again, wanted = self._applied(torch.cat([output, output]), rows.repeat(2)), scores.repeat(2)
            same = _alike(again, wanted)
        else:
            places = (
                torch.linspace(0, count - 1, min(count, _TRIED), dtype=torch.float32, device="cpu")
                .round()
                .long()
                .tolist()
            )
            alone = ((self._applied(output[p : p + 1], rows[p : p + 1]), scores[p : p + 1]) for p in places)
            same = all(_alike(one, wanted) for one, wanted in alone)
        if not same:
            raise OutputError(
                f"the target {self.word} scores a row by its place in the batch, where copies of images stand in any "
                f"order: {_REMEDY}"
            )


def _alike(found: Tensor, wanted: Tensor) -> bool:
    """Whether two lists of scores are the same up to rounding."""
    if found.shape != wanted.shape:
        return False
    close = max(1e-4, 8 * torch.finfo(wanted.dtype).eps) if wanted.is_floating_point() else 0.0
    found, wanted = found.detach().double(), wanted.double()
    return bool(torch.allclose(found, wanted, rtol=close, atol=close * 1e-2, equal_nan=True))


def takes_rows(function: Callable[..., Any]) -> bool:
    """Whether a function wants to know which image each output belongs to."""
    return _rows_as(function) is not None


def _rows_as(function: Callable[..., Any]) -> str | None:
    """How a function takes the rows: by position, by keyword, or not at all.

    It takes them when it has a parameter named ``rows``, or a second parameter without a default.
    """
    try:
        signature = inspect.signature(function.forward if isinstance(function, nn.Module) else function)
    except (TypeError, ValueError):  # a function written in C says nothing about its parameters
        return None
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = signature.parameters.get("rows")
    if named is not None and named.kind in (named.KEYWORD_ONLY, named.POSITIONAL_OR_KEYWORD):
        return None if named in positional[:1] else "keyword"
    second = positional[1:2]
    return "position" if second and second[0].default is inspect.Parameter.empty else None
