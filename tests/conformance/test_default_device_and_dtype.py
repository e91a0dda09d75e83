"""A default device or precision set around a call does not change the values."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from convscope.spec import LensSpec
from tests.conformance.selections import LENSES, for_each_in_turn
from tests.conftest import picture_model
from tests.lens_calls import assert_same, call_lens
from tests.nets import ResidualNet, build_for, seeded


@contextmanager
def default_setting(setting: str) -> Iterator[None]:
    """Create tensors on a device where no number can be read, unless code names one; or in float64 by default."""
    if setting == "within torch.device":
        with torch.device("meta"):
            yield
        return
    torch.set_default_device("meta" if setting == "default device" else None)
    torch.set_default_dtype(torch.float64 if setting == "default dtype" else torch.float32)
    try:
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


@for_each_in_turn(LENSES, "setting", ["default device", "within torch.device", "default dtype"])
def test_a_default_device_or_precision_does_not_change_the_values(
    spec: LensSpec, pictures: list[np.ndarray], setting: str
) -> None:
    expected = call_lens(spec, picture_model(seeded(build_for(spec, ResidualNet))), pictures[0])
    model = picture_model(seeded(build_for(spec, ResidualNet)))
    with default_setting(setting):
        value = call_lens(spec, model, pictures[0])
    assert_same(value, expected, tolerance=1e-5)
