"""Paths from a baseline to an image: where gradients are taken, how they are weighed, what the sum misses."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.double_precision import sums_like
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import gradient_at
from convscope.engine.run.perturbed_samples import each_copy
from convscope.engine.targets.target import Aim
from convscope.spec import Param

QuadratureName = Literal["gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"]
MultiplyByInputs = Annotated[
    bool,
    Param(
        help="multiply by the difference to the baseline; without it, how strongly each number acts on the way there"
    ),
]
Path = Callable[[Tensor, Tensor], Tensor]
"""``(rows, alphas) -> inputs``: where the path to image ``rows[i]`` is at ``alphas[i]``."""


def gauss_legendre(steps: int) -> tuple[Tensor, Tensor]:
    """The points and weights on 0 … 1 that integrate polynomials of degree 2·steps - 1 exactly."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    return torch.from_numpy((points + 1) / 2), torch.from_numpy(weights / 2)


def trapezoid(steps: int) -> tuple[Tensor, Tensor]:
    """Even points with both ends, the ends weighed by half."""
    if steps == 1:
        return riemann_middle(1)
    weights = torch.full((steps,), 1 / (steps - 1), dtype=torch.float64, device="cpu")
    weights[[0, -1]] /= 2
    return torch.linspace(0, 1, steps, dtype=torch.float64, device="cpu"), weights


def riemann_left(steps: int) -> tuple[Tensor, Tensor]:
    """Even points with the baseline and without the image."""
    return _even(steps, 0.0)


def riemann_middle(steps: int) -> tuple[Tensor, Tensor]:
    """The middles of even parts."""
    return _even(steps, 0.5)


def riemann_right(steps: int) -> tuple[Tensor, Tensor]:
    """Even points with the image and without the baseline."""
    return _even(steps, 1.0)


def _even(steps: int, first: float) -> tuple[Tensor, Tensor]:
    """One point in each of so many even parts, all of the same weight."""
    places = torch.arange(steps, dtype=torch.float64, device="cpu")
    return (places + first) / steps, torch.full_like(places, 1 / steps)


QUADRATURES: Mapping[str, Callable[[int], tuple[Tensor, Tensor]]] = {
    "gauss-legendre": gauss_legendre,
    "trapezoid": trapezoid,
    "riemann-left": riemann_left,
    "riemann-middle": riemann_middle,
    "riemann-right": riemann_right,
}


def straight(end: Tensor, start: Tensor) -> Path:
    """The straight path from ``start`` to ``end``, (N, C, …) each."""

    def at(rows: Tensor, alphas: Tensor) -> Tensor:
        alphas = alphas.view(-1, *[1] * (end.ndim - 1)).to(end)
        return start[rows] + alphas * (end[rows] - start[rows])

    return at


def along(model: Model, images: Images, aim: Aim, path: Path, points: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of input gradients at ``points`` of each image's path, (N, C, …); only the sum is kept."""
    total = sums_like(images.tensor)

    def visit(rows: Tensor, numbers: Tensor) -> None:
        gradient = gradient_at(model, path(rows, points[numbers]), aim, rows, clean=False)
        weight = weights[numbers].view(-1, *[1] * (gradient.ndim - 1)).to(gradient)
        total.index_add_(0, rows.to(total.device), weight * gradient)

    each_copy(model, images, aim, len(points), visit)
    return total


def gap_notes(contributions: Tensor, reached: Tensor, started: Tensor) -> list[dict[str, Any]]:
    """What contributions (N, C, …) miss of the scores' rise: absolute in score units, and relative to the rise."""
    sums = (
        contributions.flatten(1).double().sum(1).cpu()
        if contributions.device.type != "mps"
        else contributions.flatten(1).sum(1).cpu()
    )
    rises = (reached - started).to(sums)
    notes = []
    for total, rise, start in zip(sums.tolist(), rises.tolist(), started.tolist(), strict=True):
        gap = total - rise
        relative = gap / rise if rise else (0.0 if gap == 0 else float("inf"))
        notes.append({"completeness gap": gap, "relative completeness gap": relative, "baseline score": start})
    return notes
