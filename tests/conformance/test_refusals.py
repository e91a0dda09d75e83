"""What a lens cannot take is refused before anything is computed, with the nearest name that it knows."""

import numpy as np
import pytest

import convscope as cs
from convscope.errors import ParameterError, UnknownName
from convscope.spec import LensSpec
from tests.conformance.network_state import assert_unchanged
from tests.conformance.selections import LENSES, for_each, for_every_lens
from tests.lens_calls import call_lens


@for_each([spec for spec in LENSES if spec.takes_target])
def test_an_unknown_class_is_refused_with_the_nearest_label(
    spec: LensSpec, stateful_model: cs.Model, picture: np.ndarray
) -> None:
    message = r"no label 'catt' .*; did you mean 'cat'"
    with assert_unchanged(stateful_model.module), pytest.raises(UnknownName, match=message):
        call_lens(spec, stateful_model, picture, target="catt")


@for_each([spec for spec in LENSES if spec.takes_layer])
def test_an_unknown_layer_is_refused_with_the_nearest_address(
    spec: LensSpec, stateful_model: cs.Model, picture: np.ndarray
) -> None:
    message = r"no layer 'rellu' .*; did you mean 'relu'"
    with assert_unchanged(stateful_model.module), pytest.raises(UnknownName, match=message):
        call_lens(spec, stateful_model, picture, layer="rellu")


@for_every_lens
def test_an_unknown_parameter_is_refused_with_the_nearest_name(
    spec: LensSpec, model: cs.Model, picture: np.ndarray
) -> None:
    names = [*spec.parameters, *(name for name in ("target", "layer", "unit") if name in spec.inputs)]
    required = {name: argument for name, argument in (("model", model), ("image", picture)) if name in spec.required}
    required |= {name: picture for name in spec.required if name not in required}
    for name in names:
        misspelt = name + name[-1]
        with pytest.raises(ParameterError, match=f"has no parameter '{misspelt}'; did you mean '{name}'"):
            getattr(cs, spec.name)(**required, **{misspelt: 1})
