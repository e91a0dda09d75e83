"""Which layer gets its input from which: read from the autograd graph of a recorded step, not from a run of its own."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

MOST_NODES = 2000
"""Nodes of the autograd graph between two layers, at most; a longer way back is left out."""


@dataclass(frozen=True)
class LayerNode:
    """One layer: its address, its class, the layers that its input comes from, and the shape of its output."""

    layer: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass
class LayerGraph:
    """The layers of one forward pass with their connections.

    Attributes:
        nodes: the layers, in the order of execution.
    """

    nodes: dict[str, LayerNode] = field(default_factory=dict)
    _layer_of: dict[Any, str] = field(default_factory=dict)

    def add(self, layer: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        """Add a layer that has just run."""
        sources = dict.fromkeys(name for tensor in _tensors(inputs) for name in self._sources(tensor.grad_fn))
        self.nodes[layer] = LayerNode(layer, type(module).__name__, tuple(sources), tuple(output.shape))
        if output.grad_fn is not None:
            self._layer_of[output.grad_fn] = layer

    def sources(self, layer: str) -> list[LayerNode]:
        """The layers that the input of a layer comes from."""
        return [self.nodes[name] for name in self.nodes[layer].inputs]

    def forget_operations(self) -> None:
        """Let go of the autograd graph, whose memory is freed with the step."""
        self._layer_of.clear()

    def _sources(self, operation: Any) -> list[str]:
        """The layers that lead to an operation without another layer between."""
        waiting, sources = [operation], []
        visited: set[Any] = set()
        while waiting and len(visited) < MOST_NODES:
            operation = waiting.pop()
            if operation is None or operation in visited:
                continue
            visited.add(operation)
            if operation in self._layer_of:
                sources.append(self._layer_of[operation])
            else:
                waiting += [following for following, _ in operation.next_functions]
        return sorted(sources, key=list(self.nodes).index)


def _tensors(inputs: Any) -> list[Tensor]:
    if isinstance(inputs, Tensor):
        return [inputs]
    return [t for item in inputs for t in _tensors(item)] if isinstance(inputs, (tuple, list)) else []
