"""Scenes that several tests share."""

import pytest

from convscope.samples import shapes

SCENES = 300


@pytest.fixture(scope="module")
def scenes() -> list[shapes.Scene]:
    return [shapes.scene(seed) for seed in range(SCENES)]
