"""Declared parameters: which values they accept, and how others are refused."""

import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import (
    ConvScopeError,
    InputError,
    ParameterError,
)
from convscope.spec import Param, Parameter, read_parameters
from tests.narrowing import unchecked

COUNT = Parameter("count", int, 5, Param(help="", min=1, max=512))


SHARE = Parameter("share", float, 0.5, Param(help="", min=0, max=2, unit="of the range"))


OPEN = Parameter("open", float, 0.5, Param(help="", min=0))


FREE = Parameter("free", float, 0.5, Param(help=""))


SWITCH = Parameter("switch", bool, False, Param(help=""))


CHOICE = Parameter("choice", str, "black", Param(help="", choices=("black", "white", "blur")))


PATCH = Parameter("patch", str, "", Param(help="", joined="x", min=0, max=9))
"""Numbers in a text."""

ALSO = Parameter("also", str, "black", Param(help="", choices=("black", "white")), also=(torch.Tensor,))


@pytest.mark.parametrize(
    ("parameter", "given", "taken"),
    [
        (COUNT, 1, 1),
        (COUNT, 512, 512),
        (COUNT, np.int64(7), 7),
        (COUNT, torch.tensor(7), 7),
        (SHARE, 0, 0.0),
        (SHARE, 2, 2.0),
        (SHARE, np.float32(0.5), 0.5),
        (SHARE, torch.tensor(0.5), 0.5),
        (SHARE, Fraction(1, 2), 0.5),
        (SHARE, Decimal("0.5"), 0.5),
        (OPEN, 1e9, 1e9),
        (FREE, -3, -3.0),
        (SWITCH, True, True),
        (CHOICE, "blur", "blur"),
    ],
)
def test_a_value_in_range_is_taken_as_the_declared_kind(parameter: Parameter, given: Any, taken: Any) -> None:
    assert parameter.check(given) == taken
    assert type(parameter.check(given)) is parameter.kind


REFUSED: list[tuple[Parameter, Any, str]] = [
    (COUNT, 0, r"^count must be 1 to 512, got 0$"),
    (COUNT, 513, r"^count must be 1 to 512, got 513$"),
    (COUNT, -1, r"^count must be 1 to 512, got -1$"),
    (COUNT, 10**400, r"^count must be 1 to 512, got 1000"),
    (COUNT, 3.0, r"^count must be a whole number, got 3\.0$"),
    (COUNT, 3.5, r"^count must be a whole number, got 3\.5$"),
    (COUNT, True, r"^count must be a whole number, got True$"),
    (COUNT, "3", r"^count must be a whole number, got '3'$"),
    (COUNT, None, r"^count must be a whole number, got None$"),
    (COUNT, [3], r"^count must be a whole number, got \[3\]$"),
    (COUNT, math.nan, r"^count must be a whole number, got nan$"),
    (COUNT, torch.tensor([1, 2]), r"^count must be a whole number, got Tensor\(2,\)$"),
    (COUNT, np.array([1, 2]), r"^count must be a whole number, got ndarray\(2,\)$"),
    (COUNT, np.True_, r"^count must be a whole number, got"),
    (SHARE, -0.1, r"^share must be 0 to 2 \(of the range\), got -0\.1$"),
    (SHARE, 2.1, r"^share must be 0 to 2 \(of the range\), got 2\.1$"),
    (SHARE, math.nan, r"^share must be a number, got nan$"),
    (SHARE, math.inf, r"^share must be a number, got inf$"),
    (SHARE, -math.inf, r"^share must be a number, got -inf$"),
    (SHARE, 10**400, r"^share must be .*, got 1000"),
    (SHARE, True, r"^share must be a number, got True$"),
    (SHARE, np.True_, r"^share must be a number, got"),
    (SHARE, "0.5", r"^share must be a number, got '0\.5'$"),
    (SHARE, b"0.5", r"^share must be a number, got b'0\.5'$"),
    (SHARE, None, r"^share must be a number, got None$"),
    (SHARE, 1j, r"^share must be a number, got 1j$"),
    (SHARE, torch.tensor([0.1, 0.2]), r"^share must be a number, got Tensor\(2,\)$"),
    (OPEN, -1, r"^open must be 0 or more, got -1$"),
    (SWITCH, 1, r"^switch must be True or False, got 1$"),
    (SWITCH, "yes", r"^switch must be True or False, got 'yes'$"),
    (SWITCH, None, r"^switch must be True or False, got None$"),
    (CHOICE, "blck", r"^choice must be black, white or blur, got 'blck'; did you mean 'black'\?$"),
    (CHOICE, "Black", r"^choice must be black, white or blur, got 'Black'; did you mean 'black'\?$"),
    (CHOICE, 0, r"^choice must be black, white or blur, got 0$"),
    (CHOICE, ["black"], r"^choice must be black, white or blur, got \['black'\]$"),
    (CHOICE, torch.zeros(3), r"^choice must be black, white or blur, got Tensor\(3,\)$"),
    (PATCH, (3, 4), r"^patch must be a text with whole numbers joined by 'x', got \(3, 4\)$"),
    (ALSO, np.zeros((3, 4)), r"^also must be black or white.*, got ndarray\(3, 4\)$"),
    (CHOICE, "x" * 500, r"^choice must be black, white or blur, got '.{1,60}…"),
]


@pytest.mark.parametrize(
    ("parameter", "given", "sentence"), REFUSED, ids=[f"{p.name}-{str(g)[:20]}" for p, g, _ in REFUSED]
)
def test_a_value_of_the_wrong_kind_or_out_of_range_is_refused_by_name(
    parameter: Parameter, given: Any, sentence: str
) -> None:
    with pytest.raises(ParameterError, match=sentence) as caught:
        parameter.check(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", cs.lenses(), ids=lambda spec: spec.name)
def test_every_parameter_of_every_lens_refuses_what_it_must_and_takes_its_default(spec: Any) -> None:
    for name, parameter in spec.parameters.items():
        assert parameter.about.help
        assert parameter.check(parameter.default) == parameter.default
        bad = [parameter.bad_value(), None, [], {}, object(), 10**400]
        if parameter.kind in (int, float):
            bad += [math.nan, math.inf, "1", True]
        elif parameter.about.choices or parameter.kind is bool:  # any text may be read by its lens
            bad += ["no such"]
        for value in (bad_value for bad_value in bad if not isinstance(bad_value, parameter.also)):
            with pytest.raises(ParameterError, match=f"^{name} must be "):
                spec.checked({name: value})


def test_a_tensor_may_stand_where_it_is_declared() -> None:
    given = torch.zeros(3)
    assert ALSO.check(given) is given


@pytest.mark.parametrize(
    "given",
    [torch.full((3, 16, 16), torch.nan), torch.full((3, 16, 16), torch.inf), torch.full((3, 16, 16), 1e30)],
    ids=["NaN", "infinite", "huge"],
)
@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("integrated_gradients", "baseline"),
        ("guided_integrated_gradients", "baseline"),
        ("expected_gradients", "references"),
    ],
)
def test_numbers_that_are_none_are_refused_as_a_baseline_too(
    name: str, parameter: str, given: torch.Tensor, model: cs.Model, picture: np.ndarray
) -> None:
    given = given[None] if parameter == "references" else given
    if not given.isfinite().all():
        with pytest.raises(InputError, match="NaN or infinite"):
            getattr(cs, name)(model, picture, **{parameter: given})
    else:
        assert getattr(cs, name)(model, picture, **{parameter: given}).values.isfinite().all()


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 16, 16), (2, 3, 16, 16), (16, 16), ()], ids=str)
def test_a_baseline_of_another_shape_is_refused(shape: tuple[int, ...], model: cs.Model, picture: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"a baseline has the image's shape \(3, 16, 16\), got "):
        cs.integrated_gradients(model, picture, baseline=torch.zeros(shape))
    with pytest.raises(InputError, match=r"references are a tensor \(R, 3, 16, 16\), got shape "):
        cs.expected_gradients(model, picture, references=torch.zeros(shape[1:] if len(shape) == 4 else shape))


def test_a_parameter_that_a_lens_does_not_have_is_refused_with_those_it_has(
    model: cs.Model, picture: np.ndarray
) -> None:
    sentence = (
        "smooth-grad has no parameter 'sample'; did you mean 'samples'? (it takes samples, sigma, seed, sign, target)"
    )
    with pytest.raises(ParameterError, match=re.escape(sentence)):
        unchecked.smooth_grad(model, picture, sample=3)
    with pytest.raises(ParameterError, match="saliency has no parameter 'layer'"):
        unchecked.saliency(model, picture, layer="features.0")
    with pytest.raises(ParameterError, match="eigen-cam has no parameter 'target'"):
        unchecked.eigen_cam(model, picture, target=1)


@pytest.mark.parametrize("baseline", ["black", "white", "mean", "blur", "noise"])
def test_every_named_baseline_fits_every_number_of_axes_or_says_why_not(
    baseline: Literal["black", "white", "mean", "blur", "noise"],
) -> None:
    for extent in ((), (9,), (5, 6), (4, 5, 3)):
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * int(np.prod(extent)), 3))
        x = torch.rand(1, 2, *extent)
        try:
            attribution = cs.integrated_gradients(cs.Model(net), x, baseline=baseline, steps=2)
        except ConvScopeError as error:
            message = str(error)
            assert not extent, message
            assert baseline in message, message
        else:
            assert attribution.values.shape == extent


# Declaring


def test_ranges_are_told_in_words() -> None:
    ranges = [p.about.range() for p in (COUNT, OPEN, FREE, CHOICE)]
    assert ranges == ["1 to 512", "0 or more", "", "black, white or blur"]
    assert Param(help="", max=3).range() == "at most 3"


def test_parameters_are_read_off_a_signature() -> None:
    def lens(
        model: int,
        *,
        mode: Annotated[Literal["a", "b"] | torch.Tensor, Param(help="how")] = "a",
        n: Annotated[int, Param(help="many", min=1)] = 2,
    ) -> None: ...

    parameters = read_parameters(lens, ("model",))
    assert list(parameters) == ["mode", "n"]
    assert parameters["mode"].about.choices == ("a", "b")
    assert parameters["mode"].also == (torch.Tensor,)
    assert (parameters["n"].kind, parameters["n"].default, parameters["n"].about.min) == (int, 2, 1)


def test_a_parameter_without_help_or_default_is_no_declaration() -> None:
    def bare(model: int, n: int = 3) -> None: ...

    def required(model: int, *, n: Annotated[int, Param(help="many")]) -> None: ...

    for function in (bare, required):
        with pytest.raises(TypeError, match="parameter 'n' of a lens needs Annotated"):
            read_parameters(function, ("model",))
