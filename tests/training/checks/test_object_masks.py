"""Masks of samples and of one's own, in the size of the prepared images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.training.checks.object_masks import given_masks, masks_of


def test_samples_with_masks_have_them_and_others_have_none() -> None:
    shape = torch.Size((2, 3, 96, 96))
    masks = masks_of(["sample:shapes/1", "sample:shapes/2"], shape)
    assert masks is not None
    own = cs.sample("shapes/2").mask
    assert own is not None
    assert np.array_equal(masks[1].numpy(), own)
    assert masks_of(["sample:digits/1", "sample:shapes/2"], shape) is None
    assert masks_of(["cat.png", "sample:shapes/2"], shape) is None
    smaller = masks_of(["sample:shapes/1"], torch.Size((1, 3, 48, 48)))
    assert smaller is not None
    assert torch.equal(smaller[0], masks[0, ::2, ::2])


def test_there_is_one_mask_for_each_image() -> None:
    masks = np.eye(4)[None].repeat(2, 0)
    assert torch.equal(given_masks(masks, torch.Size((2, 3, 4, 4)))[1], torch.eye(4) > 0)
    for wrong in (masks[:1], masks[0]):
        with pytest.raises(cs.ConvScopeError, match="masks are one array"):
            given_masks(wrong, torch.Size((2, 3, 4, 4)))


def test_masks_lie_in_a_folder_under_the_names_of_the_images(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for name, column in (("cat/first.png", 0), ("second.bmp", 3)):
        pixels = np.zeros((4, 4), np.uint8)
        pixels[:, column] = 255
        Image.fromarray(pixels).save(tmp_path / name)
    masks = given_masks(tmp_path, torch.Size((2, 3, 4, 4)), ["photos/second.jpg", "cat/first.jpg"])
    assert masks[:, 0].int().tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]
    with pytest.raises(cs.ConvScopeError, match=r"there is no mask of 'third\.jpg'"):
        given_masks(tmp_path, torch.Size((1, 3, 4, 4)), ["third.jpg"])
    with pytest.raises(cs.ConvScopeError, match="name the folder of the masks"):
        given_masks(tmp_path / "masks", torch.Size((1, 3, 4, 4)), ["cat/first.jpg"])
