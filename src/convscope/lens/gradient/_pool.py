"""How the channels of a pixel become one number."""

from typing import Annotated, Literal

from torch import Tensor

from convscope.spec import Param

Sign = Annotated[
    Literal["signed", "absolute"],
    Param(help="signed adds the channels up, absolute takes the largest magnitude among them"),
]


def pooled(gradient: Tensor, sign: str) -> Tensor:
    """Gradients (N, C, …) as maps (N, …)."""
    return gradient.sum(1) if sign == "signed" else gradient.abs().amax(1)
