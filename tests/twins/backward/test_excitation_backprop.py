"""Excitation backprop computed a second time, step by step, and compared with the lens; peers: zennit."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from tests.twins.backward.modified_gradients import SPATIAL, place_of
from tests.twins.backward.relevance import NO_BOUNDS, Rule, contrast, excitation
from tests.twins.backward.test_lrp import lrp
from tests.twins.backward.zennit_peer import one_for_class_one, zennit
from tests.twins.binding import twin_of
from tests.twins.chains import Chain, chain_of
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.excitation_backprop)
def excitation_backprop(chain: Chain, x: Tensor, target: int, place: int, count: int, *, contrastive=False) -> Tensor:
    """The winning probability before step ``place``, summed over ``count`` channels."""
    rules: dict[str, Rule] = {"conv": excitation, "linear": excitation}
    if contrastive:
        rules[chain[-1].address] = contrast
    probabilities = lrp(chain, x, target, rules, NO_BOUNDS)
    return (probabilities[place] / probabilities[-1].sum()).view(count, -1).sum(0)


@pytest.mark.parametrize("subject", list(SPATIAL), indirect=True)
@pytest.mark.parametrize(("contrastive", "relu"), [(False, False), (True, False), (True, True)])
def test_excitation_backprop_is_a_winners_probability(contrastive: bool, relu: bool, subject: Subject) -> None:
    """The contrastive map clamped at zero is that of the paper."""
    layer, place, count = place_of(subject)
    chain = chain_of(subject)
    attributions = subject.explained("excitation_backprop", layer=layer, contrastive=contrastive, relu=relu)
    for attribution, slow in zip(attributions, subject.slow, strict=True):
        expected = excitation_backprop(chain, slow.x, slow.target, place, count, contrastive=contrastive)
        assert not contrastive or expected.min() < 0
        expected = expected.clamp(min=0) if relu else expected
        assert relative_error(attribution.layer_values[layer].flatten(), expected) < TOLERANCE


def test_excitation_backprop_is_that_of_zennit_where_inputs_are_positive(network: tuple) -> None:
    """At the first activation, which is not negative; zennit includes biases unless they are excluded, as in the
    paper.
    """
    net, x, canonizers = network
    layer = next(name for name, module in net.named_modules() if isinstance(module, nn.ReLU))
    gradients: list[Tensor] = []
    watched_net = copy.deepcopy(net)
    composite = zennit.composites.ExcitationBackprop(stabilizer=1e-12, zero_params="bias", canonizers=canonizers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zennit.attribution.Gradient(watched_net, composite) as attributor:
            first = [True]

            def record(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
                if first:
                    first.clear()
                    output.register_hook(lambda g: gradients.append(g.detach()))

            handle = watched_net.get_submodule(layer).register_forward_hook(record)
            attributor(x.clone().requires_grad_(), one_for_class_one)
            handle.remove()
    actual = torch.stack(
        [attribution.layer_values[layer] for attribution in cs.excitation_backprop(net, x, target=1, layer=layer)]
    )
    assert relative_error(actual, gradients[0].sum(1)) < TOLERANCE
