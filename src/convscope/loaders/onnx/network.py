"""The network that an ONNX graph becomes: a module per node, run in the order of the graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convscope.loaders.onnx.operators.declaration import FUNCTIONS
from convscope.loaders.onnx.operators.elementwise import check_broadcast
from convscope.loaders.onnx.operators.quantization import round_straight_through

RESERVED_CHARACTERS = str.maketrans(dict.fromkeys("[]:?&=,; \t\n", "_"))
"""Characters that mean something in addresses of layers and models, and what is written in their place."""


class Operation(nn.Module):
    """A node that no module of PyTorch computes: an operator's function.

    Attributes:
        kind: the operator.
        arguments: per input None where it is left out, a number or a tuple where it is constant and read as numbers;
            the tensors of the forward take the places that hold `TENSOR`.
        attributes: passed to the function by name.
    """

    TENSOR = "tensor"

    def __init__(self, kind: str, arguments: Sequence[Any], attributes: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind, self.arguments, self.attributes = kind, tuple(arguments), dict(attributes)

    def forward(self, *tensors: Tensor) -> Any:
        """The output of the operator, or several of them."""
        on_one_device = _on_one_device(tensors) if len(tensors) > 1 else tensors
        check_broadcast(self.kind, on_one_device)
        given = iter(on_one_device)
        arguments = [next(given) if argument == self.TENSOR else argument for argument in self.arguments]
        return FUNCTIONS[self.kind].function(*arguments, **self.attributes)

    def extra_repr(self) -> str:
        """The operator."""
        return self.kind


def _on_one_device(tensors: Sequence[Any]) -> Sequence[Any]:
    """Shapes live on the CPU; they follow the tensors that they are combined with."""
    devices = {tensor.device for tensor in tensors if isinstance(tensor, Tensor)}
    if len(devices) < 2:
        return tensors
    device = next(device for device in devices if device.type != "cpu")
    return [tensor.to(device) if isinstance(tensor, Tensor) else tensor for tensor in tensors]


class NodeGroup(nn.Module):
    """The nodes whose names continue this one's after a dot; it computes nothing itself."""


class Outputs(dict[Any, Any]):
    """The outputs of a network with several, by name; a number counts them from 0."""

    def __missing__(self, key: Any) -> Any:
        if isinstance(key, int) and str(key) in self:  # an output may be called "537"
            return self[str(key)]
        if isinstance(key, int) and -len(self) <= key < len(self):
            return list(self.values())[key]
        raise KeyError(key)


@dataclass(frozen=True)
class Step:
    """The run of one module: its place among the modules, and where its inputs and outputs are kept.

    Attributes:
        path: the names of the modules from the network to this one.
        inputs, outputs: numbers of values; an output that is not used is -1.
        last_uses: the values that no later step reads.
    """

    path: tuple[str, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    last_uses: tuple[int, ...] = ()


def _joined(parts: Sequence[Tensor], size: int, inputs: int) -> Tensor:
    """An output for all inputs from those for batches of one size; the first alone if it has no row for each input."""
    have_rows = all(part.ndim and len(part) == size for part in parts)
    return torch.cat([*parts])[:inputs] if have_rows and len({part.shape[1:] for part in parts}) == 1 else parts[0]


class OnnxNetwork(nn.Module):
    """An ONNX graph. Its children have the names of the nodes; parameters that are no layer's own are the network's.

    Attributes:
        steps: what runs, in this order.
        input: the number of the value that the input is.
        constants: by the name of a parameter or a buffer, the number of its value.
        outputs: by name, the number of its value.
        values: the number of values.
        channels_last: whether the graph takes images with their channels as the last axis.
        whole_numbers: whether the graph takes whole numbers, to which its input is rounded.
        batch_size: the only batch size that the graph can run, if there is just one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.input = 0
        self.constants: dict[str, int] = {}
        self.outputs: dict[str, int] = {}
        self.values = 1
        self.channels_last = self.whole_numbers = False
        self.batch_size: int | None = None

    def forward(self, x: Tensor) -> Any:
        """The output of the graph; `Outputs` where it has several."""
        if self.whole_numbers:
            x = round_straight_through(x)
        if self.channels_last:
            x = x.movedim(1, -1)
        if self.batch_size is None or len(x) == self.batch_size:
            return self._one_or_all(self.run_graph(x))
        parts = [self._run_part(part, self.batch_size) for part in torch.split(x, self.batch_size)]
        return self._one_or_all(
            {name: _joined([part[name] for part in parts], self.batch_size, len(x)) for name in self.outputs}
        )

    def run_graph(self, x: Tensor) -> dict[str, Any]:
        """All outputs of the graph by name."""
        values: list[Any] = [None] * self.values
        values[self.input] = x
        for name, number in self.constants.items():
            values[number] = getattr(self, name)
        for step in self.steps:
            module: Any = self
            for name in step.path:
                module = module._modules[name]
            results = module(*[values[number] for number in step.inputs])
            if isinstance(results, (tuple, list)):
                for number, result in zip(step.outputs, results, strict=False):
                    values[number] = result
            else:
                values[step.outputs[0]] = results
            for number in step.last_uses:
                values[number] = None
        return {name: values[number] for name, number in self.outputs.items()}

    def _run_part(self, part: Tensor, size: int) -> dict[str, Any]:
        """The outputs for at most as many inputs as the graph takes; the last one is repeated to fill it up."""
        missing = size - len(part)
        return self.run_graph(torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part)

    def _one_or_all(self, outputs: dict[str, Any]) -> Any:
        return next(iter(outputs.values())) if len(outputs) == 1 else Outputs(outputs)

    def place(self, name: str, module: nn.Module) -> tuple[str, ...]:
        """Add the module of a node; the path at which it is, which follows the node's name.

        A name such as ``/layer1/layer1.0/conv1/Conv`` becomes a child of the group ``/layer1/layer1``, so that the
        address of the layer is the name itself.
        """
        parts = name.translate(RESERVED_CHARACTERS).split(".")
        parent: nn.Module = self
        path: list[str] = []
        if all(parts) and len(parts) <= 20:
            for part in parts[:-1]:
                child = parent._modules.get(part)
                if (child is None and hasattr(parent, part)) or not isinstance(child, NodeGroup | None):
                    break
                if child is None:
                    parent.add_module(part, NodeGroup())
                parent = parent._modules[part]  # type: ignore[assignment]
                path.append(part)
        own = "_".join(parts[len(path) :]) or "node"
        free = _free_name(parent, own)
        parent.add_module(free, module)
        return (*path, free)

    def add_constant(self, name: str, tensor: Tensor, number: int) -> None:
        """Keep a tensor that a module takes as an input: as a parameter if it is one, else as a buffer."""
        own = _free_name(self, name.translate(RESERVED_CHARACTERS).replace(".", "_") or "constant")
        if isinstance(tensor, nn.Parameter):
            self.register_parameter(own, tensor)
        else:
            self.register_buffer(own, tensor)
        self.constants[own] = number


def _free_name(module: nn.Module, name: str) -> str:
    """A name that the module does not have yet."""
    if not hasattr(module, name):
        return name
    number = 1
    while hasattr(module, f"{name}_{number}"):
        number += 1
    return f"{name}_{number}"
