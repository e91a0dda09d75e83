"""Seeded wide networks: layers of random weights or of one direction, and layers with several learned directions."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from convscope.training.checks.network_evidence import NetworkEvidence
from tests.training.checks.network_cases import evidence, healthy, number, of_kind, pictures, whole

CHANNELS, IMAGES = (64, 96), 2


def random_weights(shape: torch.Size) -> Tensor:
    """Independent weights, normal or uniform, of some scale."""
    scale = 10 ** number(-2, 0)
    kind = torch.randn if whole(0, 1) else lambda *size, device: 2 * torch.rand(*size, device=device) - 1
    return scale * kind(*shape, device="cpu")


def with_directions(weights: Tensor, count: int, strength: float) -> Tensor:
    """Weights with so many directions added, the largest singular value ``strength`` times that of the noise."""
    matrix = weights.flatten(1)
    noise = torch.linalg.matrix_norm(matrix, 2)
    left, _ = torch.linalg.qr(torch.randn(len(matrix), count, device="cpu"))
    right, _ = torch.linalg.qr(torch.randn(matrix.shape[1], count, device="cpu"))
    values = noise * strength * torch.linspace(1, 0.3, count, device="cpu")
    return (matrix + left * values @ right.T).view_as(weights)


def wide(seed: int, change: str) -> NetworkEvidence:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        width = CHANNELS[whole(0, 1)]
        net = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 70), nn.ReLU(), nn.Linear(70, 5),
        )  # fmt: skip
        layers = [*of_kind(net, nn.Conv2d)[1:], *of_kind(net, nn.Linear)[:1]]
        for layer in layers:
            layer.weight.copy_(with_directions(random_weights(layer.weight.shape), whole(3, 8), number(1.5, 3)))
        sick = layers[whole(0, len(layers) - 1)]
        if change == "random":
            sick.weight.copy_(random_weights(sick.weight.shape))
        elif change == "one direction":
            sick.weight.copy_(with_directions(random_weights(sick.weight.shape), 1, number(8, 30)))
        return evidence(net, pictures(IMAGES))


def weight_spectra(seed: int) -> NetworkEvidence:
    return wide(seed, ("random", "one direction")[seed % 2])


def learned_directions(seed: int) -> NetworkEvidence:
    return wide(seed, "")


HEALTHY: dict[str, Callable[[int], NetworkEvidence]] = {"weight_spectra": learned_directions}
SICK = (weight_spectra,)
__all__ = ["HEALTHY", "SICK", "healthy"]
