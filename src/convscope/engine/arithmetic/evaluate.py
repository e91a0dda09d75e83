"""One operation worked out at one place, in double precision from the operands it really had."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from convscope.engine.network.quantized import dequantized
from convscope.engine.ops.call import Call

Place = tuple[int, ...]
"""An index into an operation's output, the image first."""

MOST_MAPS = 8
"""Of so many input channels, those that matter most, the whole map is kept."""


@dataclass(frozen=True, eq=False)
class Worked:
    """One operation at one place.

    Attributes:
        title: what it is, in words, with its settings.
        formula: how the value comes about, with the numbers put in.
        value: what comes out.
        given: what the operation was given at that place, where that is a single number.
        facts: what else is known, such as the slope of an activation.
        numbers: the operands by name, where they are many.
    """

    title: str
    formula: str
    value: float
    given: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation that ran: the call with the operands as they were, and what came out."""

    call: Call
    out: Tensor
    padded: Call | None = None
    """The padding that made its input, where the layer pads on its own."""


def operand(call: Call, place: int, name: str) -> Tensor:
    """A tensor among a call's arguments."""
    found = call.argument(place, name)
    assert isinstance(found, Tensor), f"{call.name} has a tensor {name}"
    return found


def exact(tensor: Tensor) -> Tensor:
    """A few numbers in double precision on the processor, a copy without a graph."""
    return dequantized(tensor.detach()).cpu().to(torch.float64, copy=True)


def said(value: float) -> str:
    """A number within a formula: five digits and a true minus sign."""
    text = f"{value or 0.0:.5g}"
    return text.replace("-", "−")


def bracketed(value: float) -> str:
    """A number behind an operator: in brackets where it is negative."""
    return f"({said(value)})" if value < 0 else said(value)


def every(value: Any, axes: int) -> tuple[int, ...]:
    """A setting for every axis, given once for all or axis by axis."""
    if isinstance(value, (tuple, list)):
        return tuple(int(v) for v in value) * (axes if len(value) == 1 else 1)
    return (int(value),) * axes


def by(sizes: tuple[int, ...]) -> str:
    """``3×3``."""
    return "×".join(str(n) for n in sizes)
