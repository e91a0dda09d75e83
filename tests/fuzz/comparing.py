"""Calling lenses on a random network and comparing numbers; differences are collected instead of raised."""

import copy
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import convscope as cs
from convscope.errors import ConvScopeError
from tests.fuzz.networks import RandomNetwork

TOLERANCE = 2e-5
"""The tolerance of float32 values with respect to float64, as a share of the largest magnitude."""

EXPECTED_ERRORS: list[tuple[str, str]] = [
    ("receptive_field", "does not change with any of"),  # a dead unit
    ("feature_maps", "has no layer with convolution kernels"),  # by default, it shows the first of them
]
"""(lens, part of the message) of errors that are correct for some networks."""


@dataclass
class Case:
    """Calls lenses on one network and collects the differences from reference values."""

    network: RandomNetwork
    count: int = 0
    refused: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def call(self, lens: str, *, target: bool | None = None, **parameters: Any) -> list[Any] | None:
        """The values of a lens for both images, each with its own target; None if it raises an expected error."""
        net = self.network
        takes_target = "target" in getattr(cs, lens).declaration.inputs if target is None else target
        if takes_target:
            parameters["target"] = self.target()
        try:
            values = getattr(cs, lens)(net.module, net.images, **parameters)
        except ConvScopeError as error:
            self._record_error(lens, error)
            return None
        return values if isinstance(values, list) else [values]

    def target(self) -> Any:
        """The classes to explain; a function if the output is not class scores."""
        net = self.network
        if "scores" in net.kinds:
            return list(net.targets)
        (index,) = set(net.targets)
        return lambda output: output[:, index]

    def compare(
        self, quantity: str, ours: Any, reference: Any, tolerance: float = TOLERANCE, scale: float = 0.0
    ) -> None:
        """Record a difference unless both are equal within ``tolerance`` times the largest magnitude, or ``scale``."""
        self.count += 1
        ours, reference = torch.as_tensor(ours).double(), torch.as_tensor(reference).double()
        if ours.shape != reference.shape:
            self.differences.append(f"{quantity}: shape {tuple(ours.shape)}, reference {tuple(reference.shape)}")
            return
        if not reference.numel():
            return
        allowed = tolerance * max(float(reference.abs().max()), scale, 1e-9)
        error = float((ours - reference).abs().max())
        if not error <= allowed:
            size = float(reference.abs().max())
            self.differences.append(
                f"{quantity}: difference {error:.3g}, largest magnitude of the reference {size:.3g}"
            )

    def check(self, statement: str, condition: bool) -> None:
        """Record ``what`` as a difference unless the condition holds."""
        self.count += 1
        if not condition:
            self.differences.append(statement)

    def _record_error(self, lens: str, error: ConvScopeError) -> None:
        message = f"{type(error).__name__}: {error}"
        is_expected = any(name == lens and part in message for name, part in EXPECTED_ERRORS)
        (self.refused if is_expected else self.differences).append(f"{lens} refuses: {message}")


Check = Callable[[Case, "RandomNetwork"], None]


def run_check(check: Check, network: RandomNetwork) -> Case:
    """Run a check on a network; unexpected exceptions and changes of the network are recorded as differences."""
    case = Case(network)
    with _unchanged(case):
        try:
            check(case, network)
        except Exception:
            case.differences.append(traceback.format_exc(limit=-4))
    return case


@contextmanager
def _unchanged(case: Case) -> Iterator[None]:
    """Record a difference if the network or its images are changed."""
    net = case.network
    before, images = copy.deepcopy(net.module.state_dict()), net.images.clone()
    state = _module_state(net)
    yield
    after = net.module.state_dict()
    case.check("the images were changed", torch.equal(net.images, images))
    case.check("a parameter or buffer was added or lost", before.keys() == after.keys())
    same = all(_same_bits(before[name], after[name]) for name in before.keys() & after.keys())
    case.check("a parameter or buffer was changed", same)
    case.check("modes, gradients or hooks were changed", state == _module_state(net))


def _module_state(net: RandomNetwork) -> list[object]:
    modules = [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), sorted(vars(m)))
        for m in net.module.modules()
    ]
    return [*modules, *((p.requires_grad, p.grad is None) for p in net.module.parameters())]


def _same_bits(first: Tensor, second: Tensor) -> bool:
    return first.dtype == second.dtype and torch.equal(first, second)
