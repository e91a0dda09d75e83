"""Sobol attribution computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.runtime.layer_maps import resize
from tests.twins.binding import twin_of
from tests.twins.perturbation.shown_masks import NETS, masks_of, mean_colour, variants_seen
from tests.twins.slow import Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject, subject_called


@twin_of(cs.sobol)
def sobol(slow: Slow, baseline: Tensor, masks: list[Tensor], cells: int) -> Tensor:
    """Of masks in the order A, C^1 … C^cells of each design."""
    scores = torch.tensor([slow.score(m * slow.x + (1 - m) * baseline) for m in masks]).view(-1, cells + 1).double()
    plain, changed = scores[:, 0], scores[:, 1:]
    return torch.stack([((plain - changed[:, i]) ** 2).mean() / (2 * plain.var()) for i in range(cells)])


@pytest.mark.parametrize("subject", NETS, indirect=True)
def test_sobol_indices_are_those_of_jansen(subject: Subject) -> None:
    axes = subject.images.ndim - 2
    cells = 3**axes
    with inputs_seen(subject.model.module, with_gradient=False) as network_inputs:
        maps = subject.explained("sobol", samples=5, cells=3)
    for attribution, slow, inputs in zip(
        maps, subject.slow, variants_seen(network_inputs, 5 * (cells + 1), len(maps)), strict=True
    ):
        baseline = mean_colour(slow.x)
        true = sobol(slow, baseline, masks_of(inputs, slow.x, baseline), cells).view(1, *[3] * axes)
        assert relative_error(attribution.values, resize(true, attribution.values.shape)[0]) < 1e-3


def test_sobol_masks_differ_from_their_design_in_one_cell() -> None:
    subject = subject_called("plain")
    with inputs_seen(subject.model.module, with_gradient=False) as network_inputs:
        cs.sobol(subject.model, subject.images[:1], samples=4, cells=2)
    masks = torch.stack(masks_of(network_inputs[-20:], subject.images[0], mean_colour(subject.images[0]))).view(
        4, 5, 16, 16
    )
    corners = masks[..., [0, 0, -1, -1], [0, -1, 0, -1]]
    changed = (corners[:, 1:] - corners[:, :1]).abs() > 1e-5
    assert torch.equal(changed, torch.eye(4, dtype=torch.bool).expand(4, 4, 4))
