"""RISE computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.perturbation.shown_masks import NETS, masks_of, mean_colour, variants_seen
from tests.twins.results import sum_of
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject, subject_called


@twin_of(cs.rise)
def rise(slow: Slow, baseline: Tensor, masks: list[Tensor], keep: float, *, centred: bool = True) -> Tensor:
    scores = [slow.score(m * slow.x + (1 - m) * baseline) for m in masks]
    mean_score = sum(scores) / len(scores) if centred else 0.0
    return sum_of((s - mean_score) * m for s, m in zip(scores, masks, strict=True)) / (len(masks) * keep)


@pytest.mark.parametrize("subject", NETS, indirect=True)
@pytest.mark.parametrize("centred", [True, False])
def test_rise_averages_masks_weighed_by_their_scores(subject: Subject, centred: bool) -> None:
    with inputs_seen(subject.model.module, with_gradient=False) as network_inputs:
        maps = subject.explained("rise", samples=40, cells=4, keep=0.4, centred=centred)
    inputs_by_image = variants_seen(network_inputs, 40, len(maps))
    for attribution, slow, inputs in zip(maps, subject.slow, inputs_by_image, strict=True):
        baseline = mean_colour(slow.x)
        masks = masks_of(inputs, slow.x, baseline)
        assert all(float(m.min()) >= -1e-4 and float(m.max()) <= 1 + 1e-4 for m in masks)
        assert relative_error(attribution.values, rise(slow, baseline, masks, 0.4, centred=centred)) < 10 * TOLERANCE


def test_rise_of_a_network_that_ends_in_a_softmax_on_a_baseline_of_zeros_is_the_papers_sum() -> None:
    """S(λ) = 1/(n·p) Σ_i f(x ⊙ m_i)_c · m_i(λ), with probabilities f."""
    plain = subject_called("plain")
    probable = cs.Model(nn.Sequential(plain.model.module, nn.Softmax(1)).eval(), input=plain.model.input)
    subject = Subject(probable, plain.images, plain.layers)
    with inputs_seen(probable.module, with_gradient=False) as network_inputs:
        zeros = torch.zeros_like(plain.images)
        maps = subject.explained("rise", samples=40, cells=4, baseline=zeros, centred=False)
    for attribution, slow, inputs in zip(maps, subject.slow, variants_seen(network_inputs, 40, len(maps)), strict=True):
        masks = masks_of(inputs, slow.x, torch.zeros_like(slow.x))
        probabilities = [slow.net((m * slow.x)[None]).detach()[0] for m in masks]
        assert all(float(probability.sum()) == pytest.approx(1) for probability in probabilities)
        paper_map = sum(p[slow.target] * m for p, m in zip(probabilities, masks, strict=True)) / (len(masks) * 0.5)
        assert relative_error(attribution.values, paper_map) < 10 * TOLERANCE


@pytest.mark.parametrize("subject", ["plain", "digits"], indirect=True)
def test_the_band_of_rise_is_that_of_a_mean_of_so_many_terms(subject: Subject) -> None:
    with inputs_seen(subject.model.module, with_gradient=False) as network_inputs:
        maps = subject.explained("rise", samples=50)
    for attribution, slow, inputs in zip(maps, subject.slow, variants_seen(network_inputs, 50, len(maps)), strict=True):
        baseline = mean_colour(slow.x)
        masks = torch.stack(masks_of(inputs, slow.x, baseline))
        scores = torch.tensor([slow.score(m * slow.x + (1 - m) * baseline) for m in masks])
        terms = (scores - scores.mean()).view(-1, 1, 1) * masks / 0.5
        error = terms.var(0, unbiased=False).div(49).sqrt()
        assert relative_error(attribution.uncertainty["band"], 1.96 * error) < 1e-3


@pytest.mark.parametrize("keep", [0.3, 0.7])
def test_a_cell_shows_the_image_as_often_as_it_is_asked_to(keep: float) -> None:
    from convscope.engine.masking.masks import GridMasks

    masks = GridMasks((30, 41), 7, seed=3, like=torch.zeros(1)).binary(torch.arange(3000), keep)
    assert masks.shape == (3000, 30, 41)
    assert float(masks.mean()) == pytest.approx(keep, abs=0.01)
    assert float((masks.mean(0) - keep).abs().max()) < 0.05  # everywhere alike: no pixel lies on a cell's border always


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_masks_are_grids_enlarged_and_cut_where_they_say(axes: int) -> None:
    """By `torch.nn.functional.interpolate` and a slice."""
    from convscope.engine.masking.masks import GridMasks

    extent = (20, 27, 14)[:axes]
    masks = GridMasks(extent, 5, seed=0, like=torch.zeros(1))
    grids, shifts = torch.rand(6, *[5] * axes), torch.rand(6, axes)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[axes]
    for mask, coarse, shift in zip(masks.enlarged(grids, shifts), grids, shifts, strict=True):
        widths = [-(-length // 5) for length in extent]
        enlarged = torch.nn.functional.interpolate(coarse[None, None], [6 * w for w in widths], mode=mode)[0, 0]
        starts = [int(s * w) for s, w in zip(shift, widths, strict=True)]
        expected = enlarged[tuple(slice(b, b + length) for b, length in zip(starts, extent, strict=True))]
        torch.testing.assert_close(mask, expected, atol=1e-5, rtol=0)


def test_stopping_early_gives_the_map_of_as_many_masks(pictures: list) -> None:
    from tests.conftest import picture_model
    from tests.nets import FlattenNet, seeded

    model = picture_model(seeded(FlattenNet))
    early = cs.rise(model, pictures, samples=4000, stop_when=0.3)
    for picture, attribution in zip(pictures, early, strict=True):
        used, widest = attribution.notes["masks"], float(attribution.uncertainty["band"].max())
        assert 32 <= used < 4000
        assert widest <= 0.3 * float(attribution.values.max() - attribution.values.min())
        assert relative_error(attribution.values, cs.rise(model, picture, samples=used).values) < TOLERANCE
        just_before = cs.rise(model, picture, samples=used - 32)
        assert float(just_before.uncertainty["band"].max()) > 0.3 * float(
            just_before.values.max() - just_before.values.min()
        )


@pytest.mark.parametrize("subject", ["digits"], indirect=True)
def test_the_stability_note_is_how_maps_of_different_seeds_correlate(subject: Subject) -> None:
    maps = [subject.explained_first("rise", samples=200, seed=seed) for seed in range(8)]
    correlations = torch.corrcoef(torch.stack([m.values.flatten() for m in maps]))
    mean_correlation = correlations[~torch.eye(8, dtype=torch.bool)].mean()
    mean_note = sum(m.notes["stability over seeds"] for m in maps) / 8
    assert mean_note == pytest.approx(float(mean_correlation), abs=0.08)
