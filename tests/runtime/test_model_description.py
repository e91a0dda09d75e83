"""Descriptions of opened models."""

from pathlib import Path

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import OutputError
from convscope.runtime.model_description import describe_model


def test_description_of_a_bundled_model() -> None:
    described = describe_model(cs.load("bundled:shapes"))
    assert described["task"] == "classification"
    assert described["output"]["shape"] == [10]
    assert described["labels"] == {"count": 10, "first": ["circle", "square", "triangle", "star", "cross"]}
    assert described["available"] == ["scores", "layers", "gradients", "operations"]
    assert described["conversion"] is None


def test_description_of_a_function() -> None:
    described = describe_model(cs.Model(lambda batch: np.ones((len(batch), 2)), input=cs.ImageInput(size=8)))
    assert described["available"] == ["scores"]
    assert "function" in described["limited"]


@pytest.mark.parametrize(
    ("option", "sentence"),
    [("output=7", "has no part 7; it is a Tensor"), ("task=detection", "no output for task='detection'")],
)
def test_an_output_that_is_not_what_the_address_says_is_an_error(option: str, sentence: str) -> None:
    with pytest.raises(OutputError, match=sentence):
        describe_model(cs.load(f"bundled:digits?{option}"))


def test_labels_of_another_number_than_the_outputs_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    with pytest.raises(OutputError, match="has 2 names for the 10 outputs"):
        describe_model(cs.load("bundled:digits", labels=tmp_path / "labels.txt"))


def test_tasks_follow_the_shape_and_the_meaning_of_the_output() -> None:
    spec = cs.ImageInput(size=8)
    dense = cs.Model(torch.nn.Conv2d(3, 2, 3), input=spec)
    number = cs.Model(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 1)), input=spec, meaning="value")
    unknown = cs.Model(torch.nn.Linear(3, 2))
    tasks = [describe_model(model)["task"] for model in (dense, number, unknown)]
    assert tasks == ["segmentation", "regression", "unknown until an input is given"]
    assert "input shape" in describe_model(unknown)["failure"]
