"""Layer DeepLIFT computed a second time, step by step, and compared with the lens."""

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.backward.layer_steps import step_after
from tests.twins.backward.modified_gradients import one_hot
from tests.twins.backward.multipliers import multipliers
from tests.twins.binding import twin_of
from tests.twins.chains import Chain, chain_of, values
from tests.twins.layer_units import baseline_of
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import subject_called


@twin_of(cs.layer_deep_lift)
def layer_deep_lift(chain: Chain, step: int, x: Tensor, reference: Tensor, target: int) -> Tensor:
    current, at_reference = (values(chain, tensor.flatten()) for tensor in (x, reference))
    factors = multipliers(chain[step:], current[step:], at_reference[step:], one_hot(current[-1], target), False)
    return (current[step] - at_reference[step]) * factors


@pytest.mark.parametrize("name", ["plain", "flatten", "signal"])
def test_layer_deep_lift_equals_its_twin(name: str) -> None:
    subject = subject_called(name)
    chain, layer, x = chain_of(subject), "features.0", subject.images[0]
    attribution = subject.explained("layer_deep_lift", layer=layer, baseline=baseline_of(subject))[0]
    step, reference = step_after(chain, layer), baseline_of(subject).double()
    expected = layer_deep_lift(chain, step, x.double(), reference, subject.targets[0])
    assert relative_error(attribution.values.flatten(), expected) < TOLERANCE
