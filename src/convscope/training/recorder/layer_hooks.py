"""Hooks that measure the outputs of layers while a recorded step runs; in other steps they return at once."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from convscope.engine.network.hooks import first_tensor
from convscope.engine.statistics.channel_statistics import is_rectifier
from convscope.training.recorder import measures
from convscope.training.recorder.channel_axis import channel_axis
from convscope.training.recorder.layer_graph import LayerGraph, LayerNode
from convscope.training.recorder.measures import Histogram


@dataclass
class LayerMeasures:
    """What was measured of one layer in one step; None where it does not apply."""

    activations: Histogram
    features: Tensor | None = None
    dead: Tensor | None = None
    saturated: Tensor | None = None


@dataclass
class LayerHooks:
    """Forward hooks on all layers without sublayers.

    Attributes:
        armed: whether the forward passes that run now are measured.
        measured: what the first forward pass of the step gave, by layer in the order of execution.
        graph: which layer gets its input from which, in the first recorded step.
    """

    module: nn.Module
    armed: bool = False
    measured: dict[str, LayerMeasures] = field(default_factory=dict)
    graph: LayerGraph = field(default_factory=LayerGraph)
    _handles: list[RemovableHandle] = field(default_factory=list)
    _calls_rectifiers: bool = False
    _axes: dict[str, int] = field(default_factory=dict)

    def attach(self) -> None:
        """Put the hooks on the layers; scripted modules, which take none, are left out."""
        layers = [(name, m) for name, m in self.module.named_modules() if name and not any(True for _ in m.children())]
        self._calls_rectifiers = not any(is_rectifier(module) for _, module in layers)
        for name, layer in layers:
            if not isinstance(layer, (torch.jit.ScriptModule, nn.Identity, nn.Dropout)):
                self._handles.append(layer.register_forward_hook(self._hook(name)))

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _hook(self, name: str) -> Any:
        def measure(module: nn.Module, inputs: Any, output: Any) -> None:
            if not self.armed or name in self.measured or not torch.is_grad_enabled():
                return
            tensor = first_tensor(output)
            if tensor is None or not tensor.is_floating_point() or tensor.ndim < 2 or not tensor.numel():
                return
            with torch.no_grad():
                if name not in self.graph.nodes:
                    self.graph.add(name, module, inputs, tensor)
                sources = [(node, self._axes[node.layer]) for node in self.graph.sources(name)]
                if self._calls_rectifiers:
                    self._measure_dead_inputs(inputs, sources)
                self._axes[name] = axis = channel_axis(module, tensor, sources)
                self.measured[name] = _measure(module, tensor, axis)

        return measure

    def _measure_dead_inputs(self, inputs: Any, sources: list[tuple[LayerNode, int]]) -> None:
        """Where ReLU is called as a function, what the layer before it gave is read as the input of the next layer.

        An input that comes from several layers, as after a shortcut, says nothing of any of them.
        """
        tensor = first_tensor(inputs)
        if len(sources) != 1 or sources[0][0].layer not in self.measured:
            return
        if tensor is None or not tensor.is_floating_point() or tensor.ndim < 2 or not tensor.numel():
            return
        node, axis = sources[0]
        before = self.measured[node.layer]
        rectified = tensor.detach().amin() == 0
        share = measures.dead_share(tensor, axis if tensor.ndim == len(node.shape) else 1)
        before.dead = torch.where(rectified, share, torch.nan if before.dead is None else before.dead)


def _measure(module: nn.Module, output: Tensor, axis: int) -> LayerMeasures:
    rectifier = is_rectifier(module)
    return LayerMeasures(
        activations=measures.histogram(output),
        features=measures.features(output, axis)
        if len(output) > 2 and next(module.parameters(False), None) is not None
        else None,
        dead=measures.dead_share(output, axis) if rectifier else None,
        saturated=measures.saturated_share(module, output, axis),
    )
