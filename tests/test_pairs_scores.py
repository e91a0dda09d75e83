"""The table of docs/attention.md: how often lenses show both objects on which an answer depends, measured again."""

import re

import pytest
import torch

from tests.marks import all_but
from tests.pairs_scores import END, LENSES, PAGE, SCENES, START, measure, shows_both

NEAR = 1
"""By how many scenes another machine's rounding may change a count."""


def counts() -> dict[str, int]:
    written = PAGE.read_text("utf-8").partition(START)[2].partition(END)[0]
    return {lens: int(count) for lens, count in re.findall(r"\| `([\w-]+)` \| (\d+) \|", written)}


@pytest.mark.parametrize("lens", all_but(("occlusion",), LENSES))
def test_a_lens_shows_both_objects_as_often_as_the_page_says(lens: str) -> None:
    assert abs(measure(lens) - counts()[lens]) <= NEAR


@pytest.mark.parametrize("layer", ["blocks.0", "blocks.2.norm1"])
def test_grad_cam_finds_both_at_other_layers_as_often_as_the_page_says(layer: str) -> None:
    after = " ".join(PAGE.read_text("utf-8").partition(END)[2].split())
    written = re.search(rf"`{re.escape(layer)}`[^`]*? in (\d+)", after)
    assert written
    assert abs(measure("grad-cam", layer=layer) - int(written[1])) <= NEAR


def test_the_best_lens_stands_first_and_can_be_believed() -> None:
    ordered = list(counts().values())
    assert ordered == sorted(ordered, reverse=True)
    assert ordered[0] > 0.75 * len(SCENES)


def test_two_places_are_found_only_where_both_objects_have_one() -> None:
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 10:20, 10:20] = masks[1, 40:50, 40:50] = True
    both = masks.any(0).float()
    assert shows_both(both, masks)
    assert not shows_both(masks[0].float(), masks)
    outside = torch.zeros(64, 64)
    outside[10:20, 48:58] = 2
    assert not shows_both(both + outside, masks)
