"""Permutation importance computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.engine.masking.segments import grid
from tests.twins.binding import twin_of
from tests.twins.perturbation.shown_masks import NETS, variants_seen
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.permutation)
def permutation(slow: Slow, inputs: list[Tensor], labels: Tensor, fills: int) -> Tensor:
    """Of the inputs that were shown, part by part."""
    clean_score = slow.score(slow.x)
    drops = [sum(clean_score - slow.score(x) for x in inputs[i : i + fills]) for i in range(0, len(inputs), fills)]
    return torch.tensor(drops) / fills


@pytest.mark.parametrize("subject", NETS, indirect=True)
def test_permutation_fills_a_part_with_pixels_of_the_image(subject: Subject) -> None:
    labels = grid(subject.images.shape[2:], 6)
    parts = int(labels.max()) + 1
    with inputs_seen(subject.model.module, with_gradient=False) as network_inputs:
        maps = subject.explained("permutation", segments=labels, samples=3)
    for attribution, slow, inputs in zip(
        maps, subject.slow, variants_seen(network_inputs, 3 * parts, len(maps)), strict=True
    ):
        known = {tuple(pixel) for pixel in slow.x.flatten(1).T.float().tolist()}
        for number, x in enumerate(inputs):
            part = labels == number // 3
            assert torch.equal(x[:, ~part], slow.x[:, ~part].float())
            assert {tuple(pixel) for pixel in x[:, part].T.tolist()} <= known
            assert not torch.equal(x[:, part], slow.x[:, part].float())
        true = permutation(slow, inputs, labels, 3)
        sums = torch.stack([attribution.values[labels == part].double().sum() for part in range(parts)])
        assert relative_error(sums, true) < TOLERANCE
