"""PartitionSHAP computed a second time, step by step, and compared with the lens."""

from typing import Protocol

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.perturbation.shown_masks import mean_colour
from tests.twins.slow import TOLERANCE, Slow, relative_error
from tests.twins.subjects import Subject


class Scored(Protocol):
    """An image, and the class score of any variant of it."""

    x: Tensor

    def score(self, x: Tensor, /) -> float: ...


@twin_of(cs.partition_shap)
def partition_shap(slow: Scored, baseline: Tensor, low: tuple[int, ...], high: tuple[int, ...]) -> Tensor:
    """Every box halved down to single places, by recursion."""
    shares = torch.zeros(slow.x.shape[1:]).double()

    def score(shown: Tensor) -> float:
        return slow.score(torch.where(shown, slow.x, baseline))

    def distribute(low: tuple[int, ...], high: tuple[int, ...], context: Tensor, weight: float) -> None:
        inside = torch.zeros(shares.shape, dtype=torch.bool)
        inside[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
        sides = [b - a for a, b in zip(low, high, strict=True)]
        if max(sides) == 1:
            shares[inside] += weight * (score(context | inside) - score(context))
            return
        axis = sides.index(max(sides))
        middle = low[axis] + sides[axis] // 2
        left = (low, (*high[:axis], middle, *high[axis + 1 :]))
        right = ((*low[:axis], middle, *low[axis + 1 :]), high)
        for half, other in ((left, right), (right, left)):
            other_mask = torch.zeros_like(inside)
            other_mask[tuple(slice(a, b) for a, b in zip(*other, strict=True))] = True
            distribute(*half, context, weight / 2)
            distribute(*half, context | other_mask, weight / 2)

    distribute(low, high, torch.zeros(shares.shape, dtype=torch.bool), 1.0)
    return shares


@pytest.mark.parametrize("subject", ["plain", "flatten", "signal", "digits"], indirect=True)
def test_partition_shap_with_budget_for_all_is_the_owen_value(subject: Subject) -> None:
    extent = subject.images.shape[2:]
    cells = {1: 8, 2: 2}[len(extent)]
    small = [n // cells for n in extent]
    for attribution, slow in zip(
        subject.explained("partition_shap", samples=4000, cells=cells, baseline="mean"), subject.slow, strict=True
    ):
        baseline = mean_colour(slow.x)
        true = _owen_of_cells(slow, baseline, cells, small)
        sums = attribution.values.double()
        for axis, size in enumerate(small):
            sums = sums.unflatten(axis, (cells, size)).sum(axis + 1)
        assert relative_error(sums, true) < TOLERANCE
        assert abs(attribution.notes["relative completeness gap"]) < 1e-4


def _owen_of_cells(slow: Slow, baseline: Tensor, cells: int, small: list[int]) -> Tensor:
    """The recursion on an image whose places are cells: it is shown enlarged."""

    class Enlarged:
        x = torch.arange(cells ** len(small)).view(1, *[cells] * len(small)).double() + 1

        @staticmethod
        def score(coarse: Tensor) -> float:
            shown = coarse[0] > 0
            for axis, size in enumerate(small):
                shown = shown.repeat_interleave(size, axis)
            return slow.score(torch.where(shown, slow.x, baseline))

    nothing = torch.zeros_like(Enlarged.x)
    return partition_shap(Enlarged, nothing, (0,) * len(small), (cells,) * len(small))


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["flatten", "shapes"], indirect=True)
def test_partition_shap_over_parts_of_ones_own_is_that_over_a_grid_of_the_same_parts(subject: Subject) -> None:
    """A part is a part, whoever drew it: the tree follows from where parts lie."""
    height, width = subject.images.shape[2:]
    rows, columns = (torch.arange(n) * 4 // n for n in (height, width))
    labels = rows[:, None] * 4 + columns
    attributions = subject.explained("partition_shap", samples=200, segments=labels, baseline="mean")
    for attribution, true in zip(
        attributions, subject.explained("partition_shap", samples=200, cells=4, baseline="mean"), strict=True
    ):
        assert relative_error(attribution.values, true.values) < TOLERANCE


def test_partition_shap_halves_where_most_is_at_stake() -> None:
    """On a network that looks at one corner only, that corner is cut finest and everything else stays at zero."""

    class Corner(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x[:, :, :3, :3].mean((1, 2, 3)), x[:, :, :3, :3].amax((1, 2, 3))], 1)

    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    attribution = cs.partition_shap(cs.Model(Corner()), images, target=0, samples=600, cells=32, baseline="black")
    assert float(attribution.values[8:].abs().max()) == float(attribution.values[:, 8:].abs().max()) == 0
    assert float(attribution.values[:3, :3].sum()) > 0.5 * attribution.score
    assert float(attribution.values.sum()) == pytest.approx(attribution.score, rel=1e-5)
