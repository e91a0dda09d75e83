"""Labels of classes: accepted as sequences and mappings, and refused if incomplete or ambiguous."""

from typing import Any

import pytest
from torch import nn

import convscope as cs
from convscope.errors import InputError, OutputError
from tests.engine.networks import seeded, small_network, tensor


class Names(dict[str, int]):
    """A user-defined mapping."""


@pytest.mark.parametrize(
    "labels",
    [
        ["dog", "fox", "cat"],
        ("dog", "fox", "cat"),
        iter(["dog", "fox", "cat"]),
        {0: "dog", 1: "fox", 2: "cat"},
        {2: "cat", 0: "dog", 1: "fox"},
        {"2": "cat", "0": "dog", "1": "fox"},
        {"cat": 2, "dog": 0, "fox": 1},
        {"cat": "2", "dog": "0", "fox": "1"},
        Names(cat=2, dog=0, fox=1),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_labels_are_accepted_as_sequences_and_mappings(labels: Any) -> None:
    model = cs.Model(small_network(classes=3), labels=labels)
    assert model.labels == ("dog", "fox", "cat")
    assert cs.saliency(model, tensor(), target="cat").target_index == 2


def test_digits_may_name_classes() -> None:
    assert cs.Model(small_network(), labels={"1": 0, "0": 1}).labels == ("1", "0")
    assert cs.Model(small_network(), labels={0: "1", 1: "0"}).labels == ("1", "0")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({0: "dog", 2: "cat"}, "labels name 2 classes up to class 2 and leave out class 1"),
        ({1: "dog", 2: "cat"}, "leave out class 0"),
        ({"cat": 0, "kitty": 0}, "labels name class 0 twice: 'cat' and 'kitty'"),
        ({0: "dog", "0": "fox"}, "labels name class 0 twice: 'dog' and 'fox'"),
        ({"a": "b"}, r"\{index: name\} or \{name: index\}, got 'a': 'b'"),
        ({-1: "a", 0: "b"}, r"\{index: name\} or \{name: index\}, got -1: 'a'"),
        ({"cat", "dog"}, "labels are a list"),
    ],
)
def test_incomplete_or_ambiguous_labels_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cs.Model(small_network(), labels=labels)


@pytest.mark.parametrize(
    ("classes", "count", "message"),
    [
        (3, 4, "was given 4 labels for 3 outputs: give one name per output, or task='ordinal' if the outputs are "),
        (3, 2, "was given 2 labels for 3 outputs"),
        (2, 1, "was given 1 label for 2 outputs"),
        (
            1,
            3,
            "was given 3 labels for 1 output: give one name per output, or two for an output that tells two classes",
        ),
    ],
)
def test_a_number_of_labels_that_differs_from_the_outputs_is_refused(classes: int, count: int, message: str) -> None:
    labels = [f"label {index}" for index in range(count)]
    for lens in (cs.predict, cs.saliency, cs.grad_cam, cs.rise, cs.lrp):
        with pytest.raises(OutputError, match=message):
            lens(cs.Model(small_network(classes=classes), labels=labels), tensor())
    dense = cs.Model(seeded(lambda: nn.Conv2d(3, 4, 3)), labels=["a", "b", "c"])
    with pytest.raises(OutputError, match="labels for 4 outputs"):
        cs.saliency(dense, tensor(), target=cs.Region("a"))


def test_two_labels_for_a_plain_value_are_refused() -> None:
    with pytest.raises(OutputError, match="2 labels for 1 output"):
        cs.predict(cs.Model(small_network(classes=1), labels=["a", "b"], meaning="value"), tensor())
