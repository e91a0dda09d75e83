"""Concept relevance (CRP) computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.backward.modified_gradients import SPATIAL, place_of
from tests.twins.backward.relevance import COMPOSITES, Bounds, bounds_of
from tests.twins.backward.test_lrp import lrp
from tests.twins.binding import twin_of
from tests.twins.chains import Chain, chain_of, values
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.concept_relevance)
def concept_relevance(chain: Chain, x: Tensor, target: int, bounds: Bounds, place: int, keep: Tensor) -> Tensor:
    """LRP (ε-plus) with the relevance before step ``place`` masked to some channels: ``keep`` (channels,)."""
    size = len(values(chain, x.flatten())[place])
    mask = keep.double().repeat_interleave(size // len(keep))
    return lrp(chain, x, target, COMPOSITES["epsilon-plus"], bounds, keep=(place, mask))[0]


@pytest.mark.parametrize("subject", list(SPATIAL), indirect=True)
def test_concept_relevance_is_lrp_with_channels_masked(subject: Subject) -> None:
    layer, place, count = place_of(subject)
    chain, compared = chain_of(subject), 0
    for channels in ([0], [1, 4], [2, 3, 5]):
        keep = torch.tensor([number in channels for number in range(count)])
        attributions = subject.explained("concept_relevance", layer=layer, channels=", ".join(map(str, channels)))
        for attribution, slow in zip(attributions, subject.slow, strict=True):
            expected = concept_relevance(chain, slow.x, slow.target, bounds_of(subject, slow.x), place, keep)
            assert attribution.notes["channels"] == channels
            assert attribution.blank == (not expected.any())
            if not attribution.blank:
                compared += 1
                assert relative_error(attribution.channels.flatten(), expected) < 5 * TOLERANCE
    assert compared > 2
