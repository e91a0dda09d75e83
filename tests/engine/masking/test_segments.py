"""Segments of images: numbered parts for every method, superpixels at edges, even grids."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope.engine.masking.segments import Segmentation, grid, segment_images


@pytest.mark.parametrize("segmenter", ["slic", "quickshift", "grid"])
@pytest.mark.parametrize("shape", [(3, 40, 60), (2, 30, 30), (1, 50), (2, 8, 10, 12)])
def test_every_segmenter_cuts_every_input_into_parts_numbered_from_zero(segmenter: str, shape: tuple) -> None:
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    for segmentation in segment_images(cs.Model(nn.Identity()).prepare(x), 12, segmenter):
        assert segmentation.labels.shape == shape[1:]
        assert segmentation.labels.unique().tolist() == list(range(segmentation.count))
        assert 2 <= segmentation.count <= 24
        assert int(segmentation.sizes.sum()) == segmentation.labels.numel()


def test_quickshift_gives_as_many_parts_as_were_asked_for() -> None:
    model = cs.load("bundled:shapes")
    for parts in (5, 30, 100):
        (segmentation,) = segment_images(model.prepare("sample:shapes/7"), parts, "quickshift")
        assert segmentation.count == parts


def test_superpixels_follow_the_edges_of_the_picture() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, 13:] = (250, 40, 40)
    model = cs.Model(nn.Identity(), input=cs.ImageInput(size=32))
    for segmenter in ("slic", "quickshift"):
        (segmentation,) = segment_images(model.prepare(picture), 8, segmenter)
        assert not set(segmentation.labels[:, :12].unique().tolist()) & set(
            segmentation.labels[:, 14:].unique().tolist()
        )


@pytest.mark.parametrize("extent", [(7,), (16, 16), (10, 40), (6, 8, 10)])
def test_a_grid_is_as_even_as_it_can_be(extent: tuple[int, ...]) -> None:
    labels = grid(extent, 6)
    sizes = torch.bincount(labels.flatten())
    assert 4 <= len(sizes) <= 9
    assert int(sizes.max()) <= 4 * int(sizes.min())


def test_painting_spreads_a_number_over_its_part() -> None:
    segmentation = Segmentation(torch.tensor([[0, 0, 1], [0, 2, 1]]), 3)
    spread = segmentation.to_map(torch.tensor([3.0, 4.0, -5.0]))
    assert spread.tolist() == [[1, 1, 2], [1, -5, 2]]
    assert float(spread.sum()) == 2


def test_each_image_of_a_batch_may_have_a_cut_of_its_own(model: cs.Model, pictures: list[np.ndarray]) -> None:
    labels = torch.stack([grid((16, 16), parts) for parts in (4, 9, 16)])
    images: list[Any] = [*pictures]
    batch = cs.kernel_shap(model, images, segments=labels, samples=20)
    for attribution, picture, image_labels in zip(batch, images, labels, strict=True):
        single = cs.kernel_shap(model, picture, segments=image_labels, samples=20)
        torch.testing.assert_close(
            attribution.values, single.values, atol=1e-5 * float(single.values.abs().max()), rtol=0
        )
