"""Paths from a baseline to an image: quadrature points and weights, path integrals of gradients, completeness gaps."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.accumulation_dtype import accumulator_like
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import BaselineName
from convscope.engine.run.gradients import gradient_at
from convscope.engine.run.perturbed_samples import each_copy
from convscope.engine.targets.target import Target
from convscope.spec import Param

QuadratureName = Literal["gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"]
MultiplyByInputs = Annotated[
    bool,
    Param(
        help="multiply by the difference to the baseline; without it, the result is the mean gradient along the path"
    ),
]
PathSteps = Annotated[
    int, Param(help="number of points on the path at which the gradient is computed", min=1, max=4096)
]
PathBaseline = Annotated[
    BaselineName | Tensor, Param(help="the baseline image, which stands for the absence of information")
]
Quadrature = Annotated[QuadratureName, Param(help="quadrature rule for the integral along the path")]
Path = Callable[[Tensor, Tensor], Tensor]
"""``(rows, alphas) -> inputs``: the point at ``alphas[i]`` (from 0 to 1) on the path to image ``rows[i]``."""


def gauss_legendre(steps: int) -> tuple[Tensor, Tensor]:
    """The points and weights on [0, 1] that integrate polynomials of degree 2·steps - 1 exactly."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    return torch.from_numpy((points + 1) / 2), torch.from_numpy(weights / 2)


def trapezoid(steps: int) -> tuple[Tensor, Tensor]:
    """Equidistant points including both ends, which have half the weight."""
    if steps == 1:
        return riemann_middle(1)
    weights = torch.full((steps,), 1 / (steps - 1), dtype=torch.float64, device="cpu")
    weights[[0, -1]] /= 2
    return torch.linspace(0, 1, steps, dtype=torch.float64, device="cpu"), weights


def riemann_left(steps: int) -> tuple[Tensor, Tensor]:
    """The left ends of equal intervals: with the baseline, without the image."""
    return _riemann(steps, 0.0)


def riemann_middle(steps: int) -> tuple[Tensor, Tensor]:
    """The midpoints of equal intervals."""
    return _riemann(steps, 0.5)


def riemann_right(steps: int) -> tuple[Tensor, Tensor]:
    """The right ends of equal intervals: with the image, without the baseline."""
    return _riemann(steps, 1.0)


def _riemann(steps: int, offset: float) -> tuple[Tensor, Tensor]:
    """One point in each of ``steps`` equal intervals, at ``offset`` from 0 to 1, all with the same weight."""
    indices = torch.arange(steps, dtype=torch.float64, device="cpu")
    return (indices + offset) / steps, torch.full_like(indices, 1 / steps)


QUADRATURES: Mapping[str, Callable[[int], tuple[Tensor, Tensor]]] = {
    "gauss-legendre": gauss_legendre,
    "trapezoid": trapezoid,
    "riemann-left": riemann_left,
    "riemann-middle": riemann_middle,
    "riemann-right": riemann_right,
}


def straight_path(end: Tensor, start: Tensor) -> Path:
    """The straight path from ``start`` to ``end``, (N, C, …) each."""

    def at(rows: Tensor, alphas: Tensor) -> Tensor:
        alphas = alphas.view(-1, *[1] * (end.ndim - 1)).to(end)
        return start[rows] + alphas * (end[rows] - start[rows])

    return at


def path_gradient(model: Model, images: Images, target: Target, path: Path, points: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of input gradients at ``points`` on each image's path, (N, C, …); only the sum is stored."""
    total = accumulator_like(images.tensor)

    def visit(rows: Tensor, indices: Tensor) -> None:
        gradient = gradient_at(model, path(rows, points[indices]), target, rows, clean=False)
        weight = weights[indices].view(-1, *[1] * (gradient.ndim - 1)).to(gradient)
        total.index_add_(0, rows.to(total.device), weight * gradient)

    each_copy(model, images, target, len(points), visit)
    return total


def completeness_notes(contributions: Tensor, reached: Tensor, started: Tensor) -> list[dict[str, Any]]:
    """For contributions (N, C, …), the difference of their sum to the rise of the score, absolute and relative.

    Args:
        reached: the scores of the images, (N,).
        started: the scores of the baselines, (N,).
    """
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
