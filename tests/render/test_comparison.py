"""Pictures of comparisons: one scale per column, rows of lenses, agreement and warnings."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import convscope as cs
from convscope.engine.statistics.map_similarity import difference
from convscope.render.palette import opaque_colours
from convscope.render.scale import scale_of
from convscope.values import Comparison
from tests import networks_of_several_inputs
from tests.lens_calls import DrawnText
from tests.render.example_values import attribution


def test_a_column_of_a_comparison_shares_one_scale() -> None:
    weak, strong = attribution(), replace(attribution(), values=10 * attribution().values)
    shared = scale_of([weak, strong])
    assert shared.limit > 5 * scale_of([weak]).limit
    alone = Comparison(rows=((weak,),)).picture().pixels
    beside = Comparison(rows=((weak,), (strong,))).picture().pixels
    assert not np.array_equal(beside[150:300, 300:480], alone[150:300, 300:480])


def test_more_than_six_lenses_wrap_to_a_second_band() -> None:
    six, seven = (Comparison(rows=((attribution(),) * n,)).picture().pixels.shape for n in (6, 7))
    assert seven[1] <= six[1]  # the agreement stands beside the last lens
    assert seven[0] > six[0] + 100


def test_among_several_networks_random_weights_are_said_by_name(drawn_texts: list[DrawnText]) -> None:
    models = [cs.load("bundled:digits"), cs.load("bundled:digits?weights=none")]
    cs.compare(models, "sample:digits/3", "saliency").picture()
    warnings = [words for words in drawn_texts if "Random weights" in words]
    assert warnings == ["⚠ bundled:digits?weights=none: Random weights: the network has learned nothing."]


@pytest.mark.parametrize("columns", [2, 12])
def test_the_agreement_has_a_scale_in_maps_and_a_line_on_how_to_read_it(
    columns: int, drawn_texts: list[DrawnText]
) -> None:
    row = tuple(attribution() for _ in range(columns))
    pixels = Comparison(rows=(row,)).picture().pixels
    written = list(drawn_texts)
    assert {"none", "all", "0", str(columns), f"0 … {columns} maps"} <= set(written)
    assert any(words.startswith(f"Agreement: in how many of the {columns} maps a place is") for words in written)
    assert all(
        (pixels == opaque_colours(False)[step]).all(-1).any() for step in range(0, 256, 16)
    )  # the bar has every colour


def test_without_agreement_there_is_no_scale_of_it(drawn_texts: list[DrawnText]) -> None:
    Comparison(rows=((attribution(),),)).picture()
    assert not any("Agreement" in words for words in drawn_texts)


def test_lenses_of_a_signal_go_below_each_other() -> None:
    signal = attribution((720,))
    two, four = (Comparison(rows=((signal,) * n,)).picture().pixels.shape for n in (2, 4))
    assert four[1] == two[1] < 1700
    assert four[0] > two[0] + 150


def test_rows_of_tables_are_compared_by_their_numbers(drawn_texts: list[DrawnText]) -> None:
    model = networks_of_several_inputs.rows()
    compared = cs.compare(model, [[1, 2, 3, 4], [4, 3, 2, 1]], lenses=["saliency", "gradient-x-input"])
    assert compared.rank_similarity is not None
    assert compared.structural_similarity is not None
    for shown, function in zip(compared.rows[0], (cs.saliency, cs.gradient_x_input), strict=True):
        assert shown.channels is not None
        assert torch.equal(shown.channels, function(model, [1, 2, 3, 4]).channels)
    first, second = (spearmanr(*(cell.channels.tolist() for cell in row)).statistic for row in compared.rows)
    assert float(compared.rank_similarity[0, 1]) == pytest.approx((first + second) / 2)
    assert bool(compared.structural_similarity.isnan().all()), "the numbers of a row have no neighbours"
    compared.picture()
    assert any(words.startswith("Bars to the right speak for the target") for words in drawn_texts)
    assert not any(words.startswith(("Agreement", "±")) for words in drawn_texts)


def test_the_difference_of_two_rows_is_that_of_their_numbers() -> None:
    model = networks_of_several_inputs.rows()
    first, second = (cs.gradient_x_input(model, row) for row in ([1, 2, 3, 4], [4, 3, 2, 1]))
    shown = difference(first, second)
    assert shown.channels is not None
    assert torch.allclose(shown.channels, first.channels - second.channels)
    assert float(shown.values) == pytest.approx(float(shown.channels.sum()), abs=1e-6)
