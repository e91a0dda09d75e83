"""What the translator of an operator reads of a node, and the module that it returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import LoadError


class UnsupportedOperator(LoadError):
    """A node that ConvScope does not translate; ``reason`` names the operator and what about it is unsupported."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"ConvScope does not translate {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Translation:
    """A module, and the positions of the node's inputs that are still passed to it (others have become weights)."""

    module: nn.Module
    inputs: tuple[int, ...] = (0,)
    absorbs_consumer: bool = False
    """Whether the module also computes the only node that reads this one's output, such as the sum with a bias."""


@dataclass(frozen=True)
class NodeView:
    """A node with its inputs, as far as they are known when the network is opened.

    Attributes:
        kind: the operator.
        attributes: by name; texts are decoded, tensors are torch's.
        opset: the version of the operator set.
        examples: each input as it was for the example; None where it is left out.
        constants: each input that is the same for every input of the network, else None.
        parameter: returns the constant at a position as a parameter or a buffer of a module, the same one for every
            node that reads it.
        outputs: the number of outputs that are used.
        bias_of_consumer: the constant that the only reader of the output adds to it; None if there is no such reader.
    """

    kind: str
    attributes: Mapping[str, Any]
    opset: int
    examples: Sequence[Any]
    constants: Sequence[Tensor | None]
    parameter: Callable[[int], Tensor]
    outputs: int = 1
    bias_of_consumer: tuple[Tensor, Tensor] | None = field(default=None)

    def has(self, position: int) -> bool:
        """Whether the node has an input at a position."""
        return position < len(self.examples) and self.examples[position] is not None

    def constant(self, position: int) -> Tensor | None:
        """The constant at a position; None if the input depends on the network's input or is left out."""
        return self.constants[position] if position < len(self.constants) else None

    def are_constant(self, *positions: int) -> bool:
        """Whether the inputs at these positions are constants or left out."""
        return all(not self.has(position) or self.constant(position) is not None for position in positions)

    @property
    def rank(self) -> int:
        """The number of axes of the first input."""
        return int(self.examples[0].ndim)


def set_weight(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Make a tensor a module's parameter of that name, as it is if it is a parameter, so that nodes can share it."""
    parameter = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, requires_grad=True)
    setattr(module, name, parameter)


def built(make: Callable[..., nn.Module], *arguments: Any, **options: Any) -> nn.Module:
    """A module without memory for its weights, which are set afterwards; no random number is drawn."""
    with torch.device("meta"):
        return make(*arguments, **options)
