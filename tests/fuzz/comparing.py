"""Asking lenses about a random network and comparing numbers: what differs is collected, not raised."""

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
from tests.fuzz.networks import Network

CLOSE = 2e-5
"""How far float32 values may be from float64, as a share of the largest."""

REFUSALS: list[tuple[str, str]] = [
    ("receptive_field", "does not move with any of"),  # a dead unit
    ("feature_maps", "has no layer with convolution kernels"),  # it looks at the first of them by default
]
"""Lens, and a part of the message: what is right to be refused on some networks."""


@dataclass
class Comparison:
    """What was compared on one network, and what differed."""

    network: Network
    count: int = 0
    refused: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def ask(self, lens: str, *, target: bool | None = None, **parameters: Any) -> list[Any] | None:
        """What the lens says of both images, each with its own class; None where it rightly refuses."""
        net = self.network
        takes = "target" in getattr(cs, lens).declaration.inputs if target is None else target
        if takes:
            parameters["target"] = self.target()
        try:
            values = getattr(cs, lens)(net.module, net.images, **parameters)
        except ConvScopeError as error:
            self._refusal(lens, error)
            return None
        return values if isinstance(values, list) else [values]

    def target(self) -> Any:
        """The classes to explain; a function where the network's answers are no scores."""
        net = self.network
        if "scores" in net.kinds:
            return list(net.targets)
        (index,) = set(net.targets)
        return lambda output: output[:, index]

    def agree(self, what: str, ours: Any, theirs: Any, tolerance: float = CLOSE, scale: float = 0.0) -> None:
        """Both are the same numbers, within a share of the largest, or of ``scale`` where that is larger."""
        self.count += 1
        ours, theirs = torch.as_tensor(ours).double(), torch.as_tensor(theirs).double()
        if ours.shape != theirs.shape:
            self.differences.append(f"{what}: shape {tuple(ours.shape)}, the reference {tuple(theirs.shape)}")
            return
        if not theirs.numel():
            return
        allowed = tolerance * max(float(theirs.abs().max()), scale, 1e-9)
        worst = float((ours - theirs).abs().max())
        if not worst <= allowed:
            size = float(theirs.abs().max())
            self.differences.append(f"{what}: apart by {worst:.3g}, the reference is as large as {size:.3g}")

    def holds(self, what: str, fact: bool) -> None:
        self.count += 1
        if not fact:
            self.differences.append(what)

    def _refusal(self, lens: str, error: ConvScopeError) -> None:
        said = f"{type(error).__name__}: {error}"
        right = any(name == lens and part in said for name, part in REFUSALS)
        (self.refused if right else self.differences).append(f"{lens} refuses: {said}")


Check = Callable[[Comparison, "Network"], None]


def compared(check: Check, network: Network) -> Comparison:
    """What a check finds on a network; whatever else is raised is a difference too, and so is a changed network."""
    comparison = Comparison(network)
    with _unchanged(comparison):
        try:
            check(comparison, network)
        except Exception:
            comparison.differences.append(traceback.format_exc(limit=-4))
    return comparison


@contextmanager
def _unchanged(comparison: Comparison) -> Iterator[None]:
    """The network and its images are afterwards what they were."""
    net = comparison.network
    before, images = copy.deepcopy(net.module.state_dict()), net.images.clone()
    ways = _ways(net)
    yield
    after = net.module.state_dict()
    comparison.holds("the images were changed", torch.equal(net.images, images))
    comparison.holds("a parameter or buffer was added or lost", before.keys() == after.keys())
    same = all(_same_bits(before[name], after[name]) for name in before.keys() & after.keys())
    comparison.holds("a parameter or buffer was changed", same)
    comparison.holds("modes, gradients or hooks were left behind", ways == _ways(net))


def _ways(net: Network) -> list[object]:
    modules = [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), sorted(vars(m)))
        for m in net.module.modules()
    ]
    return [*modules, *((p.requires_grad, p.grad is None) for p in net.module.parameters())]


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)
