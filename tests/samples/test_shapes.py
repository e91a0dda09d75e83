"""Generated scenes of shapes: reproducible, balanced, with exact masks."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from convscope.samples import drawing, shapes


def test_a_scene_follows_from_its_seed_alone() -> None:
    first = shapes.scene(7)
    np.random.default_rng(0).random(5)
    shapes.scene(8)
    repeated = shapes.scene(7)
    assert np.array_equal(first.image, repeated.image)
    assert np.array_equal(first.mask, repeated.mask)
    assert not np.array_equal(first.image, shapes.scene(17).image)


def test_scenes_have_the_promised_form(scenes: list[shapes.Scene]) -> None:
    for each in scenes:
        assert each.image.shape == (96, 96, 3)
        assert each.image.dtype == np.uint8
        assert each.mask.shape == (96, 96)
        assert each.mask.dtype == np.bool_


def test_any_run_of_seeds_holds_every_class_equally_often(scenes: list[shapes.Scene]) -> None:
    assert np.bincount([each.label for each in scenes]).tolist() == [len(scenes) // 10] * len(shapes.CLASSES)
    assert {shapes.scene(seed).label for seed in range(1_000_003, 1_000_013)} == set(range(10))


def test_the_object_is_one_piece_well_inside_the_picture(scenes: list[shapes.Scene]) -> None:
    for each in scenes:
        border = np.concatenate([each.mask[0], each.mask[-1], each.mask[:, 0], each.mask[:, -1]])
        assert not border.any()
        assert 0.012 < each.mask.mean() < 0.25


def test_the_mask_is_where_the_object_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw scenes in white with a black object, without uneven light, blur and grain: the mask is what is black."""
    monkeypatch.setattr(drawing, "add_camera_effects", lambda _rng, canvas: np.round(canvas * 255).astype(np.uint8))
    monkeypatch.setattr(drawing, "object_colors", lambda _rng, _around: np.zeros((2, 3)))
    monkeypatch.setattr(drawing, "palette", lambda _rng, count: np.ones((count, 3)))
    for seed in range(30):
        scene = shapes.scene(seed)
        assert np.array_equal(scene.image.mean(axis=2) < 128, scene.mask)


def test_the_object_stands_out_from_what_surrounds_it(scenes: list[shapes.Scene]) -> None:
    """Its mean colour differs visibly, in one channel at least, from that of a narrow band around it."""
    for each in scenes:
        grown = F.max_pool2d(torch.tensor(each.mask)[None, None].float(), 9, stride=1, padding=4)[0, 0].numpy() > 0
        inside, around = each.image[each.mask].mean(axis=0), each.image[grown & ~each.mask].mean(axis=0)
        assert np.abs(inside - around).max() > 30


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        shapes.scene(-1)
