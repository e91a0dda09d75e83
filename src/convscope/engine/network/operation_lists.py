"""Modules whose forward is a list of operations, as exported programs and TorchScript hold it.

The operations run one by one in Python, so that hooks, function modes and autograd see what they see in the forward of
any other module. Values live in numbered slots and are dropped after their last use.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn
from torch._ops import OpOverload

MAX_ITERATIONS = 1_000_000
"""The most iterations of one loop of a network."""


@dataclass(frozen=True)
class Slot:
    """Stands for the value of an earlier operation among the arguments of another."""

    index: int


class Step(Protocol):
    """One step of a list: an operation, a branch or a loop."""

    last_used: tuple[int, ...]
    """The slots that no later step reads."""

    def run(self, module: "OperationModule", values: list[Any]) -> None:
        """Read arguments from slots, compute, and write the results to slots."""

    def slots_read(self) -> Iterator[int]:
        """The slots that this step reads, also within its blocks."""


@dataclass
class Operation:
    """A call of a function."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    results: tuple[int, ...] = ()
    last_used: tuple[int, ...] = ()

    def run(self, module: "OperationModule", values: list[Any]) -> None:
        """Call the function; several results are unpacked."""
        args = [_filled(argument, values) for argument in self.args]
        kwargs = {name: _filled(value, values) for name, value in self.kwargs.items()} if self.kwargs else {}
        result = self.function(*args, **kwargs)
        if len(self.results) == 1:
            values[self.results[0]] = result
        elif self.results:
            for index, part in zip(self.results, result, strict=True):
                values[index] = part

    def slots_read(self) -> Iterator[int]:
        """The slots among the arguments."""
        return _slots_in((self.args, tuple(self.kwargs.values())))

    def __getstate__(self) -> dict[str, Any]:
        """All fields; an operator of torch, which cannot be pickled, by its name."""
        function = self.function
        return vars(self) | {"function": operator_name(function) if isinstance(function, OpOverload) else function}

    def __setstate__(self, state: dict[str, Any]) -> None:
        function = state["function"]
        vars(self).update(state, function=find_operator(function) if isinstance(function, str) else function)


@dataclass
class Block:
    """Steps with inputs and outputs: the whole of a forward, or the body of a branch or loop."""

    inputs: tuple[int, ...]
    steps: list[Step]
    outputs: tuple[Any, ...]

    def run(self, module: "OperationModule", values: list[Any]) -> tuple[Any, ...]:
        """Run the steps in order; the values of the outputs."""
        for step in self.steps:
            step.run(module, values)
            for index in step.last_used:
                values[index] = None
        return tuple(_filled(output, values) for output in self.outputs)

    def slots_read(self) -> Iterator[int]:
        """The slots that the steps and outputs read."""
        for step in self.steps:
            yield from step.slots_read()
        yield from _slots_in(self.outputs)

    def mark_last_uses(self) -> None:
        """Note at each step which of the block's own values no later step reads."""
        own = {*self.inputs, *(index for step in self.steps for index in getattr(step, "results", ()))}
        needed = {*_slots_in(self.outputs)}
        for step in reversed(self.steps):
            used = {*step.slots_read(), *getattr(step, "results", ())} & own
            step.last_used = tuple(sorted(used - needed))
            needed |= used
            for block in getattr(step, "blocks", ()):
                block.mark_last_uses()


@dataclass
class Branch:
    """One of two blocks, chosen by a condition."""

    condition: Any
    blocks: tuple[Block, Block]
    results: tuple[int, ...]
    last_used: tuple[int, ...] = ()

    def run(self, module: "OperationModule", values: list[Any]) -> None:
        """Run the block that the condition selects."""
        outputs = self.blocks[0 if _filled(self.condition, values) else 1].run(module, values)
        for index, output in zip(self.results, outputs, strict=True):
            values[index] = output

    def slots_read(self) -> Iterator[int]:
        """The slots that the condition and the blocks read."""
        yield from _slots_in((self.condition,))
        for block in self.blocks:
            yield from block.slots_read()


@dataclass
class Loop:
    """A block that runs while a condition holds, at most ``limit`` times, on values that it passes on to itself."""

    limit: Any
    condition: Any
    initial: tuple[Any, ...]
    blocks: tuple[Block]
    results: tuple[int, ...]
    last_used: tuple[int, ...] = ()

    def run(self, module: "OperationModule", values: list[Any]) -> None:
        """Run the block until its first output is false."""
        (body,) = self.blocks
        limit, proceed = _filled(self.limit, values), bool(_filled(self.condition, values))
        carried = tuple(_filled(value, values) for value in self.initial)
        iteration = 0
        while proceed and iteration < limit:
            if iteration == MAX_ITERATIONS:
                raise RuntimeError(f"a loop of the network did not end within {MAX_ITERATIONS:,} iterations")
            for index, value in zip(body.inputs, (iteration, *carried), strict=True):
                values[index] = value
            proceed, *rest = body.run(module, values)
            carried = tuple(rest)
            iteration += 1
        for index, value in zip(self.results, carried, strict=True):
            values[index] = value

    def slots_read(self) -> Iterator[int]:
        """The slots that the loop and its block read."""
        yield from _slots_in((self.limit, self.condition, self.initial))
        yield from self.blocks[0].slots_read()


@dataclass
class Method:
    """A function of a module, or a free one, as a block.

    Attributes:
        parameters: the names of the block's inputs.
        defaults: the values of parameters that may be left out.
        tensors: the slots of constant tensors, each with the buffer of the module that holds it.
        restores_gradients: whether it switches gradients off, which must end with it also if it is stopped.
    """

    block: Block
    slots: int
    parameters: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    tensors: dict[int, str] = field(default_factory=dict)
    restores_gradients: bool = False

    def __post_init__(self) -> None:
        self.block.mark_last_uses()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call a free function."""
        return self.run(_NO_MODULE, args, kwargs)

    def run(self, module: "OperationModule", args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The result of the block for these arguments; several outputs are a tuple."""
        values: list[Any] = [None] * self.slots
        for index, name in zip(self.block.inputs, self.parameters, strict=True):
            position = self.block.inputs.index(index)
            if position < len(args):
                values[index] = args[position]
            elif name in kwargs or name in self.defaults:
                values[index] = kwargs[name] if name in kwargs else self.defaults[name]
            else:
                raise TypeError(f"missing argument {name!r}")
        for index, buffer in self.tensors.items():
            values[index] = getattr(module, buffer)
        with torch.set_grad_enabled(torch.is_grad_enabled()) if self.restores_gradients else nullcontext():
            outputs = self.block.run(module, values)
        return outputs[0] if len(outputs) == 1 else outputs


class OperationModule(nn.Module):
    """A module whose methods are lists of operations.

    Attributes:
        original_name: the class of the module that was exported or scripted.
        methods: by name; the first argument of each is the module itself.
    """

    def __init__(self, original_name: str, methods: Mapping[str, Method]) -> None:
        super().__init__()
        self.original_name = original_name
        self.methods = dict(methods)

    def forward(self, *args: Any, method: str = "forward", **kwargs: Any) -> Any:
        """Run the operations of the method ``forward``, or of one that stands for another call of it."""
        return self.methods[method].run(self, (self, *args), kwargs)

    def call_method(self, name: str, *args: Any) -> Any:
        """Run a method; a forward runs with its hooks. Tracing numbers them: ``forward1`` is the second call."""
        if name == "forward":
            return self(*args)
        if name.startswith("forward") and name.removeprefix("forward").isdecimal():
            return self(*args, method=name)
        return self.methods[name].run(self, (self, *args), {})

    def operators(self) -> Iterator[OpOverload]:
        """The operators that the methods call."""
        blocks = [method.block for method in self.methods.values()]
        while blocks:
            for step in blocks.pop().steps:
                blocks += getattr(step, "blocks", ())
                if isinstance(step, Operation) and isinstance(step.function, OpOverload):
                    yield step.function

    def extra_repr(self) -> str:
        """The class of the original module."""
        return self.original_name


_NO_MODULE = OperationModule("", {})
"""The module of free functions."""


def operator_name(operator: OpOverload) -> str:
    """The name of an operator with its overload: ``aten::add.Tensor``."""
    return operator.name()  # type: ignore[no-untyped-call, no-any-return]


def find_operator(name: str) -> OpOverload:
    """The operator of a name such as ``aten::add.Tensor``.

    Raises:
        AttributeError: there is no such operator.
    """
    namespace, _, rest = name.partition("::")
    operator, _, overload = rest.partition(".")
    function: OpOverload = getattr(getattr(getattr(torch.ops, namespace), operator), overload or "default")
    return function


def _filled(argument: Any, values: list[Any]) -> Any:
    """An argument with the values of slots in their place."""
    kind = type(argument)
    if kind is Slot:
        return values[argument.index]
    if kind is list or kind is tuple:
        return kind([_filled(part, values) for part in argument])
    if kind is dict:
        return {name: _filled(part, values) for name, part in argument.items()}
    if kind is slice:
        return slice(*(_filled(part, values) for part in (argument.start, argument.stop, argument.step)))
    return argument


def _slots_in(argument: Any) -> Iterator[int]:
    if isinstance(argument, Slot):
        yield argument.index
    elif isinstance(argument, (list, tuple)):
        for part in argument:
            yield from _slots_in(part)
    elif isinstance(argument, dict):
        yield from _slots_in(tuple(argument.values()))
    elif isinstance(argument, slice):
        yield from _slots_in((argument.start, argument.stop, argument.step))
