"""Optimization of photographs as plain loops in float64, with Adam and every transform written out."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

import convscope as cs
from tests.nets import MEAN, STD

COLOR_COVARIANCE = torch.tensor([[0.0761, 0.0692, 0.0627], [0.0692, 0.0754, 0.0714], [0.0627, 0.0714, 0.0819]]).double()


BLACK = (-torch.tensor(MEAN) / torch.tensor(STD)).double().view(3, 1, 1)


WHITE = ((1 - torch.tensor(MEAN)) / torch.tensor(STD)).double().view(3, 1, 1)


STEPS, SIDE = 5, 16


def layer(model: cs.Model, x: Tensor, last: int) -> Tensor:
    """The activation of ``features.LAST``, recomputed by hand."""
    for index, module in enumerate(model.module.features[: last + 1]):
        x = F.relu(x) if index % 2 else module(x)
    return x


def minimize(
    parameters: Tensor, picture: Callable[[Tensor], Tensor], loss: Callable[[Tensor], Tensor], steps: int = STEPS
):
    """The picture after ``steps`` steps of Adam with learning rate 0.05."""
    m, v = torch.zeros_like(parameters), torch.zeros_like(parameters)
    for step in range(1, steps + 1):
        leaf = parameters.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(picture(leaf)), leaf)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        last_parameters = parameters  # the loss was last evaluated for these
        parameters = parameters - 0.05 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    return picture(last_parameters)


def pixels(parameters: Tensor) -> Tensor:
    """Unbounded parameters mapped to the range between black and white."""
    return BLACK + torch.sigmoid(parameters) * (WHITE - BLACK)


def logits(picture: Tensor) -> Tensor:
    """The inverse of `pixels`."""
    return torch.logit((picture - BLACK) / (WHITE - BLACK), eps=1e-3)


def from_fourier(parameters: Tensor) -> Tensor:
    """Coefficients (1, 3, h, w/2+1, 2), scaled by 1 / frequency, with the color correlation of natural images."""
    rows, columns = torch.fft.fftfreq(SIDE), torch.fft.fftfreq(SIDE)
    radius = (rows[:, None] ** 2 + columns[None] ** 2).sqrt().clamp_min(1 / SIDE)
    scale = (1 / radius) / (2 * (1 / radius).square().mean()).sqrt()
    values = torch.fft.irfft2(
        torch.view_as_complex(parameters) * scale[:, : SIDE // 2 + 1].double(), s=(SIDE, SIDE), norm="ortho"
    )
    eigenvalues, components = torch.linalg.eigh(COLOR_COVARIANCE)
    largest = components.abs().argmax(0)
    components = components * torch.stack(
        [components[row, column].sign() for column, row in enumerate(largest.tolist())]
    )
    matrix = components * eigenvalues.sqrt()
    matrix = matrix / matrix.norm(dim=0).max()
    return pixels(torch.einsum("dc,nchw->ndhw", matrix.float().double(), values))


def noise(seed: int) -> Tensor:
    """The initial Fourier coefficients."""
    return 0.05 * torch.randn(1, 3, SIDE, SIDE // 2 + 1, 2, generator=torch.Generator().manual_seed(seed)).double()


def variation(x: Tensor) -> Tensor:
    """The mean squared difference of neighbors, along both axes."""
    return (x[:, :, 1:] - x[:, :, :-1]).square().mean() + (x[..., 1:] - x[..., :-1]).square().mean()


def gram(a: Tensor) -> Tensor:
    """The Gram matrix of channels, averaged over positions."""
    channels, positions = a.shape[1], math.prod(a.shape[2:])
    flat = a[0].reshape(channels, positions)
    return torch.stack([torch.stack([(first * second).sum() / positions for second in flat]) for first in flat])


def assert_equal_pictures(pictures: cs.Pictures, expected: Tensor, index: int = 0) -> None:
    torch.testing.assert_close(pictures.values[index], expected[0].float(), rtol=1e-4, atol=1e-4)
