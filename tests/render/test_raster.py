"""Pixels of maps and overlays: opacity, size and enlargement."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope import render
from convscope.errors import ParameterError
from convscope.render.palette import BACKGROUNDS, SCALES, ink_colours
from convscope.render.raster import enlarge, map_pixels
from convscope.render.scale import map_values, scale_of
from convscope.values import Attribution
from tests.render.example_values import attribution, unsigned


@pytest.mark.parametrize("value", [attribution(), unsigned()], ids=["signed", "unsigned"])
def test_the_heat_on_the_scales_ground_is_the_map(value: Attribution, tmp_path: Path) -> None:
    (tmp_path / "heat.png").write_bytes(render.overlay_png(value))
    (tmp_path / "map.png").write_bytes(render.map_png(value))
    heat = Image.open(tmp_path / "heat.png")
    assert heat.mode == "P"
    ground = Image.new("RGBA", heat.size, (*BACKGROUNDS[value.signed], 255))
    laid = np.asarray(Image.alpha_composite(ground, heat.convert("RGBA")).convert("RGB"), int)
    assert np.abs(laid - np.asarray(Image.open(tmp_path / "map.png"), int)).max() <= 2


def test_zero_is_no_ink_and_the_ends_are_nearly_opaque() -> None:
    for signed, zero in ((True, 127), (False, 0)):
        assert ink_colours(signed)[zero, 3] == 0
        assert ink_colours(signed)[-1, 3] > 230
        assert len(SCALES[signed]) % 2 == 1


def test_the_heat_of_a_large_map_can_be_had_smaller_and_only_for_images() -> None:
    with Image.open(io.BytesIO(render.overlay_png(attribution((100, 50), photo=None), max_side=20))) as image:
        assert image.size == (10, 20)
    with pytest.raises(ParameterError, match="3 axes"):
        render.overlay_png(attribution((5, 6, 7)))


def test_small_inputs_are_enlarged_by_whole_pixels() -> None:
    tiny = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    large = enlarge(tiny, 400)
    assert large.shape == (400, 400, 3)
    assert np.array_equal(large[25::50, 25::50], tiny)
    assert enlarge(np.zeros((1000, 500, 3), np.uint8), 400).shape == (400, 200, 3)


def test_a_photo_of_another_size_is_brought_to_the_map() -> None:
    assert attribution(photo=np.zeros((48, 64, 3), np.uint8)).picture().pixels.any()


def test_raw_numbers_are_left_alone() -> None:
    value = attribution()
    before = value.values.clone()
    value.picture()
    assert torch.equal(value.values, before)
    assert map_pixels(map_values(value), scale_of([value])).dtype == np.uint8
