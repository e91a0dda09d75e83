"""Sequences of tokens: words and numbers in any form, padding, and tokens that are not in the vocabulary."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.engine.inputs.preparation import read_images
from convscope.errors import InputError

WORDS = ("<pad>", "good", "bad")


def prepared(given: Any, **options: Any) -> Any:
    spec = cs.TokenInput(**{"vocabulary": WORDS, **options})
    return read_images(given, spec, device=torch.device("cpu"), dtype=torch.float32)


def test_a_sequence_in_any_form_is_the_same_sequence(tmp_path: Path) -> None:
    np.save(tmp_path / "tokens.npy", np.array([1, 2, 1]))
    (tmp_path / "tokens.txt").write_text("good bad\ngood", "utf-8")
    files = [str(tmp_path / "tokens.npy"), str(tmp_path / "tokens.txt")]
    for given in ("good bad good", ["good", "bad", "good"], [1, 2, 1], torch.tensor([1, 2, 1]), *files):
        sequence = prepared(given)
        assert sequence.single
        assert sequence.tensor.tolist() == [[[1.0, 2.0, 1.0]]]
    assert prepared([[1, 2], ["bad", "bad"]]).tensor.tolist() == [[[1.0, 2.0]], [[2.0, 2.0]]]
    assert prepared("2 0", vocabulary=3).tensor.tolist() == [[[2.0, 0.0]]]


def test_sequences_are_padded_and_cut_to_the_length_of_the_network() -> None:
    assert prepared("good", length=3, padding="<pad>").tensor.tolist() == [[[1.0, 0.0, 0.0]]]
    cut = prepared("good bad good", length=2)
    assert cut.tensor.tolist() == [[[1.0, 2.0]]]
    assert cut.remark == "the sequence has 3 tokens: the network takes the first 2"
    assert prepared("good fine", unknown="<pad>").tensor.tolist() == [[[1.0, 0.0]]]


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([1, 7], {}, "token 7 at position 1 is not in the vocabulary of 3 tokens, numbered 0 to 2"),
        ([-1], {}, "token -1 at position 0"),
        ("good goood", {}, "token 'goood' is not in the vocabulary of 3 tokens; did you mean 'good'"),
        ("good", {"vocabulary": 3}, "token 'good' is a word, and the vocabulary has none"),
        ("good", {"length": 3}, "the sequence has 1 tokens, and the network takes 3: say which token fills it up"),
        ("", {}, "the text holds no token"),
        (torch.tensor([1.0, 2.0]), {}, "tokens are whole numbers, got a tensor of float32"),
        (np.array([0.5]), {}, "a list of words or of whole numbers, got an array of float64"),
        ([[1, 2], [1]], {}, "the batch is ragged: its sequences have 1 to 2 tokens; say how long they are made"),
        ([[1], []], {}, "the sequence holds no token: it is empty"),
        ([], {}, "the sequence holds no token: it is empty"),
        ([1.5, 2.0], {}, "tokens are whole numbers or words, got a list of float"),
        ("1,0,7", {}, "token 7 at position 2 is not in the vocabulary of 3 tokens, numbered 0 to 2"),
        ("zebra", {}, "'zebra' is not in the vocabulary of 3 tokens: its tokens are <pad>, good, bad"),
        ("sample:shapes/7", {}, "^sample:shapes/7 has the axes height, width, this network takes tokens$"),
        ("words.txt", {}, "no such file, and no token of the vocabulary: 'words.txt'"),
        ("good", {"vocabulary": ("a", "a")}, "the vocabulary holds a token twice"),
        ("good", {"vocabulary": 0}, "vocabulary is a list of tokens"),
        ("good", {"padding": "none"}, "padding 'none' is not in the vocabulary"),
        ("good", {"length": 0}, "length is the number of tokens of one input"),
    ],
)
def test_what_is_no_sequence_is_refused(given: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared(given, **options)


def test_a_file_holds_one_sequence(tmp_path: Path) -> None:
    np.save(tmp_path / "row.npy", np.array([[1, 2, 1]]))
    np.save(tmp_path / "two.npy", np.array([[1, 2, 1], [2, 2, 2]]))
    assert prepared(str(tmp_path / "row.npy")).tensor.tolist() == [[[1.0, 2.0, 1.0]]]
    with pytest.raises(InputError, match=r"two.npy' has the shape \(2, 3\), and a file of tokens holds one sequence"):
        prepared(str(tmp_path / "two.npy"))
