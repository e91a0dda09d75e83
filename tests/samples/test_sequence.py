"""Generated messages: reproducible, balanced, with an exact mask, and explained where the order that counts stands."""

from typing import Any

import numpy as np
import pytest

import convscope as cs
from convscope.errors import InputError
from convscope.samples import sequence

EVALUATED = 60


def test_a_message_is_a_function_of_its_seed_and_holds_its_order_after_the_marker() -> None:
    drawn = [sequence.message(seed) for seed in range(EVALUATED)]
    assert np.array_equal(drawn[5].tokens, sequence.message(5).tokens)
    assert [each.label for each in drawn[:8]] == [0, 1, 2, 3, 0, 1, 2, 3]
    for each in drawn:
        words = each.words
        marker = words.index(sequence.MARKER)
        assert words.count(sequence.MARKER) == 1
        assert words[marker + 1] == sequence.CLASSES[each.label]
        assert np.flatnonzero(each.mask).tolist() == [marker, marker + 1]
    elsewhere = [sum(word in sequence.CLASSES for word in each.words) > 1 for each in drawn]
    assert np.mean(elsewhere) > 0.5, "other orders stand in most messages, so that the marker has to be found"


def test_the_network_is_right_and_its_map_lies_on_the_order_that_counts() -> None:
    model = cs.load("bundled:sequence")
    drawn = [sequence.message(seed) for seed in range(EVALUATED)]
    tokens: Any = [each.tokens for each in drawn]
    predictions: Any = cs.predict(model, tokens)
    right = [p.indices[0] == each.label for p, each in zip(predictions, drawn, strict=True)]
    assert np.mean(right) > 0.97
    for values in (cs.integrated_gradients(model, tokens, steps=16), cs.gradient_x_input(model, tokens)):
        maps: Any = values
        hits = [each.mask[int(a.values.argmax())] for each, a, ok in zip(drawn, maps, right, strict=True) if ok]
        assert np.mean(hits) >= 0.9


def test_a_sample_is_a_sequence_of_words() -> None:
    sample = cs.sample("sequence/2")
    assert (sample.axes, sample.label, sample.index) == (("token",), "right", 2)
    assert sample.words[:3] == ("is", "road", "right")
    assert "<pad>" not in sample.words
    value: Any = cs.saliency(cs.load("bundled:sequence"), "sample:sequence/2")
    assert (value.record.kind, value.record.input, value.record.caveats) == ("tokens", "sample:sequence/2", ())
    words = np.asarray(value.photo).tolist()
    assert words[:6] == ["is", "road", "right", "clear", "left", "now"]
    assert words[-1] == sequence.PADDING
    with pytest.raises(InputError, match="sample:sequence/2 is no picture, but has the axes token"):
        cs.saliency(cs.load("bundled:shapes"), "sample:sequence/2")
