"""Scales: their ends, colours, ticks and limits, and how numbers are written."""

import numpy as np
import pytest
import torch

from convscope import render
from convscope.errors import ParameterError
from convscope.render.palette import BACKGROUNDS, opaque_colours
from convscope.render.scale import format_number, legend_of, scale_of
from convscope.values import Attribution
from tests.lens_calls import DrawnText
from tests.render.example_values import VALUES, attribution, unsigned


@pytest.mark.parametrize("name", [name for name, value in VALUES.items() if not isinstance(value, render.ANSWERS)])
def test_the_scale_is_always_drawn_from_end_to_end(name: str) -> None:
    value = VALUES[name]
    maps = [value] if isinstance(value, Attribution) else list(value)  # type: ignore[call-overload]
    pixels = value.picture().pixels
    for attribution_map in maps:
        for end in (0, -1):
            assert (pixels == opaque_colours(attribution_map.signed)[end]).all(-1).any()


def test_numbers_and_words_stand_at_the_ends_of_the_scale(drawn_texts: list[DrawnText]) -> None:
    value = attribution()
    value.picture()
    written = set(drawn_texts)
    limit = scale_of([value]).limit
    assert {format_number(limit), format_number(-limit), "0", "for", "against"} <= written


def test_a_signed_scale_is_symmetric_and_outliers_do_not_blank_the_rest() -> None:
    values = torch.linspace(-1, 0.5, 10_000).reshape(100, 100)
    values[0, 0] = 1000.0
    scale = scale_of([attribution(values=values)])
    assert 0.9 < scale.limit < 1
    assert scale.peak == 1000
    ticks = legend_of(scale).ticks
    assert [place for place, _ in ticks] == [0, 0.25, 0.5, 0.75, 1]
    assert ticks[0][1] == "−" + ticks[-1][1]
    assert "up to 1000" in scale.clipping_note()


def test_a_map_with_one_place_in_a_thousand_is_scaled_to_its_peak() -> None:
    values = torch.zeros(100, 100)
    values[3, 4] = 2.0
    assert scale_of([attribution(values=values)]).limit == 2


def test_the_same_number_has_the_same_colour_on_both_sides_of_zero() -> None:
    colours = opaque_colours(True).astype(int)
    assert len(colours) == 255
    assert tuple(colours[127]) == BACKGROUNDS[True]
    lightness = colours @ np.array([0.2126, 0.7152, 0.0722])
    assert np.abs(lightness[:127] - lightness[:127:-1]).max() < 26
    assert (np.diff(lightness[:128]) > 0).all()


def test_an_unsigned_scale_begins_at_zero_and_grows_brighter() -> None:
    scale = scale_of([unsigned()])
    assert scale.colour_indices(np.zeros((1, 1), np.float32))[0, 0] == 0
    assert legend_of(scale).ticks[0] == (0, "0")
    lightness = opaque_colours(False) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -1).all()
    assert (np.diff(lightness[::16]) > 0).all()


def test_limit_fixes_the_scale_so_that_pictures_can_be_compared() -> None:
    legend = render.legend(attribution(), limit=4)
    assert legend.ticks[-1] == (1, "4")
    assert attribution().picture(limit=4).pixels.any()
    with pytest.raises(ParameterError, match="limit is the magnitude"):
        attribution().picture(limit=-1)


def test_numbers_are_written_for_people() -> None:
    written = [format_number(x) for x in (0.0, -0.0, 1234.5, -0.00001234, 17.36, 1e6)]
    assert written == ["0", "0", "1234", "−1.23·10⁻⁵", "17.4", "1·10⁶"]
