"""Parts of an image and their coalitions, read off the inputs that the network was given."""

import torch
from torch import Tensor

from convscope.engine.masking.segments import grid
from tests.twins.subjects import Subject

NETS = ["plain", "residual", "flatten", "signal", "volume", "digits", "squeezenet1_1, trained"]


def shown(x: Tensor, baseline: Tensor, labels: Tensor, z: Tensor) -> Tensor:
    return torch.where(z[labels], x, baseline)


def by_part(values: Tensor, labels: Tensor) -> Tensor:
    """A map added up over each part; within one it is even."""
    parts = [values[labels == part] for part in range(int(labels.max()) + 1)]
    assert all(float((part - part[0]).abs().max()) == 0 for part in parts)
    return torch.stack([part.double().sum() for part in parts])


def coalitions_of(inputs: list[Tensor], x: Tensor, baseline: Tensor, labels: Tensor) -> Tensor:
    """Which parts each input showed: those nearer to the image than to the baseline."""
    near = [(network_inputs - x).abs().sum(0) <= (network_inputs - baseline).abs().sum(0) for network_inputs in inputs]
    return torch.stack(
        [torch.stack([n[labels == p].float().mean() > 0.5 for p in range(int(labels.max()) + 1)]) for n in near]
    )


def uneven(subject: Subject, parts: int) -> Tensor:
    """Parts of different sizes."""
    extent = subject.images.shape[2:]
    labels = grid(extent, 2 * parts)
    return torch.where(labels >= parts, labels % 3, labels)
