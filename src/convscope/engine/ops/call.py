"""One operation of a forward: the function and its arguments."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from convscope.engine.ops.operation_kinds import OperationKind, operation_kind, operation_name

_NORM = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
_NORM_POSITIONS = {name: position for position, name in enumerate(_NORM)} | {"use_input_stats": 5}
_OPERATORS_OF_NORMS = (torch.ops.aten.batch_norm, torch.ops.aten.instance_norm)
_POSITIONS: dict[Any, dict[str, int]] = {
    torch.batch_norm: _NORM_POSITIONS,
    torch.instance_norm: _NORM_POSITIONS,
    **dict.fromkeys(_OPERATORS_OF_NORMS, _NORM_POSITIONS),
    **{operator.default: _NORM_POSITIONS for operator in _OPERATORS_OF_NORMS},
}
"""Positions of arguments of functions that have another order in ``torch.nn.functional``."""


@dataclass(frozen=True, eq=False)
class Call:
    """An operation with its arguments."""

    function: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    where: Callable[[], str] = str
    """Gives the address of the module that calls the operation; valid only during the call."""

    @property
    def address(self) -> str:
        """The address of the module that calls the operation; empty in the network's own forward."""
        return self.where()

    @property
    def name(self) -> str:
        """The operation's name in every spelling: ``relu``, ``add``, ``conv2d``."""
        return operation_name(self.function)[0]

    @property
    def kind(self) -> OperationKind | None:
        """The operation's kind, if known."""
        if self.name == "instance_norm" and not self.argument(5, "use_input_stats", True):
            return "batch norm"  # it uses running statistics
        return operation_kind(self.function)

    @property
    def inplace(self) -> bool:
        """Whether the operation writes to its first argument."""
        if operation_name(self.function)[1]:
            return True
        position = _inplace_parameter(self.function)
        return position is not None and bool(self.argument(position, "inplace", False))

    def run(self) -> Any:
        """Call the function with its arguments."""
        return self.function(*self.args, **self.kwargs)

    def run_with(self, *tensors: Tensor) -> Any:
        """Call the function with ``tensors`` in place of its tensor arguments, in order."""
        replacements = iter(tensors)
        args = tuple(next(replacements, a) if isinstance(a, Tensor) else a for a in self.args)
        kwargs = {name: next(replacements, v) if isinstance(v, Tensor) else v for name, v in self.kwargs.items()}
        return self.function(*args, **kwargs)

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by its position in ``torch.nn.functional``, or by name."""
        position = _POSITIONS.get(self.function, {}).get(name, position)
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def tensors(self) -> Iterator[Tensor]:
        """All tensors among the arguments."""
        yield from _tensors((*self.args, *self.kwargs.values()))

    def tensors_requiring_grad(self) -> list[Tensor]:
        """The tensors among the arguments that require grad: those that depend on the explained input."""
        return [t for t in self.tensors() if t.requires_grad]

    def with_constants(self, tensors: list[Tensor]) -> "Call":
        """The same call with some of its tensors detached."""
        detached = {id(tensor): tensor.detach() for tensor in tensors}
        return self.replaced(lambda t: detached.get(id(t), t))

    def replaced(self, replacement: Any) -> "Call":
        """The same call with ``replacement(tensor)`` in place of each tensor."""
        args = tuple(_map_tensors(a, replacement) for a in self.args)
        kwargs = {name: _map_tensors(v, replacement) for name, v in self.kwargs.items()}
        return replace(self, args=args, kwargs=kwargs)

    def detached(self) -> "Call":
        """The same call with all its tensors detached."""
        return self.replaced(lambda t: t.detach())

    def out_of_place(self) -> "Call":
        """A call that computes the same without writing to its arguments."""
        position = _inplace_parameter(self.function)
        if position is not None:
            args = tuple(False if i == position else a for i, a in enumerate(self.args))
            by_keyword = {"inplace": False} if len(args) <= position else {}
            return replace(self, args=args, kwargs={**self.kwargs, **by_keyword})
        method = getattr(Tensor, self.name, None) if self.name not in ("fill", "zero", "copy", "setitem") else None
        return replace(self, function=method or _on_a_copy(self.function))


@functools.cache
def _on_a_copy(function: Any) -> Any:
    """A function that applies an in-place operation to a copy of its first argument."""

    def apply_to_copy(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        copied = x.clone()
        function(copied, *args, **kwargs)
        return copied

    apply_to_copy.__name__ = operation_name(function)[0]
    return apply_to_copy


@functools.cache
def _inplace_parameter(function: Any) -> int | None:
    """The position of a function's parameter ``inplace``, if it has one."""
    if not inspect.isfunction(function):
        return None
    names = list(inspect.signature(function, follow_wrapped=False).parameters)
    return names.index("inplace") if "inplace" in names else None


def _tensors(arguments: Any) -> Iterator[Tensor]:
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, (list, tuple)):
            yield from _tensors(argument)


def _map_tensors(argument: Any, function: Callable[[Tensor], Any]) -> Any:
    if isinstance(argument, Tensor):
        return function(argument)
    if isinstance(argument, (list, tuple)) and any(isinstance(t, Tensor) for t in argument):
        return type(argument)([_map_tensors(t, function) for t in argument])
    return argument


def is_reciprocal(call: Call) -> bool:
    """Whether this is 1 / x, or one over a power of x."""
    exponent = call.argument(1, "exponent") if call.name == "pow" else None
    return call.name in ("reciprocal", "rsqrt") or (isinstance(exponent, (int, float)) and exponent < 0)
