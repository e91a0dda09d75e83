"""Several inputs written as text are the inputs that they were written from."""

import pytest

import convscope as cs
from convscope.engine.inputs.named_inputs import named_inputs, write_inputs, written_inputs
from convscope.errors import InputError


@pytest.mark.parametrize(
    "inputs",
    [
        {"photo": "my photo.png", "table": "1,2"},
        {"words": 'it\'s not "good"', "photo": "a=b.png"},
        {"input 0": "a.png", "input 1": "b/c.png?frame=3"},
    ],
)
def test_inputs_that_are_written_are_read_again(inputs: dict[str, str]) -> None:
    assert written_inputs(write_inputs(inputs)) == inputs


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("photo=my photo.png", {"photo": "my photo.png"}),
        ("words=it's good", {"words": "it's good"}),
        ("input 0=a.png", {"input 0": "a.png"}),
        ("photo=", {}),
        ("=a.png", {}),
        ("it's good", {}),
        (7, {}),
    ],
)
def test_one_input_may_hold_spaces_and_quotes(text: object, inputs: dict[str, str]) -> None:
    assert written_inputs(text) == inputs


def test_a_name_that_could_not_be_written_is_refused() -> None:
    with pytest.raises(InputError, match="inputs has the name 'a=b'"):
        named_inputs({"a=b": cs.ImageInput(size=8)})
