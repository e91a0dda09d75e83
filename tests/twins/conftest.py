"""What twins explain: a subject named in the test's parameters, or a photograph that is optimized."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.conftest import picture_model
from tests.nets import PlainNet, seeded
from tests.twins.learned.optimized_photographs import BLACK, SIDE, WHITE
from tests.twins.subjects import Subject, subject_called


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """The subject whose name stands in the test's parameters."""
    return subject_called(request.param)


@pytest.fixture
def float64_model() -> cs.Model:
    """A network in float64, whose ReLUs write in place."""
    net = seeded(PlainNet).double()
    with torch.no_grad():
        net.features[0].bias.add_(0.5)
        net.features[2].bias.add_(0.5)  # no unit is inactive everywhere
    return picture_model(net)


@pytest.fixture
def photo(float64_model: cs.Model) -> Tensor:
    """A prepared picture between black and white."""
    shares = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(4)).double()
    return BLACK + (0.1 + 0.8 * shares) * (WHITE - BLACK)
