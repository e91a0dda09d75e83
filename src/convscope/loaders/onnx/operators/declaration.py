"""How an operator of ONNX is declared: as a function of tensors, or as the module that a node becomes.

Every operator has at most one function, which computes it as the standard says. Operators that PyTorch has as a module
(convolutions, norms, activations, …) also have a translator, which returns that module where the node allows it.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from convscope.loaders.onnx.operators.translation import NodeView, Translation

IGNORED_ATTRIBUTES = frozenset({"consumed_inputs", "is_test", "training_mode", "momentum", "saturate", "spatial"})
"""Attributes that change nothing in inference, or whose unsupported values are refused by name."""


@dataclass(frozen=True)
class OperatorFunction:
    """The function of an operator, and how a node's inputs and attributes are passed to it.

    Attributes:
        function: takes the inputs by position and the attributes by name; ``opset`` and ``outputs`` (the number of the
            node's outputs) are passed where it has parameters of these names.
        parameters: the names of its inputs.
        variadic: whether it takes any number of inputs.
        attributes: the names of its attributes.
        numbers: the inputs that are read as Python numbers; a constant is passed as a number or a tuple.
        extras: ``opset`` and ``outputs``, as far as it takes them.
    """

    function: Callable[..., Any]
    parameters: tuple[str, ...]
    variadic: bool
    attributes: frozenset[str]
    numbers: frozenset[str]
    extras: frozenset[str]


Function = TypeVar("Function", bound=Callable[..., Any])

FUNCTIONS: dict[str, OperatorFunction] = {}
"""By the name of an operator, its function."""

Translator = Callable[[NodeView], Translation | None]
TRANSLATORS: dict[str, Translator] = {}
"""By the name of an operator, what turns a node into a module; None where the node is computed by the function."""


def operator(*names: str, numbers: str = "") -> Callable[[Function], Function]:
    """Declare the function of operators.

    Args:
        names: the operators.
        numbers: the inputs that are read as Python numbers, separated by spaces.
    """

    def declare(function: Function) -> Function:
        for name in names:
            FUNCTIONS[name] = _described(function, frozenset(numbers.split()))
        return function

    return declare


def elementwise(functions: Mapping[str, Callable[..., Any]]) -> None:
    """Declare operators that are a function of PyTorch: one of their inputs by position, without attributes."""
    for name, function in functions.items():
        FUNCTIONS[name] = OperatorFunction(function, (), True, frozenset(), frozenset(), frozenset())


def translator(*names: str) -> Callable[[Translator], Translator]:
    """Declare the translator of operators into modules."""

    def declare(function: Translator) -> Translator:
        TRANSLATORS.update(dict.fromkeys(names, function))
        return function

    return declare


def _described(function: Callable[..., Any], numbers: frozenset[str]) -> OperatorFunction:
    parameters = inspect.signature(function).parameters.values()
    by_name = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    extras = by_name & {"opset", "outputs"}
    return OperatorFunction(
        function,
        tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD),
        any(p.kind is p.VAR_POSITIONAL for p in parameters),
        frozenset(by_name - extras),
        numbers,
        frozenset(extras),
    )
