"""Which products multiply features by a gate: a sigmoid or a softmax computed from them, through reshapes and copies.

A gate is known by how it was computed, not by the class of a module. ``x * sigmoid(x)`` is an activation function and
no gate: it weighs each number by itself.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from convscope.engine.ops.aten_spelling import torch_spelling
from convscope.engine.ops.call import Call
from convscope.engine.ops.module_of_call import ModuleLocator
from convscope.engine.ops.operation_kinds import GATES

_CLAMPS = {"hardtanh": ("min_val", "max_val"), "clamp": ("min", "max"), "clip": ("min", "max")}
"""Functions between two limits, with the names of these."""
_WITH_NUMBERS = frozenset({"mul", "multiply", "div", "divide", "true_divide", "truediv", "add", "sub", "subtract"})
_COMPLEMENTS = frozenset({"rsub"})


@dataclass(frozen=True, eq=False)
class GateProduct:
    """One product of features and a gate.

    Attributes:
        position: which operand is the gate.
        operands: the two operands.
        function: the function that made the gate.
    """

    call: Call
    position: int
    operands: tuple[Tensor, Tensor]
    function: str

    @property
    def address(self) -> str:
        """The address of the module that multiplies."""
        return self.call.address

    @property
    def gate(self) -> Tensor:
        """The gate as the operation holds it."""
        return self.operands[self.position]

    @property
    def numbers(self) -> Tensor:
        """The gate without repetitions: of size 1 along dimensions in which it was expanded."""
        gate = self.gate
        for dim, (size, stride) in enumerate(zip(gate.shape, gate.stride(), strict=True)):
            if size > 1 and stride == 0:
                gate = gate.narrow(dim, 0, 1)
        return gate

    def run(self) -> Tensor:
        """The product as the network computes it."""
        output: Tensor = self.call.run()
        return output

    def run_with(self, numbers: Tensor) -> Tensor:
        """The product with other numbers in the gate."""
        gate = numbers.expand(self.gate.shape)
        call = self.call.out_of_place() if self.call.inplace and self.call.args[0] is self.gate else self.call
        output: Tensor = call.replaced(lambda tensor: gate if tensor is self.gate else tensor).run()
        return output


GateReader = Callable[[GateProduct], Tensor]
"""Runs a product of features and a gate, reads what it needs, and returns the product."""


@dataclass(frozen=True, eq=False)
class _Mark:
    """What a tensor that may be a gate was computed by: the function, its upper limit, and what it read."""

    function: str
    limit: float
    source: Tensor

    @property
    def is_gate(self) -> bool:
        """Whether it is a sigmoid or a softmax; a function between limits is one if these are 0 and 1."""
        return self.function in GATES or math.isclose(self.limit, 1.0, rel_tol=1e-6)


class GateMode(TorchFunctionMode):
    """Calls ``reader`` in place of every product of features and a gate."""

    def __init__(self, module: nn.Module, reader: GateReader) -> None:
        super().__init__()
        self.reader = reader
        self._where = ModuleLocator(module)
        self._marks: Any = WeakTensorKeyDictionary()
        self._shifted: Any = WeakTensorKeyDictionary()
        """From what a tensor was computed by adding or multiplying a number."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        func, args = torch_spelling(func, args, kwargs or {})
        call = Call(func, args, kwargs or {}, self._where)
        product = self._product(call)
        if product is not None:
            return self.reader(product)
        tensors = list(call.tensors())
        marks = [self._marks.get(tensor) for tensor in tensors]
        output = call.run()
        self._record(call, tensors, marks, output)
        return output

    def _product(self, call: Call) -> GateProduct | None:
        if call.kind != "product":
            return None
        operands = tuple(call.tensors())
        if len(operands) != 2 or operands[0] is operands[1]:
            return None
        first, second = (self._gate_of(tensor) for tensor in operands)
        if first and second:  # two gates, unless one of them has the size of features and the other has not
            sizes = [tensor.numel() for tensor in operands]
            if sizes[0] == sizes[1] or max(sizes) < math.prod(np.broadcast_shapes(*(t.shape for t in operands))):
                return None
            first, second = (first, None) if sizes[0] < sizes[1] else (None, second)
        position = 0 if first else 1
        mark = first or second
        if mark is None or self._base(operands[1 - position]) is self._base(mark.source):
            return None
        return GateProduct(call, position, operands, mark.function)

    def _gate_of(self, tensor: Tensor) -> _Mark | None:
        mark: _Mark | None = self._marks.get(tensor)
        return mark if mark is not None and mark.is_gate else None

    def _base(self, tensor: Tensor) -> Tensor:
        base: Tensor = self._shifted.get(tensor, tensor)
        return base

    def _record(self, call: Call, tensors: list[Tensor], marks: list[_Mark | None], output: Any) -> None:
        """Mark what an operation computed, if it is or still holds a gate."""
        if not tensors:
            return
        own = self._own_mark(call, tensors[0], marks[0])
        known = [mark for mark in marks if mark is not None]
        if own is None and known and _keeps_gate(call, len(tensors), len(known)):
            own = _scaled(known[0], call, tensors)
        with_number = len(tensors) == 1 and call.name in _WITH_NUMBERS and output is not tensors[0]
        if own is None and with_number and isinstance(output, Tensor):
            self._shifted[output] = self._base(tensors[0])
        for tensor in output if isinstance(output, tuple | list) else [output]:
            if not isinstance(tensor, Tensor):
                continue
            if own is not None:
                self._marks[tensor] = own
            elif tensor in self._marks:
                del self._marks[tensor]  # it was written to

    def _own_mark(self, call: Call, source: Tensor, known: _Mark | None) -> _Mark | None:
        """The mark of a function that gates, or of one between limits."""
        if call.name in GATES:
            return _Mark(call.name, 1.0, self._base(source))
        limits: tuple[Any, Any] = (0.0, 6.0) if call.name == "relu6" else (None, None)
        if call.name in _CLAMPS:
            limits = tuple(call.argument(i, name) for i, name in enumerate(_CLAMPS[call.name], start=1))
        low, high = limits
        is_known = all(isinstance(limit, int | float) for limit in limits)
        if known is not None or not is_known or low != 0 or high <= 0:
            return None
        return _Mark("hardsigmoid", float(high), self._base(source))


def _keeps_gate(call: Call, tensors: int, marked: int) -> bool:
    """Whether the result of an operation on a gate is one: moved, copied, enlarged, scaled, joined with another."""
    if call.kind == "shape" or call.name in ("interpolate", "upsample"):
        return True
    pointwise = call.name in _WITH_NUMBERS or call.name in _COMPLEMENTS
    return pointwise and marked == tensors


def _scaled(mark: _Mark, call: Call, tensors: list[Tensor]) -> _Mark:
    """The mark after a multiplication by a number or a division by one."""
    number = next((a for a in call.args[1:2] if isinstance(a, int | float)), None)
    if number is None or len(tensors) > 1 or call.name not in _WITH_NUMBERS:
        return mark
    if call.name in ("mul", "multiply"):
        return replace(mark, limit=mark.limit * number)
    if "div" in call.name and number:
        return replace(mark, limit=mark.limit / number)
    return mark
