"""Marks at the place with which a map compares all others: in the image, in the second image, and along a signal."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope import render
from convscope.render.canvas import Canvas
from convscope.render.panel import Panel
from convscope.render.panels import panels_of
from convscope.render.place_marks import mark_spans
from convscope.render.scale import scale_of
from convscope.values import Attribution
from tests.render.example_values import PHOTO, attribution

PLACE, MATCH = (0.25, 0.75), (0.5, 0.125)


def similarity(**fields: Any) -> Attribution:
    return attribution(**{"target": "", "target_index": None, "place": PLACE, **fields})


def corners(panel: Panel) -> list[tuple[float, ...]]:
    """The shares at which a panel has the black and white square of a mark, read from what it draws."""
    canvas, bare = (Canvas("light", 600) for _ in range(2))
    panel.draw(canvas, 20, 20)
    Panel("", panel.pixels).draw(bare, 20, 20)
    canvas.y = bare.y = 20.0 + panel.height
    pixels = [np.asarray(page.to_picture("").pixels, int)[20:, 20:] for page in (canvas, bare)]
    changed = np.argwhere((pixels[0] != pixels[1]).any(-1))
    if not len(changed):
        return []
    (top, left), (bottom, right) = changed.min(0), changed.max(0)
    assert bottom - top == right - left == 18
    drawn = {tuple(pixel) for pixel in pixels[0][(pixels[0] != pixels[1]).any(-1)].tolist()}
    assert drawn == {(0, 0, 0), (255, 255, 255)}
    return [((top + bottom) / 2 / panel.height, (left + right) / 2 / panel.pixels.shape[1])]


def drawn_panels(value: Attribution) -> list[Panel]:
    return panels_of(value, scale_of([value]), 320)


def test_a_place_is_marked_in_the_image_and_in_both_maps() -> None:
    panels = drawn_panels(similarity())
    assert [corners(panel) for panel in panels] == [[PLACE]] * 3
    assert all(panel.caption.endswith(", the place marked") for panel in panels)
    assert [corners(panel) for panel in drawn_panels(attribution())] == [[]] * 3


def test_of_a_place_in_a_second_image_that_is_shown_and_the_match_is_marked() -> None:
    value = similarity(guide=PHOTO[::-1], matches={"layer3": MATCH})
    panels = drawn_panels(value)
    assert [corners(panel) for panel in panels] == [[PLACE], [MATCH], [MATCH], [MATCH]]
    assert (panels[0].pixels == panels[1].pixels[::-1]).all()
    words = "Marked: the chosen place at the top right of the second input, and its match at the middle left."
    assert value.picture().alt.endswith(words)


def test_along_a_signal_the_place_is_a_line() -> None:
    signal = np.zeros((1, 40), np.float32)
    value = similarity(shape=(40,), place=(0.25,), photo=signal)
    canvas = Canvas("light", 900)
    (panel,) = drawn_panels(value)
    panel.draw(canvas, 20, 20)
    canvas.y = 20.0 + panel.height
    column = np.asarray(canvas.to_picture("").pixels)[20 : 20 + panel.height]
    left = panel.width - panel.pixels.shape[1] + 20
    assert (column[:40, left + panel.pixels.shape[1] // 4] == 0).all()


def test_pages_mark_the_place_over_the_map() -> None:
    assert mark_spans(similarity()).count("top: 25.000%; left: 75.000%") == 1
    assert mark_spans(attribution()) == ""
    assert render.alt(similarity()).endswith("Marked: the chosen place at the top right.")


def test_places_are_kept_in_files(tmp_path: Path) -> None:
    value = similarity(guide=PHOTO, matches={"layer3": MATCH})
    loaded = Attribution.load(value.save(tmp_path / "value.npz"))
    assert (loaded.place, loaded.matches) == (value.place, value.matches)
    np.testing.assert_array_equal(loaded.guide, PHOTO)


@pytest.mark.parametrize("shape", [(5, 6, 7)])
def test_slices_of_a_volume_have_no_marks(shape: tuple[int, ...]) -> None:
    assert all(not panel.marks for panel in drawn_panels(similarity(shape=shape, place=(0.5, 0.5, 0.5))))
