"""From the graphs of TorchScript to lists of operations."""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.engine.network.operation_lists import (
    Block,
    Branch,
    Loop,
    Method,
    Operation,
    OperationModule,
    Slot,
    find_operator,
)
from convscope.engine.ops.aten_spelling import convolution
from convscope.loaders.torch_files.script_builtins import (
    CHANGING,
    OF_CONTAINERS,
    OF_NUMBERS,
    OF_TENSORS,
    PRIMITIVES,
    chunk,
)

NAMESPACES = frozenset({"aten", "prims", "quantized", "quantized_decomposed", "torchvision", "torchaudio"})
"""The namespaces of operators that a script may call."""
FORBIDDEN = frozenset({"aten::save", "aten::from_file"})
"""Operators that read or write files."""
MAX_DEPTH = 100
"""The most blocks or functions within each other."""

_MANGLED = re.compile(r"___torch_mangle_\d+\.")


def python_name(name: str) -> str:
    """The name of a class or function in Python: ``torch.nn.functional.relu``."""
    return _MANGLED.sub("", name).removeprefix("__torch__.")


class Untranslated(Exception):
    """A script that cannot be run operation by operation; ``missing`` counts what has no translation."""

    def __init__(self, missing: Mapping[str, int]) -> None:
        self.missing = dict(missing)
        super().__init__(", ".join(f"{name} ×{count}" for name, count in missing.items()))


class ScriptTranslator:
    """Translates the methods and functions of one script.

    Args:
        functions: the script's functions by their qualified names.

    Attributes:
        missing: what could not be translated, counted.
        attributes: the names of all attributes that the translated methods read.
    """

    def __init__(self, functions: Callable[[str], Any]) -> None:
        self._functions = functions
        self._translated: dict[str, Method] = {}
        self._depth = 0
        self.missing: Counter[str] = Counter()
        self.attributes: set[str] = set()

    def method(self, function: Any) -> Method:
        """A method of a module, or a function, from its graph and its schema."""
        graph, arguments = function.graph, function.schema.arguments
        names = [argument.name for argument in arguments]
        defaults = {a.name: a.default_value for a in arguments if a.has_default_value()}
        inputs = list(graph.inputs())
        names = names if len(names) == len(inputs) else ["self", *names]
        body = _Body(self)
        block = body.block(graph, inputs)
        return Method(block, len(body.slots), tuple(names), defaults, restores_gradients=body.disables_gradients)

    def function(self, qualified_name: str, arguments: int) -> Callable[..., Any]:
        """A free function: that of ``torch.nn.functional`` of this name, or the script's own."""
        name = python_name(qualified_name)
        known = _functional(name, arguments)
        if known is not None:
            return known
        if qualified_name not in self._translated:
            script = self._functions(qualified_name)
            if script is None or self._depth == MAX_DEPTH:
                self.missing[name] += 1
                return _missing
            self._depth += 1
            self._translated[qualified_name] = self.method(script)
            self._depth -= 1
        return self._translated[qualified_name]


class _Body:
    """The slots and steps of one graph, with those of its blocks."""

    def __init__(self, translator: ScriptTranslator) -> None:
        self.translator = translator
        self.slots: dict[str, int] = {}
        self.constants: dict[str, Any] = {}
        self.depth = 0
        self.disables_gradients = False

    def block(self, graph: Any, inputs: list[Any]) -> Block:
        """A block and what it contains."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Untranslated({"blocks within blocks": self.depth})
        slots = tuple(self._slot(value) for value in inputs)
        steps = [step for node in graph.nodes() for step in self._steps(node)]
        outputs = tuple(self._argument(value) for value in graph.outputs())
        self.depth -= 1
        return Block(slots, steps, outputs)

    def _slot(self, value: Any) -> int:
        return self.slots.setdefault(value.debugName(), len(self.slots))

    def _argument(self, value: Any) -> Any:
        name = value.debugName()
        return self.constants[name] if name in self.constants else Slot(self._slot(value))

    def _steps(self, node: Any) -> Iterator[Any]:
        kind, outputs = node.kind(), list(node.outputs())
        if kind == "prim::Constant":
            self.constants[outputs[0].debugName()] = _constant(outputs[0])
            return
        inputs = list(node.inputs())
        if kind == "prim::ListConstruct" and _is_literal(node, self.constants):
            self.constants[outputs[0].debugName()] = [self.constants[value.debugName()] for value in inputs]
            return
        results = tuple(self._slot(value) for value in outputs)
        if kind == "prim::If":
            blocks = [self.block(block, []) for block in node.blocks()]
            yield Branch(self._argument(inputs[0]), (blocks[0], blocks[1]), results)
        elif kind == "prim::Loop":
            (body,) = node.blocks()
            limit, condition, *initial = (self._argument(value) for value in inputs)
            yield Loop(limit, condition, tuple(initial), (self.block(body, list(body.inputs())),), results)
        else:
            function, leading = self._function(node, kind, inputs)
            inputs = inputs[1:] if kind == "prim::CallFunction" else inputs
            args, kwargs = self._arguments(node, kind, inputs)
            yield Operation(function, (*leading(args),), kwargs, results)

    def _arguments(self, node: Any, kind: str, inputs: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword-only arguments."""
        values = [self._argument(value) for value in inputs]
        schema = _schema(node)
        if kind.startswith("prim::") or schema is None or len(schema.arguments) != len(values):
            return values, {}
        named = {a.name: v for a, v in zip(schema.arguments, values, strict=True) if a.kwarg_only}
        positional = [v for a, v in zip(schema.arguments, values, strict=True) if not a.kwarg_only]
        return positional, named

    def _function(self, node: Any, kind: str, inputs: list[Any]) -> tuple[Callable[..., Any], Callable[[Any], Any]]:
        """The function of a node, and how its arguments begin."""
        if kind == "prim::GetAttr":
            self.translator.attributes.add(node.s("name"))
            return get_attribute, lambda args: (*args, node.s("name"))
        if kind == "prim::SetAttr":
            self.translator.attributes.add(node.s("name"))
            return set_attribute, lambda args: (*args, node.s("name"))
        if kind == "prim::CallMethod":
            return call_method, lambda args: (args[0], node.s("name"), *args[1:])
        if kind == "prim::CallFunction":
            return self.translator.function(str(inputs[0].type()), len(inputs) - 1), tuple
        if kind in ("prim::CreateObject", "prim::Enter", "prim::Exit") and _without_gradients(node):
            self.disables_gradients = True
            return _GRADIENT_SWITCH[kind], tuple
        if kind == "prim::ConstantChunk":
            return chunk, lambda args: (*args, node.i("chunks"), node.i("dim"))
        function = PRIMITIVES.get(kind) or _operator(node, kind)
        if function is None:
            self.translator.missing[kind] += 1
            return _missing, tuple
        return function, tuple


def _enter(context: Any) -> None:
    context.__enter__()


def _exit(context: Any) -> None:
    context.__exit__(None, None, None)


_GRADIENT_SWITCH: dict[str, Callable[..., Any]] = {
    "prim::CreateObject": torch.no_grad,
    "prim::Enter": _enter,
    "prim::Exit": _exit,
}
"""What ``with torch.no_grad():`` consists of."""


def _without_gradients(node: Any) -> bool:
    """Whether a node is a part of ``with torch.no_grad():``."""
    value = next(iter(node.outputs() if node.kind() == "prim::CreateObject" else node.inputs()))
    return python_name(str(value.type())) == "torch.autograd.grad_mode.no_grad"


def get_attribute(owner: Any, name: str) -> Any:
    """An attribute of a module."""
    return getattr(owner, name)


def set_attribute(owner: Any, value: Any, name: str) -> None:
    """Set an attribute of a module, such as the state of a recurrent network."""
    setattr(owner, name, value)


def call_method(owner: Any, name: str, *args: Any) -> Any:
    """Call a method of a module; a layer of ``torch.nn`` has its forward alone."""
    if isinstance(owner, OperationModule):
        return owner.call_method(name, *args)
    return owner(*args) if isinstance(owner, nn.Module) else getattr(owner, name)(*args)


def _missing(*_: Any, **__: Any) -> None:
    raise RuntimeError("this operation has no translation")


def _constant(value: Any) -> Any:
    """The value of a constant; devices that are not here are the CPU."""
    constant = value.toIValue()
    kind = str(value.type())
    if kind == "Device":
        return torch.device("cpu")
    return constant


def _is_literal(node: Any, constants: Mapping[str, Any]) -> bool:
    """Whether a list consists of numbers that are known, and nothing changes it."""
    values = [constants.get(value.debugName(), _missing) for value in node.inputs()]
    plain = all(isinstance(value, (int, float, bool)) for value in values)
    users = [use.user.kind() for use in next(iter(node.outputs())).uses()]
    return plain and all(kind.startswith("aten::") and kind not in CHANGING for kind in users)


def _schema(node: Any) -> Any:
    text = node.schema()
    return None if text == "(no schema)" else torch._C.parse_schema(text)


def _operator(node: Any, kind: str) -> Callable[..., Any] | None:
    """The function for an operator of a node: in Python where it computes no tensor, else torch's own."""
    schema = _schema(node)
    namespace = kind.partition("::")[0]
    if schema is None or namespace not in NAMESPACES or kind in FORBIDDEN:
        return None
    types = [str(argument.type) for argument in schema.arguments]
    takes_tensor = any(kind_ in ("Tensor", "Optional[Tensor]") for kind_ in types)
    of_container = bool(types) and (types[0].startswith(("List[", "Dict(", "Dict[")) or types[0] in ("t", "str"))
    if of_container and kind in OF_CONTAINERS:
        return OF_CONTAINERS[kind]
    if not takes_tensor and kind in OF_NUMBERS:
        return OF_NUMBERS[kind]
    if kind in OF_TENSORS:
        return OF_TENSORS[kind]
    if kind in ("aten::_convolution", "aten::convolution"):
        return convolution
    try:
        return find_operator(f"{kind}.{schema.overload_name}" if schema.overload_name else kind)
    except (AttributeError, RuntimeError):
        return None


def _functional(name: str, arguments: int) -> Callable[..., Any] | None:
    """The function of ``torch.nn.functional`` of a name, if it takes as many arguments."""
    package, _, short = name.rpartition(".")
    function = getattr(F, short, None) if package == "torch.nn.functional" else None
    if not inspect.isfunction(function) or function.__module__ != F.__name__:
        return None
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        return None
    return function if len(parameters) == arguments else None


def constant_tensors(block: Block) -> Iterator[tuple[Operation, int, Tensor]]:
    """The tensors among the arguments of a block's operations, each with its operation and position."""
    for step in block.steps:
        if isinstance(step, Operation):
            for position, argument in enumerate(step.args):
                if isinstance(argument, Tensor):
                    yield step, position, argument
        for inner in getattr(step, "blocks", ()):
            yield from constant_tensors(inner)
