"""Layer LRP computed a second time, step by step, and compared with the lens."""

from collections.abc import Mapping
from typing import Any

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.backward.layer_steps import step_after
from tests.twins.backward.relevance import Rule, bounds_of, epsilon_half
from tests.twins.backward.test_lrp import lrp
from tests.twins.binding import twin_of
from tests.twins.chains import Chain, chain_of
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import subject_called


@twin_of(cs.layer_lrp)
def layer_lrp(chain: Chain, step: int, x: Tensor, target: int, rules: Mapping[str, Rule], bounds: Any) -> Tensor:
    """The relevance of the input of step number ``step``."""
    return lrp(chain, x, target, rules, bounds)[step]


@pytest.mark.parametrize("name", ["plain", "flatten", "signal"])
def test_layer_lrp_equals_its_twin(name: str) -> None:
    subject = subject_called(name)
    chain, layer, x = chain_of(subject), "features.0", subject.images[0]
    attribution = subject.explained("layer_lrp", layer=layer, composite="epsilon", epsilon=0.5)[0]
    rules, bounds = dict.fromkeys(("conv", "linear"), epsilon_half), bounds_of(subject, x.double())
    expected = layer_lrp(chain, step_after(chain, layer), x.double(), subject.targets[0], rules, bounds)
    assert relative_error(attribution.values.flatten(), expected) < TOLERANCE
