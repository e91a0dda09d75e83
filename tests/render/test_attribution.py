"""Pictures of attributions: titles, blank and broken maps, warnings, and the strongest positions in words."""

import pytest
import torch

import convscope as cs
from convscope import render
from convscope.render.palette import THEMES
from convscope.values import Comparison
from tests.lens_calls import DrawnText
from tests.render.example_values import RECORD, attribution, rgb


def test_title_source_and_reading_line_are_written(drawn_texts: list[DrawnText]) -> None:
    attribution(layers=("layer4",)).picture()
    written = "\n".join(drawn_texts)
    assert "Grad-CAM · cat (3) · score 1.5" in written
    assert "layer layer4 · net · cat.jpg · 1 forward, 1 backward, 0.10 s" in written
    assert RECORD.reads in written


def test_a_bare_picture_keeps_its_scale_and_leaves_the_words_to_the_page(drawn_texts: list[DrawnText]) -> None:
    value = attribution()
    bare = value.picture(bare=True)
    written = set(drawn_texts)
    assert {"for", "against", "map over the input"} <= written
    assert not any("Grad-CAM" in words for words in written)
    assert bare.alt == value.picture().alt


def test_a_map_about_no_target_speaks_neither_for_nor_against() -> None:
    legend = render.legend(attribution(target="", target_index=None))
    assert (legend.low, legend.high) == ("negative", "positive")


def test_a_blank_map_says_so(drawn_texts: list[DrawnText]) -> None:
    notes = {"blank": "the gradient is zero everywhere"}
    picture = attribution(values=torch.zeros(24, 32), notes=notes).picture()
    assert THEMES["light"].warning in {words.colour for words in drawn_texts if words == "blank map"}
    assert any("This map is blank: the gradient is zero everywhere." in words for words in drawn_texts)
    assert "blank" in picture.alt
    assert (picture.pixels == rgb(THEMES["light"].warning)).all(-1).any()
    drawn_texts.clear()
    Comparison(rows=((attribution(values=torch.zeros(24, 32)),),)).picture()
    assert THEMES["light"].warning in {words.colour for words in drawn_texts if words == "blank map"}


def test_a_flat_and_a_broken_map_say_so() -> None:
    flat = [note.text for note in render.notes(attribution(values=torch.ones(24, 32))) if note.warning]
    assert flat == ["This map is flat: it is 1 everywhere."]
    broken = attribution()
    broken.values[0, 0] = float("nan")
    assert any("1 numbers are NaN" in note.text for note in render.notes(broken) if note.warning)
    assert broken.picture().pixels.any()


def test_random_weights_are_said_in_the_colour_of_warnings(drawn_texts: list[DrawnText]) -> None:
    model = cs.load("bundled:digits?weights=none")
    for value in (
        cs.saliency(model, "sample:digits/3"),
        cs.predict(model, "sample:digits/3"),
        cs.compare(model, "sample:digits/3", ["saliency"]),
    ):
        drawn_texts.clear()
        value.picture(theme="dark")
        warnings = [words for words in drawn_texts if words.colour == THEMES["dark"].warning]
        assert any("Random weights: the network has learned nothing." in words for words in warnings)


@pytest.mark.parametrize(("relative", "warning"), [(0.001, False), (-0.5, True), (float("inf"), True)])
def test_a_large_completeness_gap_is_a_warning(relative: float, warning: bool) -> None:
    facts = {"completeness gap": relative * 4, "relative completeness gap": relative, "baseline score": 0.5}
    (note,) = [n for n in render.notes(attribution(notes=facts)) if "ompleteness" in n.text]
    assert note.warning == warning
    assert "from 0.5 at the baseline" in note.text


def test_the_strongest_places_are_told_in_words() -> None:
    values = torch.zeros(30, 30)
    values[2, 27], values[28, 2] = 3.0, -2.0
    alt = attribution(values=values).picture().alt
    assert "strongest “for” at the top right" in alt
    assert "strongest “against” at the bottom left" in alt


def test_a_map_enlarged_from_a_layer_says_from_what(drawn_texts: list[DrawnText]) -> None:
    attribution(layer_values={"layer4": torch.zeros(3, 4)}).picture()
    assert any(words == "map, enlarged from 3×4" for words in drawn_texts)
