"""HSIC attribution computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.runtime.layer_maps import resize
from tests.twins.binding import twin_of
from tests.twins.perturbation.shown_masks import NETS, masks_of, mean_colour, variants_seen
from tests.twins.slow import Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.hsic)
def hsic(slow: Slow, baseline: Tensor, masks: list[Tensor], z: Tensor) -> Tensor:
    """By the matrices of the definition; ``z`` (masks, cells) are the zeros and ones that the masks were made of."""
    n = len(masks)
    y = torch.tensor([slow.score(m * slow.x + (1 - m) * baseline) for m in masks]).double()
    distances = (y[:, None] - y).abs()
    similarity = torch.exp(-(distances**2) / (2 * distances[distances > 0].median() ** 2))
    centre = torch.eye(n).double() - 1 / n
    kernels = [(z[:, i][:, None] == z[:, i]).double() for i in range(z.shape[1])]
    return torch.stack([torch.trace(k @ centre @ similarity @ centre) / (n - 1) ** 2 for k in kernels])


@pytest.mark.parametrize("subject", NETS, indirect=True)
def test_hsic_is_that_of_its_definition(subject: Subject) -> None:
    axes, count = subject.images.ndim - 2, 30
    with inputs_seen(subject.model.module, with_gradient=False) as network_inputs:
        maps = subject.explained("hsic", samples=count, cells=3)
    for attribution, slow, inputs in zip(
        maps, subject.slow, variants_seen(network_inputs, count, len(maps)), strict=True
    ):
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
