"""From the modules of a TorchScript archive to modules that hooks, rules and autograd can see into."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from convscope.engine.network.layer_rebuilding import NotRebuilt, computes, layer_class, rebuild_layer
from convscope.engine.network.operation_lists import OperationModule, Slot
from convscope.loaders.torch_files.script_translation import (
    ScriptTranslator,
    Untranslated,
    constant_tensors,
    python_name,
)

MAX_MODULES = 100_000
"""The most modules of a network."""
_PLAIN = frozenset({"prim::Constant", "prim::ListConstruct", "prim::GetAttr"})


def layers_of_script(script: Any, functions: Any) -> nn.Module:
    """The network of a script, as ordinary layers and lists of operations, in eval mode.

    Args:
        script: the module as torch's C++ classes hold it.
        functions: its free functions by their qualified names, None for unknown ones.

    Raises:
        Untranslated: a built-in function has no translation here.
    """
    conversion = _Conversion(ScriptTranslator(functions))
    network = conversion.module(script)
    if not isinstance(network, OperationModule):  # the network is one layer
        network = _around(network)
    conversion.set_attributes()
    if conversion.translator.missing:
        raise Untranslated(conversion.translator.missing)
    return network.eval()


class _Conversion:
    """Converts the modules of one script; tensors that are shared stay so."""

    def __init__(self, translator: ScriptTranslator) -> None:
        self.translator = translator
        self._parameters: dict[Any, nn.Parameter] = {}
        self._converted: list[tuple[Any, OperationModule]] = []
        self._count = 0

    def module(self, script: Any, depth: int = 0) -> nn.Module:
        """One module with all that it contains."""
        self._count += 1
        if depth > 100 or self._count > MAX_MODULES:
            raise Untranslated({"modules within modules": self._count})
        children = dict(torch._C.ModuleDict(script).items())
        tensors = self._tensors(script)
        kind = layer_class(python_name(str(script._type())))
        if kind is not None and not children:
            try:
                return _ordinary_layer(kind, script, tensors)
            except NotRebuilt:
                pass  # it runs as a list of operations, like any other module
        methods = {name: self.translator.method(script._get_method(name)) for name in script._method_names()}
        converted = OperationModule(python_name(str(script._type())).rpartition(".")[2], methods)
        for name, tensor in tensors.items():
            if isinstance(tensor, nn.Parameter):
                converted.register_parameter(name, tensor)
            else:
                converted.register_buffer(name, tensor)
        for name, child in children.items():
            converted.add_module(name, self.module(child, depth + 1))
        _register_constants(converted)
        self._converted.append((script, converted))
        return converted

    def set_attributes(self) -> None:
        """Give the modules the attributes that are no tensors and that a method of the script reads."""
        for script, converted in self._converted:
            for name in self.translator.attributes - {"training"}:
                if name in converted._parameters or name in converted._buffers or name in converted._modules:
                    continue
                if script.hasattr(name):
                    if hasattr(nn.Module, name):
                        raise Untranslated({f"an attribute named {name}": 1})
                    setattr(converted, name, script.getattr(name))

    def _tensors(self, script: Any) -> dict[str, Tensor]:
        parameters = {name: self._parameter(tensor) for name, tensor in _items(torch._C.ParameterDict(script))}
        buffers = {name: tensor.detach() for name, tensor in _items(torch._C.BufferDict(script))}
        return {**parameters, **buffers}

    def _parameter(self, tensor: Tensor) -> nn.Parameter:
        key = (
            (tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)
            if tensor.numel()
            else object()
        )
        if key not in self._parameters:
            self._parameters[key] = nn.Parameter(tensor.detach(), requires_grad=tensor.is_floating_point())
        return self._parameters[key]


def _items(members: Any) -> list[tuple[str, Tensor]]:
    return list(members.items())


def _around(layer: nn.Module) -> nn.Module:
    """A network that consists of one layer, which then has an address."""
    return nn.Sequential(layer)


def _register_constants(module: OperationModule) -> None:
    """Make the tensors that a script holds as constants buffers of the module, so that they move with it."""
    count = 0
    for name, method in module.methods.items():
        for operation, position, tensor in list(constant_tensors(method.block)):
            buffer = f"constant_{count}"
            count += 1
            module.register_buffer(buffer, tensor.detach(), persistent=False)
            slot = method.slots
            method.slots += 1
            operation.args = (*operation.args[:position], Slot(slot), *operation.args[position + 1 :])
            method.tensors[slot] = buffer
        module.methods[name] = method


def _ordinary_layer(kind: type[nn.Module], script: Any, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The layer of ``torch.nn`` that a module of the script was.

    Raises:
        NotRebuilt: a setting is unknown, or it computes something else.
    """
    present = {name: tensor for name, tensor in tensors.items() if name != "num_batches_tracked" or tensor.ndim == 0}
    traced = _traced_settings(kind, script)
    transposed = "Transpose" in kind.__name__
    in_place = bool(script.getattr("inplace")) if script.hasattr("inplace") else False

    def setting(name: str) -> Any:
        if traced is not None and name in traced:
            return traced[name]
        if name in ("in_channels", "out_channels"):
            groups = setting("groups")
            rows, columns = tensors["weight"].shape[:2]
            is_first = (name == "in_channels") == transposed
            return rows if is_first else columns * groups
        if name == "padding_mode" and traced is not None:
            return "zeros"
        if traced is None and script.hasattr(name):
            return script.getattr(name)
        raise KeyError(name)

    if traced is not None:
        in_place = bool(traced.get("inplace"))
        if bool(traced.get("transposed", transposed)) != transposed or traced.get("training") or traced.get("train"):
            raise NotRebuilt(f"{kind.__name__} with other settings")
    return rebuild_layer(kind, present, setting, in_place=in_place)


def _traced_settings(kind: type[nn.Module], script: Any) -> dict[str, Any] | None:
    """The arguments of the operation that a traced layer consists of; None for a scripted layer.

    Raises:
        NotRebuilt: the layer consists of something else.
    """
    names = [name for name in script._method_names() if name.startswith("forward")]
    if not names:
        raise NotRebuilt("it never ran")
    if any(script.hasattr(name) for name in ("in_features", "kernel_size", "eps", "output_size", "__constants__")):
        return None
    settings = [_single_operation(kind, script._get_method(name).graph) for name in names]
    if None in settings:
        return None
    first = settings[0]
    if any(other != first for other in settings[1:]):
        raise NotRebuilt("its calls differ")
    return first


def _single_operation(kind: type[nn.Module], graph: Any) -> dict[str, Any] | None:
    """The arguments of the only operation of a graph by name; None if the graph is that of a scripted layer."""
    known: dict[str, Any] = {}
    operations = []
    for node in graph.nodes():
        output: Any = next(iter(node.outputs()), None)
        if node.kind() == "prim::Constant":
            known[output.debugName()] = output.toIValue()
        elif node.kind() == "prim::ListConstruct" and all(v.debugName() in known for v in node.inputs()):
            known[output.debugName()] = tuple(known[v.debugName()] for v in node.inputs())
        elif node.kind() not in _PLAIN:
            operations.append(node)
    if any(not node.kind().startswith("aten::") or list(node.blocks()) for node in operations):
        return None
    inputs = list(graph.inputs())
    if len(operations) != 1 or len(inputs) != 2:
        raise NotRebuilt(f"{kind.__name__} of {len(operations)} operations")
    node = operations[0]
    name = node.kind().removeprefix("aten::")
    schema = torch._C.parse_schema(node.schema())
    results = [value.debugName() for value in graph.outputs()]
    if not computes(kind, name) or results != [value.debugName() for value in node.outputs()]:
        raise NotRebuilt(f"{kind.__name__} computes {name}")
    settings = dict(_settings(node, schema, inputs[1], known))
    settings["inplace"] = name.endswith("_")
    if settings.get("stride") == ():
        settings["stride"] = None
    return settings


def _settings(node: Any, schema: Any, x: Any, known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The arguments of an operation; a tensor must be the attribute of its own name."""
    for argument, value in zip(schema.arguments, node.inputs(), strict=True):
        if value.debugName() in known:
            yield argument.name, known[value.debugName()]
        elif value.debugName() != x.debugName():
            producer = value.node()
            if producer.kind() != "prim::GetAttr" or producer.s("name") != argument.name:
                raise NotRebuilt(f"{argument.name} is {producer.kind()}")
