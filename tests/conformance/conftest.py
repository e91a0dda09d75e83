"""The network of the conformance tests: batch norm, dropout, a residual sum, ReLUs in place and not."""

import pytest

import convscope as cs
from tests.conformance.network_state import put_into_unusual_state
from tests.conftest import network_for, picture_model
from tests.nets import AttendingStatefulNet, GatedStatefulNet, ResidualNet, StatefulNet, seeded


@pytest.fixture
def model(request: pytest.FixtureRequest) -> cs.Model:
    """A small network with everything that explanations easily get wrong."""
    return picture_model(seeded(network_for(request, ResidualNet)))


@pytest.fixture
def stateful_model(request: pytest.FixtureRequest) -> cs.Model:
    """A network that changes what a lens must restore, in the state in which people leave one amid their work."""
    model = picture_model(seeded(network_for(request, StatefulNet)))
    assert isinstance(model.module, (StatefulNet, AttendingStatefulNet, GatedStatefulNet))
    put_into_unusual_state(model.module)
    return model
