"""Hooks around the step of whichever optimizer changes the network: gradients, and how far the weights moved.

PyTorch calls such hooks for every optimizer of the process; those that do not hold a parameter of the network are left
alone. Thus nobody has to hand the optimizer over, and gradients are read after they were scaled back and clipped.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from convscope.training.recorder import measures
from convscope.training.recorder.measures import Histogram


@dataclass
class ParameterMeasures:
    """What was measured of the parameters of one layer in one step; None where there was no optimizer or gradient."""

    weights: Histogram
    weight_norm: Tensor
    gradients: Histogram | None = None
    gradient_norm: Tensor | None = None
    update_norm: Tensor | None = None


@dataclass
class OptimizerHooks:
    """Reads the parameters before and after the step of an optimizer.

    Attributes:
        armed: whether the step that runs next is measured.
        measured: what the step gave, by layer.
        optimizers: those that changed the network, for their learning rates.
        observers: called before each step with the parameters of the network that the optimizer holds.
    """

    module: nn.Module
    armed: bool = False
    measured: dict[str, ParameterMeasures] = field(default_factory=dict)
    optimizers: list[Optimizer] = field(default_factory=list)
    observers: list[Callable[[list[nn.Parameter]], None]] = field(default_factory=list)
    _before: dict[nn.Parameter, Tensor] = field(default_factory=dict)
    _given_rate: float | None = None
    _handles: list[RemovableHandle] = field(default_factory=list)

    def attach(self) -> None:
        """Register the hooks, and list the layers with parameters."""
        own = {name: list(m.parameters(recurse=False)) for name, m in self.module.named_modules()}
        self._layers = {name or "network": parameters for name, parameters in own.items() if parameters}
        self._parameters = {parameter for parameters in self._layers.values() for parameter in parameters}
        self._handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._before.clear()

    @property
    def layers(self) -> dict[str, list[nn.Parameter]]:
        """Layer → its own parameters."""
        return self._layers

    def learning_rate(self) -> float | None:
        """The learning rate of the first group of parameters of the optimizer; None before its first step."""
        if self._given_rate is not None:
            return self._given_rate
        rates = [group["lr"] for optimizer in self.optimizers for group in optimizer.param_groups]
        return float(rates[0]) if rates else None

    def before_update(self, learning_rate: float) -> None:
        """Keep the weights before something else than an optimizer of PyTorch changes them, if the step is measured."""
        self._given_rate = learning_rate
        if self.armed:
            self._before = {parameter: parameter.detach().clone() for parameter in self._parameters}

    def measure_rest(self) -> None:
        """Measure the layers that no optimizer of PyTorch changed, as in a loop that updates the weights itself."""
        with torch.no_grad():
            for name, parameters in self._layers.items():
                if name not in self.measured:
                    self.measured[name] = _measure(parameters, self._before)
        self._before = {}

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        held = self._held(optimizer)
        if not held:
            return
        if not any(optimizer is other for other in self.optimizers):
            self.optimizers.append(optimizer)
        for observe in self.observers:
            observe(held)
        if self.armed:
            self._before = {parameter: parameter.detach().clone() for parameter in held}

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self.armed or not self._before:
            return
        with torch.no_grad():
            for name, parameters in self._layers.items():
                if any(parameter in self._before for parameter in parameters):
                    self.measured[name] = _measure(parameters, self._before)
        self._before = {}

    def _held(self, optimizer: Optimizer) -> list[nn.Parameter]:
        groups = (parameter for group in optimizer.param_groups for parameter in group["params"])
        return [parameter for parameter in groups if parameter in self._parameters]


def _measure(parameters: list[nn.Parameter], before: dict[nn.Parameter, Tensor]) -> ParameterMeasures:
    """The measures of the parameters of a layer; histograms are of its largest parameter, as a rule the weights."""
    largest = max(parameters, key=lambda parameter: parameter.numel())
    gradients = [p.grad for p in parameters if p.grad is not None and not p.grad.is_sparse]
    updates = [p - before[p] for p in parameters if p in before]
    return ParameterMeasures(
        weights=measures.histogram(largest),
        weight_norm=measures.norm(list(parameters)),
        gradients=None if largest.grad is None or largest.grad.is_sparse else measures.histogram(largest.grad),
        gradient_norm=measures.norm(gradients) if gradients else None,
        update_norm=measures.norm(updates) if updates else None,
    )
