"""Pictures of attributions of several inputs: each with its name; one scale and totals where units agree."""

from typing import Any

import convscope as cs
from tests.lens_calls import DrawnText
from tests.networks_of_several_inputs import FEATURES, full_sample, image_and_table, linear_in_each, photo_and_row


def test_inputs_are_drawn_below_each_other_with_the_names_of_features(drawn_texts: list[DrawnText]) -> None:
    value: Any = cs.saliency(image_and_table(), photo_and_row())
    assert "maps of photo, table" in value.picture().alt
    written = "\n".join(drawn_texts)
    assert all(name in written for name in ("photo", "table", *FEATURES))
    assert "sum of the map over each input" not in written, "gradients of different inputs have different units"


def test_inputs_whose_numbers_have_one_unit_share_a_scale_and_have_totals(drawn_texts: list[DrawnText]) -> None:
    value: Any = cs.integrated_gradients(linear_in_each(), full_sample(), steps=2)
    value.picture()
    written = list(map(str, drawn_texts))
    assert any(text.startswith("sum of the map over each input") for text in written)
    ends = [text for text in written if text in ("for", "against")]
    assert len(ends) == 2 * 3, "the photo, the series and the tokens have a colour bar, the table has bars"
    assert {"not", "very", "good"} <= set(written)


def test_a_given_scale_is_that_of_all_inputs_with_one_unit(drawn_texts: list[DrawnText]) -> None:
    value: Any = cs.integrated_gradients(linear_in_each(), full_sample(), steps=2)
    cs.render.picture(value, limit=12.5)
    assert list(map(str, drawn_texts)).count("12.5") == 3, "the photo, the series and the tokens"
    drawn_texts.clear()
    cs.render.picture(cs.saliency(image_and_table(), photo_and_row()), limit=12.5)
    assert "12.5" not in map(str, drawn_texts), "gradients of different inputs have different units"
