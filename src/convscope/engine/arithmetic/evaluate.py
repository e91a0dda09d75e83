"""One operation evaluated at one index, in double precision from the operands of the network's own forward pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from convscope.engine.network.quantized import dequantized
from convscope.engine.ops.call import Call
from convscope.values.facts import Fact

OutputIndex = tuple[int, ...]
"""An index into an operation's output, the image first."""

MAX_CHANNEL_MAPS = 8
"""For up to this many input channels, those that contribute most, the whole map is kept."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One operation evaluated at one index of its output.

    Attributes:
        title: the operation in words, with its settings.
        formula: the computation with the numbers filled in.
        value: the result.
        given: the input value at that index, where that is a single number.
        facts: further facts, such as the slope of an activation.
        numbers: the operands by name, where there are many.
    """

    title: str
    formula: str
    value: float
    given: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ExecutedOperation:
    """An operation that ran: the call with its operands, and its output."""

    call: Call
    output: Tensor
    padding_call: Call | None = None
    """The padding operation that computed its input, where the layer pads separately."""


def tensor_argument(call: Call, index: int, name: str) -> Tensor:
    """A tensor among a call's arguments."""
    argument = call.argument(index, name)
    assert isinstance(argument, Tensor), f"{call.name} has a tensor {name}"
    return argument


def to_double(tensor: Tensor) -> Tensor:
    """A copy of a few values in double precision on the CPU, detached from the graph."""
    return dequantized(tensor.detach()).cpu().to(torch.float64, copy=True)


def format_number(value: float) -> str:
    """A number within a formula: five significant digits and a typographic minus sign."""
    text = f"{value or 0.0:.5g}"
    return text.replace("-", "−")


def format_operand(value: float) -> str:
    """A number after an operator: in parentheses where it is negative."""
    return f"({format_number(value)})" if value < 0 else format_number(value)


def per_axis(value: Any, axes: int) -> tuple[int, ...]:
    """A setting for every axis, from one value for all or one for each."""
    if isinstance(value, (tuple, list)):
        return tuple(int(v) for v in value) * (axes if len(value) == 1 else 1)
    return (int(value),) * axes


def format_sizes(sizes: tuple[int, ...]) -> str:
    """``3×3``."""
    return "×".join(str(n) for n in sizes)


def windowed_title(operation: Fact, size: tuple[int, ...], settings: Sequence[Fact] = ()) -> Fact:
    """The title of an operation on windows: ``convolution 3×3, stride 2``."""
    if not settings:
        return Fact("{operation} {size}", operation=operation, size=format_sizes(size))
    return Fact("{operation} {size}, {settings}", operation=operation, size=format_sizes(size), settings=settings)
