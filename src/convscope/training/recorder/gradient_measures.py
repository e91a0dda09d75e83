"""How the gradients of successive steps agree: their cosine, and their noise; no pass of the network is added."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

WINDOW = 8
"""Steps whose gradients are compared for the noise, the measured one the last of them."""


@dataclass
class GradientMeasures:
    """Gradients before the steps of an optimizer; the weights hardly move within the few steps that are compared.

    Attributes:
        cosine: whether the cosine with the gradient of the step before is measured; costs one copy of the gradients.
        noise: whether the noise over `WINDOW` steps is measured; costs one copy of the gradients and a sum per step.
        distance: how many steps from now the next measured step is.
    """

    cosine: bool = False
    noise: bool = False
    distance: int = 0
    cosines: dict[nn.Parameter, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    _before: dict[nn.Parameter, Tensor] = field(default_factory=dict)
    _sums: dict[nn.Parameter, Tensor] = field(default_factory=dict)
    _squares: list[Tensor] = field(default_factory=list)

    def before_step(self, parameters: Sequence[nn.Parameter]) -> None:
        """Look at the gradients of the parameters that an optimizer is about to change."""
        gradients = {p: p.grad for p in parameters if p.grad is not None and not p.grad.is_sparse}
        if not gradients:
            return
        with torch.no_grad():
            if self.cosine and self.distance == 0:
                self.cosines |= {
                    p: ((g * self._before[p]).sum(), g.square().sum(), self._before[p].square().sum())
                    for p, g in gradients.items()
                    if p in self._before
                }
            if self.cosine and self.distance <= 1:
                self._before |= {p: g.clone() for p, g in gradients.items()}
            if self.noise and self.distance < WINDOW:
                for p, g in gradients.items():
                    self._sums[p] = self._sums[p].add_(g) if p in self._sums else g.clone()
                self._squares.append(torch.stack([g.float().square().sum() for g in gradients.values()]).sum())

    def cosine_of(self, layers: Mapping[str, Sequence[nn.Parameter]]) -> dict[str, float]:
        """Layer → the cosine of its gradient with that of the step before; NaN where one of them is zero."""
        cosines = {}
        for layer, parameters in layers.items():
            parts = [torch.stack(self.cosines[p]).double() for p in parameters if p in self.cosines]
            if parts:
                product, first, second = torch.stack(parts).sum(0).tolist()
                cosines[layer] = product / (first * second) ** 0.5 if first * second > 0 else float("nan")
        self.cosines.clear()
        return cosines

    def noise_of_window(self) -> float | None:
        """The variance of the gradients of the window relative to the squared norm of their mean; None of one step."""
        squares, sums, self._squares, self._sums = self._squares, self._sums, [], {}
        count = len(squares)
        if count < 2:
            return None
        mean_square = float(torch.stack(squares).double().sum()) / count
        square_of_mean = sum(float(total.double().square().sum()) for total in sums.values()) / count**2
        variance = max(0.0, mean_square - square_of_mean) * count / (count - 1)
        return variance / square_of_mean if square_of_mean > 0 else float("nan")
