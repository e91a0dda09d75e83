"""Explanations by random masks, each formula written a second time from the inputs that the network was really shown.

Each function here bears the name of its lens. It gets the masks that the lens drew, which the tests read off the
inputs, and scores the masked images one by one in float64.
"""

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject

NETS = ["plain", "residual", "flatten", "signal", "volume", "digits"]


def rise(slow: Slow, start: Tensor, masks: list[Tensor], keep: float, *, centred: bool = True) -> Tensor:
    scores = [slow.score(m * slow.x + (1 - m) * start) for m in masks]
    middle = sum(scores) / len(scores) if centred else 0.0
    return sum((s - middle) * m for s, m in zip(scores, masks, strict=True)) / (len(masks) * keep)


def masks_of(seen: list[Tensor], x: Tensor, start: Tensor) -> list[Tensor]:
    """The share of the image in each input, read off the channel in which image and baseline differ most."""
    way = x.double() - start
    channel = way.abs().argmax(0, keepdim=True)
    widest = way.gather(0, channel)[0]
    return [((s.double() - start).gather(0, channel)[0]) / widest for s in seen]


def mean_colour(x: Tensor) -> Tensor:
    return x.double().flatten(1).mean(1).view(-1, *[1] * (x.ndim - 1)).expand_as(x)


def variants_seen(seen: list[Tensor], count: int, images: int) -> list[list[Tensor]]:
    """The last inputs of a run, by image: the variants, after whatever was run to settle the scores."""
    last = seen[-count * images :]
    return [last[i * count : (i + 1) * count] for i in range(images)]


@pytest.mark.parametrize("subject", NETS, indirect=True)
@pytest.mark.parametrize("centred", [True, False])
def test_rise_averages_masks_weighed_by_their_scores(subject: Subject, centred: bool) -> None:
    with inputs_seen(subject.model.module, with_gradient=False) as seen:
        maps = subject.explained("rise", samples=40, cells=4, keep=0.4, centred=centred)
    shown = variants_seen(seen, 40, len(maps))
    for found, slow, inputs in zip(maps, subject.slow, shown, strict=True):
        start = mean_colour(slow.x)
        masks = masks_of(inputs, slow.x, start)
        assert all(float(m.min()) >= -1e-4 and float(m.max()) <= 1 + 1e-4 for m in masks)
        assert relative_error(found.values, rise(slow, start, masks, 0.4, centred=centred)) < 10 * TOLERANCE


@pytest.mark.parametrize("subject", ["plain", "digits"], indirect=True)
def test_the_band_of_rise_is_that_of_a_mean_of_so_many_terms(subject: Subject) -> None:
    with inputs_seen(subject.model.module, with_gradient=False) as seen:
        maps = subject.explained("rise", samples=50)
    for found, slow, inputs in zip(maps, subject.slow, variants_seen(seen, 50, len(maps)), strict=True):
        start = mean_colour(slow.x)
        masks = torch.stack(masks_of(inputs, slow.x, start))
        scores = torch.tensor([slow.score(m * slow.x + (1 - m) * start) for m in masks])
        terms = (scores - scores.mean()).view(-1, 1, 1) * masks / 0.5
        error = terms.var(0, unbiased=False).div(49).sqrt()
        assert relative_error(found.uncertainty["band"], 1.96 * error) < 1e-3


@pytest.mark.parametrize("keep", [0.3, 0.7])
def test_a_cell_shows_the_image_as_often_as_it_is_asked_to(keep: float) -> None:
    from convscope.engine.masks import GridMasks

    masks = GridMasks((30, 41), 7, seed=3, like=torch.zeros(1)).binary(torch.arange(3000), keep)
    assert masks.shape == (3000, 30, 41)
    assert float(masks.mean()) == pytest.approx(keep, abs=0.01)
    assert float((masks.mean(0) - keep).abs().max()) < 0.05  # everywhere alike: no pixel lies on a cell's border always


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_masks_are_grids_enlarged_and_cut_where_they_say(axes: int) -> None:
    """By `torch.nn.functional.interpolate` and a slice."""
    from convscope.engine.masks import GridMasks

    extent = (20, 27, 14)[:axes]
    masks = GridMasks(extent, 5, seed=0, like=torch.zeros(1))
    grids, shifts = torch.rand(6, *[5] * axes), torch.rand(6, axes)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[axes]
    for made, grid, shift in zip(masks.enlarged(grids, shifts), grids, shifts, strict=True):
        widths = [-(-length // 5) for length in extent]
        whole = torch.nn.functional.interpolate(grid[None, None], [6 * w for w in widths], mode=mode)[0, 0]
        begin = [int(s * w) for s, w in zip(shift, widths, strict=True)]
        cut = whole[tuple(slice(b, b + length) for b, length in zip(begin, extent, strict=True))]
        torch.testing.assert_close(made, cut, atol=1e-5, rtol=0)


def test_stopping_early_gives_the_map_of_as_many_masks(pictures: list) -> None:
    from tests.conftest import picture_model
    from tests.nets import FlattenNet, seeded

    model = picture_model(seeded(FlattenNet))
    early = cs.rise(model, pictures, samples=4000, stop_when=0.3)
    for picture, one in zip(pictures, early, strict=True):
        used, widest = one.notes["masks"], float(one.uncertainty["band"].max())
        assert 32 <= used < 4000
        assert widest <= 0.3 * float(one.values.max() - one.values.min())
        assert relative_error(one.values, cs.rise(model, picture, samples=used).values) < TOLERANCE
        just_before = cs.rise(model, picture, samples=used - 32)
        assert float(just_before.uncertainty["band"].max()) > 0.3 * float(
            just_before.values.max() - just_before.values.min()
        )


@pytest.mark.parametrize("subject", ["shapes"], indirect=True)
def test_the_stability_note_is_how_maps_of_different_seeds_correlate(subject: Subject) -> None:
    maps = [subject.explained("rise", samples=200, seed=seed)[0] for seed in range(8)]
    flat = torch.corrcoef(torch.stack([m.values.flatten() for m in maps]))
    apart = flat[~torch.eye(8, dtype=torch.bool)].mean()
    noted = sum(m.notes["stability over seeds"] for m in maps) / 8
    assert noted == pytest.approx(float(apart), abs=0.08)
