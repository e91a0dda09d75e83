"""The curvature of the loss between two steps: along the last step, and the largest eigenvalue of the Hessian.

Both come from products of the Hessian with a vector, by two backward passes, of a loss that the caller gives: on a
fixed batch, in evaluation mode, so that it is the same function of the weights each time. The state of the network, its
gradients and the random generators are restored.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from convscope.engine.network.state_guard import preserve_state

MOST_ITERATIONS, TOLERANCE, SEED = 20, 1e-4, 0
"""Power iteration ends after so many products, or where the eigenvalue changes by a smaller share; its first vector."""

Loss = Callable[[nn.Module], Tensor]


@dataclass
class Curvature:
    """What is measured at steps of its own interval.

    Attributes:
        loss: the loss of the network on a fixed batch.
        step_length, eigenvalue: which of the two are measured.
        armed: whether the step that runs next is measured.
    """

    module: nn.Module
    loss: Loss
    step_length: bool
    eigenvalue: bool
    armed: bool = False
    _before: dict[nn.Parameter, Tensor] = field(default_factory=dict)
    _vector: list[Tensor] = field(default_factory=list)

    def before_step(self, parameters: Sequence[nn.Parameter]) -> None:
        """Keep the weights that an optimizer is about to change, of a step that is measured."""
        if self.armed and self.step_length:
            with torch.no_grad():
                self._before |= {p: p.detach().clone() for p in parameters}

    def measure(self) -> dict[str, float]:
        """The numbers of the step that has just ended, by name."""
        numbers: dict[str, float] = {}
        before, self._before = self._before, {}
        with preserve_state(list(self.module.modules()), frozen=False):
            if before:
                numbers |= self._along_step(before)
            if self.eigenvalue:
                numbers["largest_eigenvalue"] = self._largest_eigenvalue()
        return numbers

    def _along_step(self, before: dict[nn.Parameter, Tensor]) -> dict[str, float]:
        """Slope and curvature at the beginning of the step, in its direction."""
        parameters = [p for p in before if p.requires_grad]
        step = [p.detach() - before[p] for p in parameters]
        squared = _dot(step, step)
        if not squared > 0:
            return {}
        with _weights(before):
            gradient = _gradient(self.loss(self.module), parameters)
            slope, curvature = _dot(gradient, step), _dot(_times_hessian(gradient, parameters, step), step)
        numbers = {"along_step": curvature / squared}
        return {**numbers, "step_length": -curvature / slope} if slope < 0 else numbers

    def _largest_eigenvalue(self) -> float:
        """By power iteration from the last eigenvector; where the largest in magnitude is negative, shifted by it."""
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        gradient = _gradient(self.loss(self.module), parameters)
        value, vector = _power_iteration(gradient, parameters, self._vector or _start(parameters), 0.0)
        if value < 0:
            shifted, vector = _power_iteration(gradient, parameters, _start(parameters), -value)
            value += shifted
        self._vector = vector
        return value


def _power_iteration(
    gradient: list[Tensor], parameters: list[nn.Parameter], vector: list[Tensor], shift: float
) -> tuple[float, list[Tensor]]:
    """The eigenvalue of the Hessian plus ``shift`` that is largest in magnitude, and its eigenvector."""
    value = 0.0
    for _ in range(MOST_ITERATIONS):
        length = _dot(vector, vector) ** 0.5
        if not length > 0:
            break
        vector = [part / length for part in vector]
        product = _times_hessian(gradient, parameters, vector)
        product = [part + shift * own for part, own in zip(product, vector, strict=True)] if shift else product
        before, value = value, _dot(product, vector)
        if abs(value - before) <= TOLERANCE * abs(value):
            return value, vector
        vector = product
    return value, vector


def _start(parameters: list[nn.Parameter]) -> list[Tensor]:
    """The same vector each time, from a generator of its own."""
    generator = torch.Generator(device="cpu").manual_seed(SEED)
    return [
        torch.randn(p.shape, generator=generator, dtype=torch.float32, device="cpu").to(p.device, p.dtype)
        for p in parameters
    ]


def _gradient(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True))


def _times_hessian(gradient: list[Tensor], parameters: list[nn.Parameter], vector: list[Tensor]) -> list[Tensor]:
    used = [(g, v) for g, v in zip(gradient, vector, strict=True) if g.requires_grad]
    if not used:  # the loss is linear in the weights
        return [torch.zeros_like(p) for p in parameters]
    gradients, vectors = zip(*used, strict=True)
    return list(torch.autograd.grad(gradients, parameters, vectors, retain_graph=True, materialize_grads=True))


def _dot(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    products = [(a.detach().double() * b.detach().double()).sum() for a, b in zip(first, second, strict=True)]
    return float(torch.stack([product.to(products[0].device) for product in products]).sum())


@contextmanager
def _weights(values: dict[nn.Parameter, Tensor]) -> Iterator[None]:
    """Other weights for a while; the bits of the present ones are put back; unseen by the state guard."""
    with torch.no_grad():
        present = {p: p.detach().clone() for p in values}
        for p, value in values.items():
            p.data.copy_(value)
    try:
        yield
    finally:
        with torch.no_grad():
            for p, value in present.items():
                p.data.copy_(value)
