"""The picture of detections: numbered boxes over the input, and a row for each."""

import numpy as np

from convscope.render import answers, explained_by_default, picture
from convscope.render.detections import PANEL_SIDE
from tests.render.example_values import PHOTO, detections, prediction, rgb, segmentation


def test_boxes_of_a_class_have_one_colour_and_their_lines_are_drawn() -> None:
    value = detections(boxes=((2, 3, 12, 20), (14, 5, 30, 22), (0, 20, 4, 24)))
    cat, dog, other_cat = answers(value)
    assert cat.colour == other_cat.colour != dog.colour
    assert [row.target for row in answers(value)] == ["box:0", "box:1", "box:2"]
    pixels = picture(value, bare=True).pixels
    factor = PANEL_SIDE / PHOTO.shape[1]
    row = pixels[int(12.5 * factor)]  # a line across both larger boxes
    for colour, edges in ((cat.colour, (2, 12)), (dog.colour, (14, 30))):
        close = np.abs(row.astype(int) - np.array(rgb(colour))).max(1) < 40
        for edge in edges:
            assert close[round(edge * factor) - 4 : round(edge * factor) + 5].any()


def test_boxes_beyond_the_input_are_drawn_at_its_border() -> None:
    assert picture(detections()).pixels.any()


def test_what_is_explained_without_a_target_is_the_first_row_that_is_no_background() -> None:
    rows = [explained_by_default(value) for value in (prediction(), segmentation(), detections())]
    assert [row.key for row in rows if row is not None] == [3, 11, 0]
    assert explained_by_default(detections(labels=(), indices=(), scores=(), boxes=())) is None
