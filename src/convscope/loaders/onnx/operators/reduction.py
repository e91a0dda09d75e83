"""Reductions over axes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.loaders.onnx.operators.declaration import FUNCTIONS, OperatorFunction
from convscope.loaders.onnx.operators.numbers import integers

Reduction = Callable[[Tensor, tuple[int, ...], bool], Tensor]


def _product(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


def _extreme(
    function: Callable[..., Tensor], x: Tensor, axes: tuple[int, ...], keepdim: bool, of_nothing: float
) -> Tensor:
    if any(x.shape[axis] == 0 for axis in axes):
        kept = x.sum(axes, keepdim=keepdim)
        if x.dtype.is_floating_point:
            return torch.full_like(kept, of_nothing)
        limits = torch.iinfo(x.dtype)
        return torch.full_like(kept, limits.max if of_nothing > 0 else limits.min, dtype=x.dtype)
    return function(x, axes, keepdim)


def _maximum(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return _extreme(torch.amax, x, axes, keepdim, -math.inf)


def _minimum(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return _extreme(torch.amin, x, axes, keepdim, math.inf)


def _mean(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return x.mean(axes, keepdim) if x.is_floating_point() else x.double().mean(axes, keepdim).to(x.dtype)


def _sum(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return x.sum(axes, keepdim, dtype=x.dtype)


def _norm(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return (
        _sum(x.square(), axes, keepdim).sqrt()
        if x.is_floating_point()
        else _sum(x.square(), axes, keepdim).double().sqrt().to(x.dtype)
    )


def _absolute_sum(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return _sum(x.abs(), axes, keepdim)


def _sum_of_squares(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return _sum(x.square(), axes, keepdim)


def _logarithm_of_sum(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return _sum(x, axes, keepdim).log()


_REDUCTIONS: dict[str, Reduction] = {
    "ReduceMean": _mean, "ReduceSum": _sum, "ReduceMax": _maximum, "ReduceMin": _minimum, "ReduceProd": _product,
    "ReduceL1": _absolute_sum, "ReduceL2": _norm, "ReduceSumSquare": _sum_of_squares,
    "ReduceLogSum": _logarithm_of_sum, "ReduceLogSumExp": torch.logsumexp,
}  # fmt: skip


class _Reduce:
    """A reduction as the function of an operator: axes as input or attribute, all of them by default."""

    def __init__(self, reduce: Reduction) -> None:
        self.reduce = reduce

    def __call__(
        self,
        x: Tensor,
        places: Any = None,
        *,
        axes: Sequence[int] | None = None,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        """The reduced tensor."""
        chosen = axes if places is None else integers(places)
        if not chosen:
            if noop_with_empty_axes:
                return (
                    x
                    if self.reduce in (_mean, _sum, _maximum, _minimum, _product)
                    else self.reduce(x[None], (0,), False)
                )
            chosen = range(x.ndim)
        if x.ndim == 0:
            return self.reduce(x[None], (0,), False)
        if x.dtype == torch.bool:
            return self.reduce(x.to(torch.uint8), tuple(chosen), bool(keepdims)).to(torch.bool)
        return self.reduce(x, tuple(chosen), bool(keepdims))


for _name, _function in _REDUCTIONS.items():
    FUNCTIONS[_name] = OperatorFunction(
        _Reduce(_function),
        ("x", "places"),
        False,
        frozenset({"axes", "keepdims", "noop_with_empty_axes"}),
        frozenset({"places"}),
        frozenset(),
    )
