"""Explanations by random masks, each formula written a second time from the inputs that the network was really shown.

Each function here bears the name of its lens. It gets the masks that the lens drew, which the tests read off the
inputs, and scores the masked images one by one in float64.
"""

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.masking.segments import grid
from convscope.runtime.layer_maps import resize
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject, subject_called

NETS = ["plain", "residual", "flatten", "signal", "volume", "digits"]


def rise(slow: Slow, baseline: Tensor, masks: list[Tensor], keep: float, *, centred: bool = True) -> Tensor:
    scores = [slow.score(m * slow.x + (1 - m) * baseline) for m in masks]
    mean_score = sum(scores) / len(scores) if centred else 0.0
    return sum((s - mean_score) * m for s, m in zip(scores, masks, strict=True)) / (len(masks) * keep)


def permutation(slow: Slow, inputs: list[Tensor], labels: Tensor, fills: int) -> Tensor:
    """Of the inputs that were shown, part by part."""
    clean_score = slow.score(slow.x)
    drops = [sum(clean_score - slow.score(x) for x in inputs[i : i + fills]) for i in range(0, len(inputs), fills)]
    return torch.tensor(drops) / fills


def sobol(slow: Slow, baseline: Tensor, masks: list[Tensor], cells: int) -> Tensor:
    """Of masks in the order A, C^1 … C^cells of each design."""
    scores = torch.tensor([slow.score(m * slow.x + (1 - m) * baseline) for m in masks]).view(-1, cells + 1).double()
    plain, changed = scores[:, 0], scores[:, 1:]
    return torch.stack([((plain - changed[:, i]) ** 2).mean() / (2 * plain.var()) for i in range(cells)])


def hsic(slow: Slow, baseline: Tensor, masks: list[Tensor], z: Tensor) -> Tensor:
    """By the matrices of the definition; ``z`` (masks, cells) are the zeros and ones that the masks were made of."""
    n = len(masks)
    y = torch.tensor([slow.score(m * slow.x + (1 - m) * baseline) for m in masks]).double()
    distances = (y[:, None] - y).abs()
    similarity = torch.exp(-(distances**2) / (2 * distances[distances > 0].median() ** 2))
    centre = torch.eye(n).double() - 1 / n
    kernels = [(z[:, i][:, None] == z[:, i]).double() for i in range(z.shape[1])]
    return torch.stack([torch.trace(k @ centre @ similarity @ centre) / (n - 1) ** 2 for k in kernels])


def partition_shap(slow: Slow, baseline: Tensor, low: tuple[int, ...], high: tuple[int, ...]) -> Tensor:
    """Every box halved down to single places, by recursion."""
    shares = torch.zeros(slow.x.shape[1:]).double()

    def score(shown: Tensor) -> float:
        return slow.score(torch.where(shown, slow.x, baseline))

    def distribute(low: tuple[int, ...], high: tuple[int, ...], context: Tensor, weight: float) -> None:
        inside = torch.zeros(shares.shape, dtype=torch.bool)
        inside[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
        sides = [b - a for a, b in zip(low, high, strict=True)]
        if max(sides) == 1:
            shares[inside] += weight * (score(context | inside) - score(context))
            return
        axis = sides.index(max(sides))
        middle = low[axis] + sides[axis] // 2
        left = (low, (*high[:axis], middle, *high[axis + 1 :]))
        right = ((*low[:axis], middle, *low[axis + 1 :]), high)
        for half, other in ((left, right), (right, left)):
            other_mask = torch.zeros_like(inside)
            other_mask[tuple(slice(a, b) for a, b in zip(*other, strict=True))] = True
            distribute(*half, context, weight / 2)
            distribute(*half, context | other_mask, weight / 2)

    distribute(low, high, torch.zeros(shares.shape, dtype=torch.bool), 1.0)
    return shares


def masks_of(inputs: list[Tensor], x: Tensor, baseline: Tensor) -> list[Tensor]:
    """The share of the image in each input, read off the channel in which image and baseline differ most."""
    difference = x.double() - baseline
    channel = difference.abs().argmax(0, keepdim=True)
    largest = difference.gather(0, channel)[0]
    return [((image.double() - baseline).gather(0, channel)[0]) / largest for image in inputs]


def mean_colour(x: Tensor) -> Tensor:
    return x.double().flatten(1).mean(1).view(-1, *[1] * (x.ndim - 1)).expand_as(x)


def variants_seen(seen: list[Tensor], count: int, images: int) -> list[list[Tensor]]:
    """The last inputs of a run, by image: the variants, after whatever was run to settle the scores."""
    variants = seen[-count * images :]
    return [variants[i * count : (i + 1) * count] for i in range(images)]


@pytest.mark.parametrize("subject", NETS, indirect=True)
@pytest.mark.parametrize("centred", [True, False])
def test_rise_averages_masks_weighed_by_their_scores(subject: Subject, centred: bool) -> None:
    with inputs_seen(subject.model.module, with_gradient=False) as seen:
        maps = subject.explained("rise", samples=40, cells=4, keep=0.4, centred=centred)
    inputs_by_image = variants_seen(seen, 40, len(maps))
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
    with inputs_seen(probable.module, with_gradient=False) as seen:
        zeros = torch.zeros_like(plain.images)
        maps = subject.explained("rise", samples=40, cells=4, baseline=zeros, centred=False)
    for attribution, slow, inputs in zip(maps, subject.slow, variants_seen(seen, 40, len(maps)), strict=True):
        masks = masks_of(inputs, slow.x, torch.zeros_like(slow.x))
        probabilities = [slow.net((m * slow.x)[None]).detach()[0] for m in masks]
        assert all(float(probability.sum()) == pytest.approx(1) for probability in probabilities)
        paper_map = sum(p[slow.target] * m for p, m in zip(probabilities, masks, strict=True)) / (len(masks) * 0.5)
        assert relative_error(attribution.values, paper_map) < 10 * TOLERANCE


@pytest.mark.parametrize("subject", ["plain", "digits"], indirect=True)
def test_the_band_of_rise_is_that_of_a_mean_of_so_many_terms(subject: Subject) -> None:
    with inputs_seen(subject.model.module, with_gradient=False) as seen:
        maps = subject.explained("rise", samples=50)
    for attribution, slow, inputs in zip(maps, subject.slow, variants_seen(seen, 50, len(maps)), strict=True):
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


@pytest.mark.parametrize("subject", ["shapes"], indirect=True)
def test_the_stability_note_is_how_maps_of_different_seeds_correlate(subject: Subject) -> None:
    maps = [subject.explained("rise", samples=200, seed=seed)[0] for seed in range(8)]
    correlations = torch.corrcoef(torch.stack([m.values.flatten() for m in maps]))
    mean_correlation = correlations[~torch.eye(8, dtype=torch.bool)].mean()
    mean_note = sum(m.notes["stability over seeds"] for m in maps) / 8
    assert mean_note == pytest.approx(float(mean_correlation), abs=0.08)


@pytest.mark.parametrize("subject", NETS, indirect=True)
def test_permutation_fills_a_part_with_pixels_of_the_image(subject: Subject) -> None:
    labels = grid(subject.images.shape[2:], 6)
    parts = int(labels.max()) + 1
    with inputs_seen(subject.model.module, with_gradient=False) as seen:
        maps = subject.explained("permutation", segments=labels, samples=3)
    for attribution, slow, inputs in zip(maps, subject.slow, variants_seen(seen, 3 * parts, len(maps)), strict=True):
        known = {tuple(pixel) for pixel in slow.x.flatten(1).T.float().tolist()}
        for number, x in enumerate(inputs):
            part = labels == number // 3
            assert torch.equal(x[:, ~part], slow.x[:, ~part].float())
            assert {tuple(pixel) for pixel in x[:, part].T.tolist()} <= known
            assert not torch.equal(x[:, part], slow.x[:, part].float())
        true = permutation(slow, inputs, labels, 3)
        sums = torch.stack([attribution.values[labels == part].double().sum() for part in range(parts)])
        assert relative_error(sums, true) < TOLERANCE


@pytest.mark.parametrize("subject", NETS, indirect=True)
def test_sobol_indices_are_those_of_jansen(subject: Subject) -> None:
    axes = subject.images.ndim - 2
    cells = 3**axes
    with inputs_seen(subject.model.module, with_gradient=False) as seen:
        maps = subject.explained("sobol", samples=5, cells=3)
    for attribution, slow, inputs in zip(
        maps, subject.slow, variants_seen(seen, 5 * (cells + 1), len(maps)), strict=True
    ):
        baseline = mean_colour(slow.x)
        true = sobol(slow, baseline, masks_of(inputs, slow.x, baseline), cells).view(1, *[3] * axes)
        assert relative_error(attribution.values, resize(true, attribution.values.shape)[0]) < 1e-3


def test_sobol_masks_differ_from_their_design_in_one_cell() -> None:
    subject = subject_called("plain")
    with inputs_seen(subject.model.module, with_gradient=False) as seen:
        cs.sobol(subject.model, subject.images[:1], samples=4, cells=2)
    masks = torch.stack(masks_of(seen[-20:], subject.images[0], mean_colour(subject.images[0]))).view(4, 5, 16, 16)
    corners = masks[..., [0, 0, -1, -1], [0, -1, 0, -1]]
    changed = (corners[:, 1:] - corners[:, :1]).abs() > 1e-5
    assert torch.equal(changed, torch.eye(4, dtype=torch.bool).expand(4, 4, 4))


@pytest.mark.parametrize("subject", NETS, indirect=True)
def test_hsic_is_that_of_its_definition(subject: Subject) -> None:
    axes, count = subject.images.ndim - 2, 30
    with inputs_seen(subject.model.module, with_gradient=False) as seen:
        maps = subject.explained("hsic", samples=count, cells=3)
    for attribution, slow, inputs in zip(maps, subject.slow, variants_seen(seen, count, len(maps)), strict=True):
        baseline = mean_colour(slow.x)
        masks = masks_of(inputs, slow.x, baseline)
        places = [torch.tensor([0, n // 2, n - 1]) for n in slow.x.shape[1:]]  # where a cell is alone
        cell_values = [m[torch.meshgrid(*places, indexing="ij")].flatten() for m in masks]
        z = torch.stack(cell_values).round()
        if all(n % 3 for n in slow.x.shape[1:]):
            assert bool((z.sum(0) == count // 2).all())
        true = hsic(slow, baseline, masks, z).view(1, *[3] * axes)
        assert relative_error(attribution.values, resize(true, attribution.values.shape)[0]) < 1e-3


@pytest.mark.parametrize("count", [50, 1100])
def test_hsic_by_blocks_is_hsic(count: int) -> None:
    from convscope.lens.perturbation.hsic import _hsic

    generator = torch.Generator().manual_seed(0)
    z = (torch.rand(count, 4, generator=generator) < 0.5).float()
    y = z[:, 0] * 2 + torch.randn(count, generator=generator) / 4
    expected = _hsic(z, y, chunk_size=2000)
    assert expected.argmax() == 0
    assert relative_error(_hsic(z, y, chunk_size=count), expected) < 1e-12
    torch.testing.assert_close(_hsic(z, y, chunk_size=40), expected, rtol=0.2, atol=0)  # another sample of distances


@pytest.mark.parametrize("subject", ["plain", "flatten", "signal", "digits"], indirect=True)
def test_partition_shap_with_budget_for_all_is_the_owen_value(subject: Subject) -> None:
    extent = subject.images.shape[2:]
    cells = {1: 8, 2: 2}[len(extent)]
    small = [n // cells for n in extent]
    for attribution, slow in zip(
        subject.explained("partition_shap", samples=4000, cells=cells, baseline="mean"), subject.slow, strict=True
    ):
        baseline = mean_colour(slow.x)
        true = _owen_of_cells(slow, baseline, cells, small)
        sums = attribution.values.double()
        for axis, size in enumerate(small):
            sums = sums.unflatten(axis, (cells, size)).sum(axis + 1)
        assert relative_error(sums, true) < TOLERANCE
        assert abs(attribution.notes["relative completeness gap"]) < 1e-4


def _owen_of_cells(slow: Slow, baseline: Tensor, cells: int, small: list[int]) -> Tensor:
    """The recursion on an image whose places are cells: it is shown enlarged."""

    class Enlarged:
        x = torch.arange(cells ** len(small)).view(1, *[cells] * len(small)).double() + 1

        @staticmethod
        def score(coarse: Tensor) -> float:
            shown = coarse[0] > 0
            for axis, size in enumerate(small):
                shown = shown.repeat_interleave(size, axis)
            return slow.score(torch.where(shown, slow.x, baseline))

    nothing = torch.zeros_like(Enlarged.x)
    return partition_shap(Enlarged, nothing, (0,) * len(small), (cells,) * len(small))


@pytest.mark.parametrize("subject", ["flatten", "shapes"], indirect=True)
def test_partition_shap_over_parts_of_ones_own_is_that_over_a_grid_of_the_same_parts(subject: Subject) -> None:
    """A part is a part, whoever drew it: the tree follows from where parts lie."""
    height, width = subject.images.shape[2:]
    rows, columns = (torch.arange(n) * 4 // n for n in (height, width))
    labels = rows[:, None] * 4 + columns
    attributions = subject.explained("partition_shap", samples=200, segments=labels, baseline="mean")
    for attribution, true in zip(
        attributions, subject.explained("partition_shap", samples=200, cells=4, baseline="mean"), strict=True
    ):
        assert relative_error(attribution.values, true.values) < TOLERANCE


def test_partition_shap_halves_where_most_is_at_stake() -> None:
    """On a network that looks at one corner only, that corner is cut finest and everything else stays at zero."""

    class Corner(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x[:, :, :3, :3].mean((1, 2, 3)), x[:, :, :3, :3].amax((1, 2, 3))], 1)

    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    attribution = cs.partition_shap(cs.Model(Corner()), images, target=0, samples=600, cells=32, baseline="black")
    assert float(attribution.values[8:].abs().max()) == float(attribution.values[:, 8:].abs().max()) == 0
    assert float(attribution.values[:3, :3].sum()) > 0.5 * attribution.score
    assert float(attribution.values.sum()) == pytest.approx(attribution.score, rel=1e-5)
