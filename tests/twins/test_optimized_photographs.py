"""What the lenses that optimize photographs refuse."""

import pytest

import convscope as cs
from convscope.errors import LayerError, ParameterError, UnknownName


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, x: cs.deep_dream(m, x, unit="features.9"), UnknownName, "'features.9' names nothing in PlainNet"),
        (lambda m, x: cs.deep_dream(m, x, unit=["features.0", "features.1"]), ParameterError, "a single objective"),
        (
            lambda m, x: cs.deep_dream(m, x, unit="features.1[3]", guide=x),
            ParameterError,
            "a guide needs a whole layer",
        ),
        (lambda m, x: cs.deep_dream(m, x, unit="features.1[30]", steps=1), UnknownName, "has units 0 to 5"),
        (lambda m, x: cs.invert(m, x, layer="head", steps=1), LayerError, "has no spatial extent"),
        (lambda m, x: cs.style_transfer(m, x, style=x, style_layers="nowhere"), UnknownName, "no layer 'nowhere'"),
        (lambda m, x: cs.style_transfer(m, x), TypeError, "needs style"),  # type: ignore[call-overload]  # by checkers, too
    ],
)
def test_invalid_arguments_are_refused(float64_model, photo, call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(float64_model, photo)
