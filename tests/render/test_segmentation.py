"""The picture of a segmentation: classes in colour over the grey input, and their legend."""

import numpy as np

from convscope.render import answers, picture
from convscope.render.palette import class_colours
from convscope.render.segmentation import OPACITY, mask_over_photo
from tests.render.example_values import PHOTO, rgb, segmentation


def test_each_class_has_its_colour_and_the_background_none() -> None:
    value = segmentation()
    pixels = mask_over_photo(value)
    assert pixels.shape == PHOTO.shape
    classes = np.asarray(value.classes).repeat(2, 0).repeat(2, 1)
    grey = PHOTO.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    colours = {row.key: row.colour for row in answers(value)}
    assert colours[0] == ""
    for index in (0, 3, 11):
        ink = OPACITY * np.array(rgb(colours[index])) if index else 0
        expected = (grey[classes == index] * (1 - OPACITY * bool(index)))[:, None] + ink
        assert np.abs(pixels[classes == index] - expected).max() <= 1


def test_the_legend_says_how_much_each_class_covers() -> None:
    assert [(row.name, row.value_text) for row in answers(segmentation())] == [
        ("background (0)", "70.0%"),
        ("dog (11)", "17.0%"),
        ("cat (3)", "13.0%"),
    ]
    assert "dog (11) 17.0%" in picture(segmentation()).alt


def test_colours_differ_also_for_many_classes() -> None:
    assert len({*class_colours(30)}) == 30


def test_a_bare_picture_is_the_classes_alone() -> None:
    assert picture(segmentation(), bare=True).pixels.shape[1] < picture(segmentation()).pixels.shape[1]
