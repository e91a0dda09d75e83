"""Networks of which every activation is compared."""

import pytest
from torch import nn

from tests.nets import PlainNet, ResidualNet, seeded


@pytest.fixture(scope="module", params=["plain", "residual", "signal", "volume"])
def net(request: pytest.FixtureRequest) -> nn.Module:
    """Networks with and without in-place ReLUs, with one to three spatial axes."""
    axes = {"signal": 1, "volume": 3}.get(request.param, 2)
    return seeded(ResidualNet) if request.param == "residual" else seeded(PlainNet, axes)
