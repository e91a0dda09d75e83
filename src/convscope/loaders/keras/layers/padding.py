"""Padding as TensorFlow computes it: "same" adds what the stride needs, an odd element at the end."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """How many elements "same" padding adds before and after an axis of ``size``."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def pad_same(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], value: float = 0
) -> Tensor:
    """A batch (N, C, …) with "same" padding for a window."""
    amounts: list[int] = []
    for axis in reversed(range(len(kernel))):
        amounts += same_padding(x.shape[axis + 2], kernel[axis], stride[axis], dilation[axis])
    return F.pad(x, amounts, value=value) if any(amounts) else x


def symmetric_padding(kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...] | None:
    """The padding on both sides that is "same" for every size; None if it depends on the size or is one-sided."""
    totals = [(size - 1) * gap for size, gap in zip(kernel, dilation, strict=True)]
    if not any(totals):
        return (0,) * len(totals)
    if any(step != 1 for step in stride) or any(total % 2 for total in totals):
        return None
    return tuple(total // 2 for total in totals)
