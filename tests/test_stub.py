"""What an editor knows of names that are imported when first used: `make check` holds the types, a run the values."""
# mypy: warn-unused-ignores

from pathlib import Path
from typing import assert_type

import pytest

import convscope as cs
from convscope.errors import ParameterError

SCENE, OTHER_SCENE = "sample:shapes/7", "sample:shapes/12"


def test_one_image_gives_a_value_and_several_give_a_list() -> None:
    model = assert_type(cs.load("bundled:shapes"), cs.Model)
    attribution = assert_type(cs.grad_cam(model, SCENE, layer="layer3", relu=True), cs.Attribution)
    attributions = assert_type(cs.saliency(model, [SCENE, OTHER_SCENE], sign="absolute"), list[cs.Attribution])
    assert isinstance(attribution, cs.Attribution)
    assert [type(attribution) for attribution in attributions] == [cs.Attribution] * 2


def test_a_choice_that_does_not_exist_is_an_error_to_a_type_checker_too() -> None:
    model = cs.load("bundled:shapes")
    with pytest.raises(ParameterError, match="sign"):
        cs.saliency(model, SCENE, sign="sideways")  # type: ignore[call-overload]


def test_a_lens_that_does_not_exist_is_an_error_to_a_type_checker_too() -> None:
    with pytest.raises(AttributeError, match="no_such_lens"):
        _ = cs.no_such_lens  # type: ignore[attr-defined]


def test_the_package_says_that_it_has_types() -> None:
    assert (Path(cs.__file__).parent / "py.typed").exists()
