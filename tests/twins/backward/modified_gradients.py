"""Gradients of chains of dense matrices, with any rule for the ReLUs."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.twins.binding import lens_of
from tests.twins.chains import Chain, Dense, Maxima, Rectifier, chain_of, values
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject, subject_called

CHAINS = ("plain", "flatten", "residual", "signal", "volume")


SPATIAL = {
    "plain": ("features.1", 2, 6),
    "residual": ("relu", 4, 6),
    "volume": ("features.1", 2, 6),
    "signal": ("features", 4, 8),
}
"""By network: a layer, the number of chain steps before its output, and its number of channels."""


def backwards(chain: Chain, activations: list[Tensor], gradient: Tensor, rectifier: Callable) -> list[Tensor]:
    """The gradient at the input of each step and at the output, with ``rectifier(gradient, x, y)`` at each ReLU."""
    gradients = [gradient]
    for step, x, y in reversed(list(zip(chain, activations, activations[1:], strict=False))):
        g = gradients[0]
        if isinstance(step, Dense):
            input_gradient = step.weight.T @ g
        elif isinstance(step, Rectifier):
            input_gradient = rectifier(g, x, y)
        elif isinstance(step, Maxima):
            input_gradient = torch.zeros_like(x)
            for k, window in enumerate(step.windows):
                input_gradient[window[x[window].argmax()]] += g[k]
        else:
            input_gradient = g + backwards(step.branch, values(step.branch, x), g, rectifier)[0]
        gradients.insert(0, input_gradient)
    return gradients


def one_hot(scores: Tensor, target: int) -> Tensor:
    return torch.eye(len(scores), dtype=torch.double)[target]


def modified_gradient(chain: Chain, x: Tensor, target: int, rectifier: Callable) -> Tensor:
    activations = values(chain, x.flatten())
    return backwards(chain, activations, one_hot(activations[-1], target), rectifier)[0].view(x.shape)


def enlarged(small: Tensor, extent: tuple[int, ...]) -> Tensor:
    mode = ("linear", "bilinear", "trilinear")[small.ndim - 1]
    return F.interpolate(small[None, None], extent, mode=mode)[0, 0]


def assert_gradients_equal(twin: Callable, subject: Subject, **parameters: float) -> None:
    """The lens's numbers are those of its twin, which gets the network as a chain of matrices."""
    chain = chain_of(subject)
    for attribution, slow in zip(subject.explained(lens_of(twin), **parameters), subject.slow, strict=True):
        assert relative_error(attribution.channels, twin(chain, slow.x, slow.target, **parameters)) < TOLERANCE


def place_of(subject: Subject) -> tuple[str, int, int]:
    return next(place for name, place in SPATIAL.items() if subject is subject_called(name))
