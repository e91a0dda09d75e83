"""Under autocast the network runs in half precision, the lens computes outside of it, and the value says so."""

import numpy as np
import pytest
import torch

from convscope.spec import LensSpec
from tests.conformance.selections import for_every_lens, for_every_map
from tests.conftest import picture_model
from tests.lens_calls import call_lens
from tests.nets import PlainNet, ResidualNet, build_for, seeded


@for_every_lens
def test_under_autocast_the_network_runs_in_it_and_the_value_says_so(spec: LensSpec, picture: np.ndarray) -> None:
    model = picture_model(seeded(build_for(spec, ResidualNet)))
    device_type = model.device.type
    with torch.autocast(device_type, dtype=torch.bfloat16):
        value = call_lens(spec, model, picture)
        assert torch.is_autocast_enabled(device_type)
    assert any("torch.autocast (bfloat16)" in caveat for caveat in value.record.caveats)
    assert not any("autocast" in caveat for caveat in call_lens(spec, model, picture).record.caveats)


@for_every_map
def test_a_map_under_autocast_is_that_of_the_network_under_autocast(spec: LensSpec, picture: np.ndarray) -> None:
    """Scores have three digits there; what a lens computes from them keeps its precision."""
    expected = call_lens(spec, picture_model(seeded(build_for(spec, PlainNet))), picture)
    model = picture_model(seeded(build_for(spec, PlainNet)))
    with torch.autocast(model.device.type, dtype=torch.bfloat16):
        value = call_lens(spec, model, picture)
    assert torch.isfinite(value.values).all()
    if spec.takes_target:
        assert value.target == expected.target
        assert value.score == pytest.approx(expected.score, rel=0.05, abs=0.02)
