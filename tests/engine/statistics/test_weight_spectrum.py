"""Spectra of random weights end where theory says, and power laws are found with their exponents."""

import math

import numpy as np
import pytest
import torch

from convscope.engine.statistics.weight_spectrum import fit_power_law, spectrum_of, untrained_like


def random_matrix(rows: int, columns: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64, device="cpu")


@pytest.mark.parametrize(("rows", "columns"), [(200, 50), (300, 300), (64, 576)])
def test_random_weights_fill_the_bulk_and_no_more(rows: int, columns: int) -> None:
    for seed in range(5):
        spectrum = spectrum_of(3 * random_matrix(rows, columns, seed))
        assert spectrum is not None
        short, long = sorted((rows, columns))
        assert spectrum.edge == pytest.approx(9 * (1 + math.sqrt(short / long)) ** 2, rel=0.1)
        assert spectrum.outliers == 0
        singular = torch.linalg.svdvals(3 * random_matrix(rows, columns, seed))
        assert spectrum.eigenvalues == pytest.approx((singular**2 / long).numpy(), rel=1e-6, abs=1e-9)
        assert spectrum.stable_rank == pytest.approx(float((singular**2).sum() / singular[0] ** 2))


def test_added_directions_are_outliers() -> None:
    """Directions beyond the threshold of Baik, Ben Arous and Péché are seen, each as one eigenvalue."""
    weights = random_matrix(400, 100, 0)
    left, _ = torch.linalg.qr(random_matrix(400, 3, 1))
    right, _ = torch.linalg.qr(random_matrix(100, 3, 2))
    spectrum = spectrum_of(weights + 60 * left @ right.T)
    assert spectrum is not None
    assert spectrum.outliers == 3


@pytest.mark.parametrize("exponent", [1.8, 2.5, 4.0])
def test_the_exponent_of_a_power_law_is_found(exponent: float) -> None:
    values = (1 - np.random.default_rng(0).random(3000)) ** (-1 / (exponent - 1))
    law = fit_power_law(values)
    assert law is not None
    assert law.exponent == pytest.approx(exponent, rel=0.1)
    assert law.fits


def test_numbers_of_no_power_law_do_not_fit() -> None:
    law = fit_power_law(np.repeat([1.0, 2.0, 3.0], 200))
    assert law is not None
    assert not law.fits


def test_weights_that_say_nothing_have_no_spectrum_or_no_power_law() -> None:
    assert spectrum_of(torch.zeros(8, 8, device="cpu")) is None
    assert spectrum_of(torch.full((8, 8), torch.nan, device="cpu")) is None
    small = spectrum_of(random_matrix(8, 12, 0))
    assert small is not None
    assert small.power_law is None


def test_the_untrained_copy_is_that_of_pytorch() -> None:
    """Its weights are uniform within the limits of a convolution's own initialisation."""
    layer = torch.nn.Conv2d(32, 64, 3)
    copy = untrained_like(layer.weight)
    limit = 1 / math.sqrt(32 * 9)
    assert copy.shape == layer.weight.shape
    assert float(copy.abs().max()) == pytest.approx(limit, rel=0.01)
    assert float(layer.weight.detach().abs().max()) == pytest.approx(limit, rel=0.01)
    assert torch.equal(copy, untrained_like(layer.weight))
