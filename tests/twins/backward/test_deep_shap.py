"""DeepSHAP computed a second time, step by step, and compared with the lens; peers: Captum."""

from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from tests.twins.backward.peer_networks import by_captum, by_convscope, small_net
from tests.twins.backward.test_deep_lift import deep_lift
from tests.twins.binding import twin_of
from tests.twins.chains import Chain, chain_of
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.deep_shap)
def deep_shap(chain: Chain, x: Tensor, references: Tensor, target: int) -> Tensor:
    return torch.stack([deep_lift(chain, x, reference.double(), target) for reference in references]).mean(0)


@pytest.mark.parametrize("subject", ["plain", "flatten", "residual"], indirect=True)
def test_deep_shap_is_the_mean_of_deep_lift(subject: Subject) -> None:
    chain = chain_of(subject)
    references = torch.randn(5, *subject.images.shape[1:], generator=torch.Generator().manual_seed(5))
    attributions = subject.explained("deep_shap", samples=5, references=references)
    for attribution, slow in zip(attributions, subject.slow, strict=True):
        assert relative_error(attribution.channels, deep_shap(chain, slow.x, references, slow.target)) < 5 * TOLERANCE


def test_deep_shap_is_that_of_captum(peers: ModuleType) -> None:
    net, x = small_net()
    net[2] = nn.AvgPool2d(2)
    references = torch.randn(5, 3, 16, 16, dtype=torch.double, generator=torch.Generator().manual_seed(3))
    actual = by_convscope("deep_shap", net, x, references=references, samples=5)
    assert relative_error(actual, by_captum(peers, "DeepLiftShap", net, x, baselines=references)) < TOLERANCE
