"""LRP computed a second time, step by step, and compared with the lens; peers: Captum and zennit."""

from collections.abc import Mapping
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from tests.twins.backward.modified_gradients import CHAINS, SPATIAL, one_hot
from tests.twins.backward.peer_networks import by_captum, by_convscope, small_net, with_statistics
from tests.twins.backward.relevance import (
    COMPOSITES,
    Bounds,
    Rule,
    alpha3_beta2,
    bounds_of,
    box,
    epsilon_half,
    flat,
    gamma_one,
    relevances,
    unbiased,
    w_square,
    z_plus,
    zero,
)
from tests.twins.backward.zennit_peer import SMALL, by_zennit, zennit
from tests.twins.binding import twin_of
from tests.twins.chains import Chain, Dense, chain_of, values
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject, subject_called


@twin_of(cs.lrp)
def lrp(chain: Chain, x: Tensor, target: int, rules: Mapping[str, Rule], bounds: Bounds, keep=None) -> list[Tensor]:
    """The relevance before every step; rules by address, or by ``first`` and kind; pooling is proportional."""

    def rule_of(step: Dense) -> Rule:
        first = {"first": rules["first"]} if step is chain[0] and "first" in rules else {}
        return rules.get(step.address) or first.get("first") or rules.get(step.kind, zero)

    activations = values(chain, x.flatten())
    start = one_hot(activations[-1], target) * activations[-1]
    return relevances(chain, x.flatten(), start, rule_of, bounds, keep)


@pytest.mark.parametrize("subject", CHAINS, indirect=True)
@pytest.mark.parametrize("composite", COMPOSITES)
def test_lrp_is_its_rules_on_matrices(composite: str, subject: Subject) -> None:
    chain = chain_of(subject)
    for attribution, slow in zip(subject.explained("lrp", composite=composite), subject.slow, strict=True):
        expected = lrp(chain, slow.x, slow.target, COMPOSITES[composite], bounds_of(subject, slow.x))[0]
        assert relative_error(attribution.channels.flatten(), expected) < 5 * TOLERANCE


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("zero", zero), ("epsilon 0.5", epsilon_half), ("gamma 1", gamma_one), ("alpha-beta 3 2", alpha3_beta2),
        ("z-plus", z_plus), ("flat", flat), ("w-square", w_square), ("box", box),
    ],
)  # fmt: skip
@pytest.mark.parametrize("subject", ["flatten", "signal"], indirect=True)
@pytest.mark.parametrize("extent", ["first", "everywhere"])
def test_every_rule_is_its_formula_in_the_first_layer_and_everywhere(
    extent: str, text: str, rule: Rule, subject: Subject
) -> None:
    if extent == "everywhere" and text in ("flat", "w-square", "box"):
        return  # their relevance is no multiple of the input, so they are defined for the first layer only
    chain = chain_of(subject)
    places = ["first"] if extent == "first" else ["conv", "linear"]
    attributions = subject.explained("lrp", composite="zero", rules=", ".join(f"{place}: {text}" for place in places))
    for attribution, slow in zip(attributions, subject.slow, strict=True):
        rules = {"conv": zero, "linear": zero, **dict.fromkeys(places, rule)}
        expected = lrp(chain, slow.x, slow.target, rules, bounds_of(subject, slow.x))[0]
        assert relative_error(attribution.channels.flatten(), expected) < 5 * TOLERANCE


def test_rules_by_layer_and_depth_are_the_twins_rules_there() -> None:
    subject = subject_called("flatten")
    chain = chain_of(subject)
    texts = {
        "features.0: gamma 1, classifier.3: z-plus": {"features.0": gamma_one, "classifier.3": z_plus},
        "classifier: gamma 1": {"classifier.1": gamma_one, "classifier.3": gamma_one},
        "classifier.*: gamma 1": {"classifier.1": gamma_one, "classifier.3": gamma_one},
        "depth 0: z-plus, depth -1: gamma 1": {"features.0": z_plus, "classifier.3": gamma_one},
        "depth 1..2: gamma 1": {"classifier.1": gamma_one, "classifier.3": gamma_one},
        "depth 0..-2: gamma 1, classifier.1: z-plus": {"features.0": gamma_one, "classifier.1": z_plus},
    }
    for text, rules in texts.items():
        for attribution, slow in zip(subject.explained("lrp", composite="zero", rules=text), subject.slow, strict=True):
            expected = lrp(chain, slow.x, slow.target, rules, bounds_of(subject, slow.x))[0]
            assert relative_error(attribution.channels.flatten(), expected) < 5 * TOLERANCE, text


@pytest.mark.parametrize("subject", CHAINS, indirect=True)
@pytest.mark.parametrize("composite", ["epsilon-plus", "alpha2-beta1"])
def test_a_shared_bias_is_left_to_the_inputs(composite: str, subject: Subject) -> None:
    chain = chain_of(subject)
    rules = {place: unbiased(chain)(rule) for place, rule in COMPOSITES[composite].items()}
    for attribution, slow in zip(
        subject.explained("lrp", composite=composite, bias="share"), subject.slow, strict=True
    ):
        expected = lrp(chain, slow.x, slow.target, rules, bounds_of(subject, slow.x))[0]
        assert relative_error(attribution.channels.flatten(), expected) < 2e-3


@pytest.mark.parametrize("subject", list(SPATIAL), indirect=True)
def test_the_epsilon_rule_without_epsilon_is_the_zero_rule(subject: Subject) -> None:
    zero, default, damped = (
        subject.explained("lrp", **parameters)
        for parameters in ({"composite": "zero"}, {"composite": "epsilon"}, {"composite": "epsilon", "epsilon": 0.5})
    )
    for a, b, c in zip(zero, default, damped, strict=True):
        assert torch.equal(a.channels, b.channels)
        assert relative_error(c.channels, a.channels) > 0.01


ZENNIT_COMPOSITES = {
    "epsilon-plus": lambda **options: zennit.composites.EpsilonPlus(**SMALL, **options),
    "epsilon-plus-flat": lambda **options: zennit.composites.EpsilonPlusFlat(**SMALL, **options),
    "epsilon-gamma-box": lambda **options: zennit.composites.EpsilonGammaBox(low=-9.0, high=9.0, **SMALL, **options),
    "alpha2-beta1": lambda **options: zennit.composites.EpsilonAlpha2Beta1(**SMALL, **options),
    "alpha2-beta1-flat": lambda **options: zennit.composites.EpsilonAlpha2Beta1Flat(**SMALL, **options),
}


@pytest.mark.parametrize("composite", ZENNIT_COMPOSITES)
def test_lrp_is_that_of_zennit(composite: str, network: tuple) -> None:
    net, x, canonizers = network
    low_high = cs.ImageInput(size=x.shape[-1], mean=(0.5,) * 3, std=(1 / 18,) * 3)  # black is -9 and white 9
    actual = by_convscope("lrp", cs.Model(net, input=low_high), x, composite=composite)
    assert relative_error(actual, by_zennit(net, x, ZENNIT_COMPOSITES[composite](canonizers=canonizers))) < TOLERANCE


def test_lrp_epsilon_is_that_of_captum(peers: ModuleType) -> None:
    """Captum adds 1e-9 to every denominator; it raises at ``nn.Flatten`` and other modules it has no rule for."""
    sequence, x = small_net()
    net = Flattening(sequence[:6], sequence[7:])
    actual = by_convscope("lrp", net, x, composite="epsilon", epsilon=1e-9)
    assert relative_error(actual, by_captum(peers, "LRP", net, x)) < TOLERANCE


class Flattening(nn.Module):
    """Features and classifier with a flattening that is not a module."""

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features, self.classifier = features, classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


def test_zennit_doubles_relevance_at_residual_sums_it_does_not_know(torchvision: ModuleType) -> None:
    """Without its canonizer a sum passes all of its relevance to both of its terms, in every block."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = with_statistics(torchvision.models.resnet18(num_classes=10)).eval().double()
    x = torch.randn(1, 3, 40, 40, dtype=torch.double)
    attribution = cs.lrp(net, x, target=1, composite="epsilon-plus-flat")
    by_peer = by_zennit(net, x, zennit.composites.EpsilonPlusFlat(**SMALL))
    assert attribution.notes["relative conservation gap"] < 1e-5
    assert attribution.score is not None
    assert abs(float(by_peer.sum())) > 20 * abs(attribution.score)


def test_what_nothing_raised_loses_its_relevance_in_zennit() -> None:
    """For an output with negative terms only, z⁺ has no positive term; ConvScope gives its relevance to the negative
    ones.
    """
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        net[0].bias.zero_()
    x = torch.rand(1, 1, 2, 2, dtype=torch.double) + 0.5
    attribution = cs.lrp(net, x, target=1)
    lost = x.flatten() @ net[2].weight[1, 4:].detach()
    by_peer = by_zennit(net, x, zennit.composites.EpsilonPlus(**SMALL))
    assert attribution.notes["relative conservation gap"] < 1e-6
    assert float(attribution.values.sum() - by_peer.sum()) == pytest.approx(float(-lost), rel=1e-5)
