"""Whether gradients are recorded around a call does not change the values."""

from typing import Any

import numpy as np
import torch

import convscope as cs
from convscope.spec import LensSpec
from tests.conformance.selections import LENSES, for_each_in_turn
from tests.lens_calls import assert_same, call_lens_as_list

MODES: dict[str, Any] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "grad disabled": lambda: torch.autograd.grad_mode.set_grad_enabled(False),
}


@for_each_in_turn(LENSES, "mode", MODES)
def test_whether_gradients_are_recorded_does_not_change_the_values(
    spec: LensSpec, mode: str, model: cs.Model, picture: np.ndarray
) -> None:
    expected_values = call_lens_as_list(spec, model, picture)
    with MODES[mode]():
        from_list = call_lens_as_list(spec, model, picture)
        from_tensor = call_lens_as_list(spec, model, model.prepare(picture).tensor)
    for list_value, tensor_value, expected in zip(from_list, from_tensor, expected_values, strict=True):
        assert_same(list_value, expected)
        assert_same(tensor_value, expected)
