"""Shapes as pixels: sharp straight edges, smooth slanted ones, interrupted lines."""

import math

import numpy as np
import pytest

from convscope.render.canvas import Canvas
from convscope.render.pixel_drawing import draw_pixels
from convscope.render.shapes import Box, Line, PlacedPixels, Polygon, Shape


def ink(*shapes: Shape) -> np.ndarray:
    """How black each pixel of a white page of 40×30 is after these shapes were drawn, from 0 to 1."""
    return 1 - draw_pixels(shapes, 40, 30, "#ffffff")[..., 0] / 255


def test_a_box_covers_exactly_its_pixels_and_its_edge_surrounds_them() -> None:
    filled = ink(Box(5, 6, 10, 4, "#000000", "none"))
    assert filled.sum() == 40
    assert filled[6:10, 5:15].all()
    assert ink(Box(5, 6, 10, 4, "none", "#000000")).sum() == 2 * 11 + 2 * 3
    assert ink(Box(5, 6, 10, 0, "#000000", "none")).sum() == 0


def test_a_straight_line_is_sharp_and_a_slanted_one_as_dark_as_it_is_long_and_wide() -> None:
    straight = ink(Line([5.5, 5.5, 20.5], [3.5, 20.5, 20.5], "#000000", 1))
    assert set(np.unique(straight)) == {0.0, 1.0}
    assert straight.sum() == 18 + 15
    slanted = ink(Line([5, 25], [5, 20], "#000000", 2))
    assert slanted.sum() == pytest.approx(2 * math.hypot(20, 15), rel=0.1)


def test_a_point_that_is_not_finite_interrupts_a_line() -> None:
    pixels = ink(Line([2.5, 10.5, math.nan, 20.5, 30.5], [5.5] * 5, "#000000", 1))
    assert pixels.sum() == 9 + 11
    assert pixels[:, 11:20].sum() == 0


def test_a_polygon_has_its_area_and_pixels_lie_where_they_were_placed() -> None:
    assert ink(Polygon([5, 25, 5], [5, 5, 25], "#000000")).sum() == pytest.approx(200, rel=0.1)
    square = np.zeros((3, 4, 3), np.uint8)
    assert ink(PlacedPixels(7, 8, square))[8:11, 7:11].all()
    transparent = np.zeros((3, 4, 4), np.uint8)
    assert ink(PlacedPixels(7, 8, transparent)).sum() == 0


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_a_vector_file_holds_the_same_shapes(kind: str) -> None:
    canvas = Canvas("light", 200)
    canvas.text(20, 20, "words")
    canvas.line([10, 90], [60, 80], colour="#000000")
    canvas.polygon([10, 20, 15], [90, 90, 99], fill="#000000")
    canvas.box(30, 90, 10, 10, fill="#000000")
    canvas.image(60, 90, np.zeros((5, 5, 3), np.uint8))
    canvas.y = 120
    assert len(canvas.to_picture("shapes").vector(kind)) > 1000  # type: ignore[arg-type]
