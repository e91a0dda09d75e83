"""FullGrad computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.backward.modified_gradients import CHAINS, backwards, enlarged, one_hot
from tests.twins.binding import twin_of
from tests.twins.chains import Chain, Dense, Residual, chain_of, values
from tests.twins.results import sum_of
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.full_grad)
def full_grad(chain: Chain, x: Tensor, target: int) -> Tensor:
    """ψ of the term of the input, and of the term of each bias that has a map."""
    activations = values(chain, x.flatten())
    gradients = backwards(
        chain, activations, one_hot(activations[-1], target), lambda g, x, y: torch.where(x > 0, g, 0)
    )
    parts = [psi(gradients[0].view(x.shape) * x, x.shape[1:])]
    for step, g in zip(chain, gradients[1:], strict=True):
        inner = step.branch[-1] if isinstance(step, Residual) else step
        if isinstance(inner, Dense) and inner.kind == "conv":
            parts.append(psi((g * inner.bias).view(_map_shape(inner, x)), x.shape[1:]))
    return sum_of(parts)


def _map_shape(step: Dense, x: Tensor) -> tuple[int, ...]:
    """The shape (channels, …) of the output of a convolution with stride 1 or 2."""
    for halved in (1, 2):
        extent = [-(-n // halved) for n in x.shape[1:]]
        channels = len(step.bias) // torch.Size(extent).numel()
        if channels in (6, 8):
            return (channels, *extent)
    raise AssertionError("no such network here")


def psi(term: Tensor, extent: tuple[int, ...]) -> Tensor:
    magnitude = enlarged(term.abs().sum(0), extent)
    return magnitude / magnitude.max()


@pytest.mark.parametrize("subject", CHAINS, indirect=True)
def test_full_grad_is_its_formula_and_complete(subject: Subject) -> None:
    chain = chain_of(subject)
    for attribution, slow in zip(subject.explained("full_grad"), subject.slow, strict=True):
        assert relative_error(attribution.values, full_grad(chain, slow.x, slow.target)) < TOLERANCE
        assert abs(attribution.notes["completeness gap"]) < 1e-5
