"""Windows of convolutions and poolings: kernel, stride, dilation, and padding, which may be uneven or automatic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from convscope.loaders.onnx.operators.numbers import check_elements
from convscope.loaders.onnx.operators.translation import UnsupportedOperator


@dataclass(frozen=True)
class Windows:
    """Sliding windows along each spatial axis.

    Attributes:
        kernel, stride, dilation: per axis.
        pads: what is added before each axis, then after each; None where ``automatic`` computes it from the input.
        automatic: ``SAME_UPPER`` or ``SAME_LOWER``: ⌈extent / stride⌉ windows, an odd remainder after or before.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...] | None
    automatic: str = ""

    @property
    def even_padding(self) -> tuple[int, ...] | None:
        """The padding per axis if it is the same on both sides for every input; else None."""
        if self.pads is None:
            return (0,) * len(self.kernel) if set(self.kernel) == set(self.stride) == {1} else None
        half = len(self.kernel)
        before, after = self.pads[:half], self.pads[half:]
        return before if before == after and min(before) >= 0 else None

    def extent(self, axis: int) -> int:
        """The number of positions from the first to the last element of a window."""
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def padding(self, shape: Sequence[int]) -> tuple[list[int], list[int]]:
        """What is added before and after each axis of an input whose spatial shape is given."""
        axes = range(len(self.kernel))
        if self.pads is not None:
            return list(self.pads[: len(self.kernel)]), list(self.pads[len(self.kernel) :])
        totals = [
            max((-(-shape[i] // self.stride[i]) - 1) * self.stride[i] + self.extent(i) - shape[i], 0) for i in axes
        ]
        smaller, larger = [total // 2 for total in totals], [total - total // 2 for total in totals]
        return (smaller, larger) if self.automatic == "SAME_UPPER" else (larger, smaller)

    def pad(self, x: Tensor, value: float = 0.0) -> Tensor:
        """An input with its padding."""
        return pad_spatial(x, *self.padding(x.shape[2:]), value=value)


def pad_spatial(x: Tensor, before: Sequence[int], after: Sequence[int], *, value: float = 0.0) -> Tensor:
    """A tensor (N, C, …) with elements added before and after each of its spatial axes."""
    if not any(before) and not any(after):
        return x
    extents = [n + first + last for n, first, last in zip(x.shape[2:], before, after, strict=True)]
    check_elements((*x.shape[:2], *extents), "padding")
    widths = [width for pair in zip(reversed(before), reversed(after), strict=True) for width in pair]
    return F.pad(x, widths, value=value)


def read_windows(kind: str, attributes: Mapping[str, Any], kernel: Sequence[int]) -> Windows:
    """The windows of a node.

    Raises:
        UnsupportedOperator: an attribute has another length than the kernel, or is not positive.
    """
    axes = len(kernel)
    stride = tuple(attributes.get("strides") or [1] * axes)
    dilation = tuple(attributes.get("dilations") or [1] * axes)
    pads = tuple(attributes.get("pads") or [0] * 2 * axes)
    lengths = len(stride), len(dilation), len(pads)
    if lengths != (axes, axes, 2 * axes) or not 1 <= axes <= 3:
        raise UnsupportedOperator(f"{kind} with a kernel of {axes} axes and strides, dilations and pads of {lengths}")
    if min((*kernel, *stride, *dilation)) < 1:
        raise UnsupportedOperator(f"{kind} with a kernel, stride or dilation below 1")
    automatic = attributes.get("auto_pad") or "NOTSET"
    if automatic not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise UnsupportedOperator(f"{kind} with auto_pad={automatic!r}")
    if automatic == "VALID":
        pads = (0,) * 2 * axes
    same = automatic.startswith("SAME")
    return Windows(tuple(kernel), stride, dilation, None if same else pads, automatic if same else "")
