"""A lens leaves the network, the random generators and the process as they were, even when it fails or is stopped."""

from contextlib import nullcontext

import numpy as np
import pytest

import convscope as cs
from convscope.engine.context.metering import reporting
from convscope.errors import Cancelled, ConvScopeError, LayerError, ModelFailed, OutputError
from convscope.spec import LensSpec
from tests.conformance.network_state import assert_unchanged, put_into_unusual_state
from tests.conformance.selections import MAPS, RUNNING, for_each, for_every_lens
from tests.conftest import picture_model
from tests.lens_calls import call_lens, call_lens_as_list
from tests.nets import FailingNet, seeded


@for_every_lens
def test_the_network_is_restored(spec: LensSpec, stateful_model: cs.Model, pictures: list[np.ndarray]) -> None:
    with assert_unchanged(stateful_model.module):
        call_lens(spec, stateful_model, pictures)


@for_each([spec for spec in MAPS if spec.takes_target or spec.takes_layer])
def test_the_network_is_restored_after_a_request_that_fails_midway(
    spec: LensSpec, stateful_model: cs.Model, picture: np.ndarray
) -> None:
    """A target that gives no number, or a layer without extent, is noticed only once the network has run."""
    invalid = {"target": lambda output: output} if spec.takes_target else {"layer": "fc"}
    with assert_unchanged(stateful_model.module), pytest.raises((OutputError, LayerError)):
        call_lens(spec, stateful_model, picture, **invalid)


@for_each(RUNNING)
def test_a_network_that_raises_midway_is_named_and_restored(spec: LensSpec, picture: np.ndarray) -> None:
    model = picture_model(seeded(FailingNet))
    assert isinstance(model.module, FailingNet)
    put_into_unusual_state(model.module)
    message = r"FailingNet raised ZeroDivisionError .* the network is broken"
    with assert_unchanged(model.module), pytest.raises(ModelFailed, match=message) as failure:
        call_lens(spec, model, picture, layer="fc")
    assert isinstance(failure.value.__cause__, ZeroDivisionError)
    assert isinstance(failure.value, ConvScopeError)


@for_each(RUNNING)
def test_a_run_can_be_stopped_and_the_network_is_restored(
    spec: LensSpec, stateful_model: cs.Model, pictures: list[np.ndarray]
) -> None:
    """Pictures that were being optimized are kept as they are; every other lens has nothing to show."""

    def stop(_done: int, _total: int) -> None:
        raise Cancelled("enough")

    optimized = spec.returns.is_optimized
    expectation = nullcontext() if optimized else pytest.raises(Cancelled)
    with assert_unchanged(stateful_model.module), expectation, reporting(stop):
        for value in call_lens_as_list(spec, stateful_model, pictures):
            assert "stopped" in value.notes
