"""Numbers of tensors of a training step: histograms, norms, inactive channels, effective rank.

Everything stays on the device of its tensor, so that a step does not wait for it; the recorder fetches it afterwards.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convscope.engine.statistics.channel_statistics import saturation_limits

SAMPLED, BINS = 16_384, 64
"""So many numbers of a tensor, evenly spaced, make up its histogram."""

RANK_ROWS = 64
"""So many images of a batch are used for the effective rank."""

SATURATED_SHARE = 0.95
"""A channel is saturated if so large a share of its outputs is at a limit of the activation function."""


@dataclass(frozen=True)
class Histogram:
    """Counts of a sample between equally spaced edges from ``low`` to ``high``."""

    counts: Tensor
    low: Tensor
    high: Tensor
    total: Tensor
    squares: Tensor

    def numbers(self) -> tuple[list[float], list[float], float, float] | None:
        """Edges, counts, the sum of the numbers and of their squares; None if none of the numbers was finite."""
        low, high = self.low.item(), self.high.item()
        if not low <= high:
            return None
        edges = torch.linspace(low, high, BINS + 1, dtype=torch.float64, device="cpu").tolist()
        return edges, self.counts.tolist(), self.total.item(), self.squares.item()


def histogram(tensor: Tensor) -> Histogram:
    """The histogram of evenly spaced numbers of a tensor, of which those that are not finite are left out."""
    sample = _sample(tensor).float()
    finite = torch.isfinite(sample)
    low = torch.where(finite, sample, torch.inf).amin()
    high = torch.where(finite, sample, -torch.inf).amax()
    width = (high - low).clamp_min(1e-30)
    kept = torch.where(finite, sample, low)
    bins = ((kept - low) / width * BINS).nan_to_num(0.0).long().clamp_(0, BINS - 1)
    counts = torch.zeros(BINS, dtype=torch.float32, device=sample.device)
    counts.scatter_add_(0, bins, finite.float())
    zero = torch.where(finite, sample, 0.0)
    return Histogram(counts, low, high, zero.sum(), zero.square().sum())


def _sample(tensor: Tensor) -> Tensor:
    """At most about `SAMPLED` numbers of a tensor, evenly spaced."""
    tensor = tensor.detach()
    if tensor.ndim > 1 and len(tensor) > 16:
        tensor = tensor[:: len(tensor) // 16]
    flat = tensor.reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLED)]


def norm(tensors: list[Tensor]) -> Tensor:
    """The L2 norm of all numbers of several tensors."""
    squares = [tensor.detach().float().square().sum() for tensor in tensors]
    return torch.stack(squares).sum().sqrt()


def dead_share(output: Tensor, channel_axis: int = 1) -> Tensor:
    """The share of channels that are not above zero anywhere in the batch."""
    return (_by_channel(output, channel_axis).amax(1) <= 0).float().mean()


def saturated_share(module: nn.Module, output: Tensor, channel_axis: int = 1) -> Tensor | None:
    """The share of channels that are nearly always at a limit of the activation function; None if it has none."""
    limits = saturation_limits(module)
    if limits is None:
        return None
    return (limits.reached(_by_channel(output, channel_axis)).float().mean(1) >= SATURATED_SHARE).float().mean()


def _by_channel(output: Tensor, channel_axis: int) -> Tensor:
    """A batch (N, C, …), or (N, …, C), as (C, numbers)."""
    output = output.detach().movedim(channel_axis, 0)
    return output.reshape(len(output), -1)


def features(output: Tensor, channel_axis: int = 1) -> Tensor:
    """The mean of each channel of the first images, (N, C); a copy, since the network may overwrite its output."""
    rows = output.detach()[:RANK_ROWS].float().movedim(channel_axis, 1)
    return rows.flatten(2).mean(2) if rows.ndim > 2 else rows.clone()


def effective_rank(rows: Tensor) -> Tensor:
    """How many directions the features of a batch (N, D) use: the exponential of the entropy of their variances.

    1 if all images have the same features up to a factor along one direction, at most the smaller of N - 1 and D.
    """
    centred = rows - rows.mean(0)
    gram = centred @ centred.T if len(rows) <= rows.shape[1] else centred.T @ centred
    variances = torch.linalg.eigvalsh(gram.double()).clamp_min(0)
    shares = variances / variances.sum().clamp_min(1e-300)
    return torch.exp(-(shares * shares.clamp_min(1e-300).log()).sum())
