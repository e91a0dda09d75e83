"""Pictures over tokens: each on the colour of its number; below the positions of a layer; positions if unknown."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

import convscope as cs
from convscope.render.palette import opaque_colours
from convscope.render.token_panel import plain_tokens
from tests.lens_calls import DrawnText
from tests.networks_of_several_inputs import word_scorer


def test_tokens_are_drawn_on_the_colours_of_their_numbers(drawn_texts: list[DrawnText]) -> None:
    value: Any = cs.saliency(word_scorer(), "not very good")
    shown = replace(value, values=torch.tensor([-1.0, 0.0, 1.0]))
    pixels = shown.picture().pixels
    assert {"not", "very", "good", "−1", "0", "1"} <= set(drawn_texts)
    for index in (0, 254):  # the ends of the scale
        assert (pixels == opaque_colours(True)[index]).all(-1).sum() > 200
    drawn_texts.clear()
    replace(value, photo=None).picture()
    assert {"0", "1", "2"} <= set(drawn_texts)


def test_many_tokens_go_below_each_other_and_through_the_map_of_a_layer(drawn_texts: list[DrawnText]) -> None:
    value: Any = cs.saliency(word_scorer(), "not very good film bad " * 8)
    assert value.picture().pixels.shape[0] > cs.saliency(word_scorer(), "good").picture().pixels.shape[0]  # type: ignore[union-attr]
    drawn_texts.clear()
    states: Any = cs.feature_maps(word_scorer(), "not very good film", layer="gru", gates=True)
    states.picture()
    assert list(map(str, drawn_texts)).count("film") == 2 + 2 * 4, "the input, below the output and below each series"
    assert np.asarray(states.photo).tolist() == ["not", "very", "good", "film"]


def test_a_prediction_shows_the_tokens_that_it_is_about(drawn_texts: list[DrawnText]) -> None:
    cs.predict(word_scorer(), "not very good").picture()  # type: ignore[union-attr]
    assert {"not", "very", "good"} <= set(drawn_texts)


def test_a_comparison_shows_tokens_below_all_lenses_and_the_agreement(drawn_texts: list[DrawnText]) -> None:
    comparison = cs.compare(word_scorer(), "not very good", ["saliency", "gradient-x-input"])
    comparison.picture()
    assert list(map(str, drawn_texts)).count("very") == 3
    assert "samples" not in drawn_texts


def test_nothing_stands_below_a_short_text() -> None:
    assert plain_tokens(["good", "film"], 220).height < 2 * plain_tokens(["good"], 220).height < 100
