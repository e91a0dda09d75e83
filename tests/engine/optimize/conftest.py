"""The network that units of several layers are optimized in."""

import pytest

import convscope as cs
from tests.conftest import picture_model
from tests.nets import ResidualNet, seeded


@pytest.fixture
def residual() -> cs.Model:
    return picture_model(seeded(ResidualNet))
