"""ATen operators that have no function of their own in torch, as calls of the functions that every other road uses.

A program that was exported and decomposed, or traced, calls ``aten.convolution`` for convolutions of any kind.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch._ops import OpOverload

_GENERAL = getattr(torch.ops.aten, "_convolution")  # noqa: B009 - the name of an operator, not private to a class
_CONVOLUTIONS = frozenset({torch.ops.aten.convolution.default, _GENERAL.default, _GENERAL.deprecated})
_BY_AXES = (
    (torch.conv1d, torch.conv2d, torch.conv3d),
    (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
)


def torch_spelling(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    """The function of torch that an operator stands for, with its positional arguments; others are unchanged."""
    if isinstance(function, OpOverload) and not kwargs and function in _CONVOLUTIONS:
        return convolution_call(*args)
    return function, args


def convolution_call(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    *_: Any,
) -> tuple[Any, tuple[Any, ...]]:
    """The function for the arguments of ``aten.convolution``, with its arguments; those for cuDNN are left out."""
    function = _BY_AXES[bool(transposed)][weight.ndim - 3]
    if transposed:
        return function, (x, weight, bias, stride, padding, output_padding, groups, dilation)
    return function, (x, weight, bias, stride, padding, dilation, groups)


def convolution(*args: Any) -> Any:
    """Run ``aten.convolution`` by the function for its number of axes."""
    function, arguments = convolution_call(*args)
    return function(*arguments)
