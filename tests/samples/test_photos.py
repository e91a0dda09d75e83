"""Bundled photographs are colour images."""

import numpy as np
import pytest

from convscope.samples import photos


@pytest.mark.parametrize("name", photos.NAMES)
def test_photographs_are_colour_pictures(name: str) -> None:
    picture = photos.photo(name)
    assert picture.shape == (427, 640, 3)
    assert picture.dtype == np.uint8


def test_an_unknown_photograph_names_those_there_are() -> None:
    with pytest.raises(LookupError, match="no photograph 'cat'; there are china and flower"):
        photos.photo("cat")
