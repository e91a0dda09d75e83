"""Exported programs (torch.export) as networks of ordinary layers, with the names of the module that was exported.

``torch.export.unflatten`` gives the operations of a program back to the modules that they came from. Here layers of
``torch.nn`` become such layers again, and the other modules run their operations one by one.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.utils import _pytree as pytree

from convscope.engine.network.layer_rebuilding import NotRebuilt, computes, layer_class, rebuild_layer
from convscope.engine.network.operation_lists import (
    Block,
    Method,
    Operation,
    OperationModule,
    Slot,
    find_operator,
    operator_name,
)
from convscope.engine.network.scripted_modules import FIXED_SIZE
from convscope.engine.ops.aten_spelling import convolution
from convscope.errors import InputError

_VIEWS = frozenset({"aten::view", "aten::reshape", "aten::_unsafe_view", "aten::expand"})
"""Operators whose first size is that of the batch where the network did not compute it."""


class ExportedNetwork(OperationModule):
    """The whole network of an exported program.

    Attributes:
        sizes: the sizes of the input that the program was exported for; None where any size may be given.
        batch: the only number of images that the program was exported for; None if any may be given.
    """

    def __init__(self, original_name: str, method: Method, sizes: tuple[int | None, ...]) -> None:
        super().__init__(original_name, {"forward": method})
        self.sizes = sizes
        self.batch = sizes[0] if sizes else None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program, for inputs of the sizes that it was exported for."""
        given = next((tuple(argument.shape) for argument in args if isinstance(argument, Tensor)), ())
        expected = (self.batch, *self.sizes[1:])
        if len(given) != len(expected) or any(e not in (None, g) for e, g in zip(expected, given, strict=True)):
            sizes = ", ".join("any" if size is None else str(size) for size in expected)
            raise RuntimeError(f"it takes inputs of the sizes ({sizes}); {FIXED_SIZE}")
        return super().forward(*args, **kwargs)


def is_program(value: Any) -> bool:
    """Whether this is an exported program; torch.export is not imported for the question."""
    return type(value).__name__ == "ExportedProgram" and hasattr(value, "graph_module")


def layers_of_program(program: Any) -> ExportedNetwork:
    """The network of an exported program, in eval mode; nothing of it is run.

    Raises:
        InputError: the program takes several tensors.
    """
    sizes = _input_sizes(program)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export uses parts of torch that are deprecated
        unflattened = torch.export.unflatten(program)
    network = _Conversion().root(unflattened, sizes)
    network.eval()
    return network


def example_input(program: Any) -> Tensor | None:
    """The tensor among the inputs with which a program was exported."""
    args, kwargs = program.example_inputs or ((), {})
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    return tensors[0] if tensors else None


def _input_sizes(program: Any) -> tuple[int | None, ...]:
    """The sizes of the only input tensor; None where any size may be given."""
    names = {*program.graph_signature.user_inputs}
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    tensors = [node.meta["val"] for node in placeholders if isinstance(node.meta.get("val"), Tensor)]
    if len(tensors) != 1:
        raise InputError(f"the exported program takes {len(tensors)} tensors: a network must take one, the images")
    return tuple(size if isinstance(size, int) else None for size in tensors[0].shape)


class _Conversion:
    """Converts the modules of an unflattened program; a module that occurs twice is converted once."""

    def __init__(self) -> None:
        self._converted: dict[int, nn.Module] = {}

    def root(self, unflattened: Any, sizes: tuple[int | None, ...]) -> ExportedNetwork:
        method = _method(unflattened, out_spec=unflattened.module_call_graph[0].signature.out_spec)
        network = ExportedNetwork(_short_name(unflattened), method, sizes)
        self._add_contents(network, unflattened)
        return network

    def module(self, module: nn.Module) -> nn.Module:
        if id(module) not in self._converted:
            self._converted[id(module)] = self._convert(module)
        return self._converted[id(module)]

    def _convert(self, module: nn.Module) -> nn.Module:
        graph = getattr(module, "graph", None)
        if not isinstance(graph, fx.Graph):  # it holds weights and did not run
            kept = nn.Module()
            self._add_contents(kept, module)
            return kept
        try:
            return _ordinary_layer(module, graph)
        except NotRebuilt:
            converted = OperationModule(_short_name(module), {"forward": _method(module)})
            self._add_contents(converted, module)
            return converted

    def _add_contents(self, converted: nn.Module, module: nn.Module) -> None:
        for name, parameter in module._parameters.items():
            converted.register_parameter(name, parameter)
        for name, buffer in module._buffers.items():
            converted.register_buffer(name, buffer)
        for name, child in module._modules.items():
            if child is not None:
                converted.add_module(name, self.module(child))
        for name, value in vars(module).items():  # constants that torch.export lifted out of a forward
            if isinstance(value, Tensor):
                converted.register_buffer(name, value, persistent=False)


def _short_name(module: Any) -> str:
    return (module.type_name() or "").rpartition(".")[2] or "Module"


def _ordinary_layer(module: Any, graph: fx.Graph) -> nn.Module:
    """The layer of ``torch.nn`` that a module with one operation was.

    Raises:
        NotRebuilt: it is none, or not that operation alone.
    """
    kind = layer_class(module.type_name() or "")
    nodes = [node for node in graph.nodes if node.op not in ("placeholder", "output", "get_attr")]
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if kind is None or module._modules or len(inputs) != 1 or len(nodes) > 1:
        raise NotRebuilt("not one operation of a known layer")
    output = next(node.args[0] for node in graph.nodes if node.op == "output")
    if not nodes and kind in (nn.Identity, nn.Dropout) and output is inputs[0]:
        return nn.Identity().eval()
    if not nodes or output is not nodes[0] or not isinstance(nodes[0].target, OpOverload):
        raise NotRebuilt("not one operation of a known layer")
    arguments = _named_arguments(nodes[0])
    name = operator_name(nodes[0].target).removeprefix("aten::").partition(".")[0]
    if not computes(kind, name) or arguments.get("train") or arguments.get("training"):
        raise NotRebuilt(f"{kind.__name__} computes {name}")
    tensors = {}
    for parameter, value in arguments.items():
        if isinstance(value, fx.Node) and value is not inputs[0]:
            if value.target != parameter:
                raise NotRebuilt(f"{parameter} is {value.target}")
            tensors[parameter] = getattr(module, parameter)
    tensors |= {name: buffer for name, buffer in module._buffers.items() if name == "num_batches_tracked"}
    return rebuild_layer(kind, tensors, _settings(kind, arguments, tensors), in_place=name.endswith("_"))


def _named_arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of an operator by the names in its schema, with defaults."""
    target: Any = node.target
    named: dict[str, Any] = {}
    for position, parameter in enumerate(target._schema.arguments):
        value = node.args[position] if position < len(node.args) else node.kwargs.get(parameter.name)
        if position >= len(node.args) and parameter.name not in node.kwargs and parameter.has_default_value():
            value = parameter.default_value
        named[parameter.name] = value
    return named


def _settings(kind: type[nn.Module], arguments: Mapping[str, Any], tensors: Mapping[str, Any]) -> Any:
    """The parameters of a layer's class as read from the arguments of its operation."""
    known = {name: list(v) if isinstance(v, (list, tuple)) else v for name, v in arguments.items()}
    known = {name: tuple(v) if isinstance(v, list) else v for name, v in known.items()}
    if known.get("stride") == ():
        known["stride"] = None
    transposed = "Transpose" in kind.__name__
    if kind.__name__.startswith("Conv"):
        if "transposed" in known and bool(known["transposed"]) != transposed:
            raise NotRebuilt("a transposed convolution")
        rows, columns = tensors["weight"].shape[:2]
        channels = (rows, columns * known["groups"]) if transposed else (columns * known["groups"], rows)
        known |= {"in_channels": channels[0], "out_channels": channels[1], "padding_mode": "zeros"}
    if "end_dim" not in known and kind is nn.Flatten:
        known |= {"start_dim": 1, "end_dim": -1}
    return known.__getitem__


def _method(module: Any, out_spec: Any = None) -> Method:
    """The graph of a module as a list of operations."""
    slots: dict[str, Slot] = {"": Slot(0)}
    steps: list[Any] = []
    inputs: list[tuple[int, str]] = [(0, "self")]
    outputs: tuple[Any, ...] = ()
    for node in module.graph.nodes:
        if node.op == "output":
            outputs = (_argument(node.args[0], slots),)
            continue
        slots[node.name] = Slot(len(slots))
        if node.op == "placeholder":
            inputs.append((slots[node.name].index, node.name))
        else:
            steps.append(_operation(node, slots))
    if out_spec is not None:  # the outputs as the module returned them: a tensor, a tuple, a dict
        outputs = (pytree.tree_unflatten(list(outputs[0]), out_spec),)
    block = Block(tuple(index for index, _ in inputs), steps, outputs)
    return Method(block, len(slots), tuple(name for _, name in inputs))


def _operation(node: fx.Node, slots: Mapping[str, Slot]) -> Operation:
    results = (slots[node.name].index,)
    args = tuple(_argument(argument, slots) for argument in node.args)
    kwargs = {name: _argument(value, slots) for name, value in node.kwargs.items()}
    if node.op == "call_module":
        return Operation(_run_child, (Slot(0), node.target, *args), kwargs, results)
    if node.op == "get_attr":
        return Operation(_attribute, (Slot(0), node.target), {}, results)
    function: Any = node.target
    if isinstance(function, OpOverload) and operator_name(function) in ("aten::convolution", "aten::_convolution"):
        function = convolution
    return Operation(function, args, kwargs, results)


def _argument(argument: Any, slots: Mapping[str, Slot]) -> Any:
    """An argument of a node with slots in the place of nodes, in plain lists and dicts."""
    if isinstance(argument, fx.Node):
        return slots[argument.name]
    if isinstance(argument, (list, tuple)) and not isinstance(argument, torch.Size):
        parts = [_argument(part, slots) for part in argument]
        return tuple(parts) if isinstance(argument, tuple) else parts
    if isinstance(argument, dict):
        return {name: _argument(part, slots) for name, part in argument.items()}
    if isinstance(argument, slice):
        return slice(*(_argument(part, slots) for part in (argument.start, argument.stop, argument.step)))
    return argument


def _run_child(module: nn.Module, address: str, *args: Any, **kwargs: Any) -> Any:
    return module.get_submodule(address)(*args, **kwargs)


def _attribute(module: nn.Module, address: str) -> Any:
    parent, _, name = address.rpartition(".")
    return getattr(module.get_submodule(parent), name)


def accept_other_batches(network: ExportedNetwork, program: Any) -> tuple[Tensor, Tensor] | None:
    """Let a program that was exported for a fixed number of images take any number, if it then computes the same.

    The network runs: twice for the number of images of its example, and once for both together.

    Returns:
        A batch on which it ran, and its output, if that is one tensor of finite numbers; None otherwise.
    """
    example = example_input(program)
    if network.batch is None or example is None or example.is_meta or len(example) != network.batch:
        return None
    if not example.is_floating_point():
        return None
    noise = torch.Generator().manual_seed(0)  # the example itself may be all zeros, which hides what depends on what
    parts = [
        torch.randn(example.shape, generator=noise, device="cpu", dtype=torch.float32).to(example) for _ in range(2)
    ]
    with torch.no_grad():
        alone = [_tensors(network(part.clone())) for part in parts]
    operations = [step for module in network.modules() for step in _views_of(module, network.batch)]
    kept = [(step.function, step.args) for step in operations]
    batch = network.batch
    network.batch = None
    for step in operations:
        function: Any = step.function
        step.args = (step.args[0], operator_name(function), step.args[1][1:])
        step.function = _keep_batch
    try:
        with torch.no_grad():
            joint = _tensors(network(torch.cat(parts)))
        same = all(
            first.ndim > 0
            and together.shape == (2 * len(first), *first.shape[1:])
            and torch.allclose(together, torch.cat([first, second]), rtol=1e-4, atol=1e-5)
            for together, first, second in zip(joint, *alone, strict=True)
        )
    except (RuntimeError, ValueError, IndexError):
        same = False
    if not same:
        network.batch = batch
        for step, original in zip(operations, kept, strict=True):
            step.function, step.args = original
    outputs = [output[: len(first)] for output, first in zip(joint, alone[0], strict=True)] if same else alone[0]
    return (parts[0], outputs[0]) if len(outputs) == 1 and bool(outputs[0].isfinite().all()) else None


def _keep_batch(x: Tensor, operator: str, sizes: list[int]) -> Any:
    """Reshape the images of a batch, of any number, to the given sizes."""
    return find_operator(operator)(x, [x.shape[0], *sizes])


def _tensors(output: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def _views_of(module: nn.Module, batch: int) -> list[Operation]:
    """The operations of a module that reshape to a size that begins with the number of images."""
    if not isinstance(module, OperationModule):
        return []
    return [
        step
        for method in module.methods.values()
        for step in method.block.steps
        if isinstance(step, Operation)
        and isinstance(step.function, OpOverload)
        and operator_name(step.function).partition(".")[0] in _VIEWS
        and isinstance(step.args[1], list)
        and step.args[1][:1] == [batch]
    ]
