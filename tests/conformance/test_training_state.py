"""The state in which a network was left does not change the values."""

import numpy as np

import convscope as cs
from convscope.spec import LensSpec
from tests.conformance.selections import LENSES, for_each_in_turn
from tests.lens_calls import assert_same, call_lens_as_list


@for_each_in_turn(LENSES, "state", ["training", "frozen", "half in training"])
def test_training_mode_and_frozen_parameters_do_not_change_the_values(
    spec: LensSpec, state: str, model: cs.Model, picture: np.ndarray
) -> None:
    """Dropout and batch norm compute something else in training, and peers raise on frozen parameters."""
    expected_values = call_lens_as_list(spec, model, picture)
    if state == "frozen":
        model.module.requires_grad_(False)
    else:
        (model.module if state == "training" else model.module.bn2).train()
    for value, expected in zip(call_lens_as_list(spec, model, picture), expected_values, strict=True):
        assert_same(value, expected)
