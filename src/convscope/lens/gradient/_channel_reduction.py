"""Reduction of the color channels of a gradient to one number per pixel."""

from typing import Annotated, Literal

from torch import Tensor

from convscope.spec import Param

Sign = Annotated[
    Literal["signed", "absolute"],
    Param(help="signed sums over channels, absolute takes the largest magnitude over channels"),
]


def reduce_channels(gradient: Tensor, sign: str) -> Tensor:
    """Gradients (N, C, …) as maps (N, …)."""
    return gradient.sum(1) if sign == "signed" else gradient.abs().amax(1)
