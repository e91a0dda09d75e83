"""Bundled digits: held-out digits are separate and cannot be changed."""

import numpy as np
import pytest

from convscope.samples import digits


def test_the_held_out_digits_are_apart_from_the_training_digits() -> None:
    from sklearn.datasets import load_digits

    training, held_out = digits.training_set(), digits.held_out_set()
    assert len(held_out.images) >= 360
    assert len(training.images) + len(held_out.images) == len(load_digits().images)
    known = {image.tobytes() for image in training.images}
    assert not any(image.tobytes() in known for image in held_out.images)


def test_a_held_out_digit_is_one_of_the_set() -> None:
    image, label = digits.held_out(5)
    assert image.shape == (8, 8)
    assert image.dtype == np.uint8
    assert np.array_equal(image, digits.held_out_set().images[5])
    assert digits.CLASSES[label] == str(digits.held_out_set().labels[5])


def test_the_digits_cannot_be_changed_for_others() -> None:
    with pytest.raises(ValueError, match="read-only"):
        digits.held_out(0)[0][0, 0] = 1


@pytest.mark.parametrize("index", [-1, 400])
def test_a_digit_that_does_not_exist_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match=f"no held-out digit {index}; there are 400"):
        digits.held_out(index)


def test_the_file_holds_the_held_out_digits_of_the_split() -> None:
    expected, held_out = digits.split()["held out"], digits.held_out_set()
    assert np.array_equal(held_out.images, expected.images)
    assert held_out.images.dtype == expected.images.dtype
    assert np.array_equal(held_out.labels, expected.labels)
    assert held_out.labels.dtype == expected.labels.dtype
