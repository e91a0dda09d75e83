"""Long series stay within their bound and keep their extremes; a resumed training replaces what it repeats."""

import math

import numpy as np

from convscope.training.store.series import MAX_POINTS, Series, joined


def series(points: list[tuple[int, float, float]]) -> Series:
    numbers = Series()
    for point in points:
        numbers.append(*point)
    return numbers


def test_a_thinned_series_keeps_its_bound_its_peaks_and_nan() -> None:
    numbers = Series()
    for step in range(5 * MAX_POINTS):
        value = 1e6 if step == 1234 else -1e6 if step == 45678 else math.nan if step == 99999 else math.sin(step)
        numbers.append(step, float(step), value)
    assert len(numbers) < 2 * MAX_POINTS
    assert numbers.count == 5 * MAX_POINTS
    for step in (1234, 45678, 99999):
        assert step in numbers.steps
    assert np.isnan(numbers.values).sum() == 1
    assert (np.diff(numbers.steps) > 0).all()


def test_steps_that_were_repeated_have_the_later_numbers() -> None:
    first = series([(1, 10.0, 0.9), (2, 11.0, 0.8), (3, 12.0, 0.7)])
    resumed, replaced = joined([first, series([(2, 20.0, 0.6), (3, 21.0, 0.5)])])
    assert replaced == 2
    assert resumed.steps.tolist() == [1, 2, 3]
    assert resumed.values.tolist() == [0.9, 0.6, 0.5]


def test_a_file_of_earlier_steps_comes_first_whatever_the_clock_says() -> None:
    resumed = series([(3, 1.0, 0.3), (4, 2.0, 0.2)])
    whole, replaced = joined([resumed, series([(1, 10.0, 0.9), (2, 11.0, 0.8)])])
    assert (whole.steps.tolist(), whole.values.tolist()) == ([1, 2, 3, 4], [0.9, 0.8, 0.3, 0.2])
    assert replaced == 0
