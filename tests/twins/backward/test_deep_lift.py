"""DeepLIFT computed a second time, step by step, and compared with the lens; peers: Captum."""

from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from tests.twins.backward.modified_gradients import CHAINS, one_hot
from tests.twins.backward.multipliers import black, multipliers
from tests.twins.backward.peer_networks import by_captum, by_convscope, small_net
from tests.twins.binding import twin_of
from tests.twins.chains import Chain, chain_of, values
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.deep_lift)
def deep_lift(chain: Chain, x: Tensor, reference: Tensor, target: int, *, reveal_cancel: bool = False) -> Tensor:
    """The multipliers of the input times its difference from the reference."""
    activations, reference_activations = values(chain, x.flatten()), values(chain, reference.flatten())
    input_multipliers = multipliers(
        chain, activations, reference_activations, one_hot(activations[-1], target), reveal_cancel
    )
    return ((x - reference).flatten() * input_multipliers).view(x.shape)


@pytest.mark.parametrize("subject", CHAINS, indirect=True)
@pytest.mark.parametrize("rule", ["rescale", "reveal-cancel"])
def test_deep_lift_is_its_multipliers(rule: str, subject: Subject) -> None:
    chain = chain_of(subject)
    for attribution, slow in zip(subject.explained("deep_lift", rule=rule), subject.slow, strict=True):
        reference = black(subject, slow.x)
        expected = deep_lift(chain, slow.x, reference, slow.target, reveal_cancel=rule == "reveal-cancel")
        assert relative_error(attribution.channels, expected) < 5 * TOLERANCE
        assert float(expected.sum()) == pytest.approx(slow.score(slow.x) - slow.score(reference), abs=1e-9)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ELU, nn.Softplus, nn.Sigmoid, nn.Tanh])
def test_deep_lift_is_that_of_captum_without_max_pooling(activation: type[nn.Module], peers: ModuleType) -> None:
    net, x = small_net(activation=activation)
    net[2] = nn.AvgPool2d(2)
    baseline = torch.full_like(x, 0.3)
    actual = by_convscope("deep_lift", net, x, baseline=baseline)
    assert relative_error(actual, by_captum(peers, "DeepLift", net, x, baselines=baseline)) < TOLERANCE


def test_captums_deep_lift_is_incomplete_with_max_pooling(peers: ModuleType) -> None:
    """Captum searches the maxima of image and baseline jointly and misses part of the difference; ours is complete."""
    net, x = small_net()
    baseline = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    rise = (net(x) - net(baseline))[:, 1].detach()
    own_sum, captum_sum = (
        contributions.flatten(1).sum(1)
        for contributions in (
            by_convscope("deep_lift", net, x, baseline=baseline),
            by_captum(peers, "DeepLift", net, x, baselines=baseline),
        )
    )
    assert relative_error(own_sum, rise) < 1e-5
    assert relative_error(captum_sum, rise) > 0.01
