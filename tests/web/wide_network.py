"""A small network with layers of 2 048 channels and 2 100 classes; one layer waits for a pipe next to this one.

Tests copy it to a folder of their own.
"""

from pathlib import Path
from typing import Any

import torch

import convscope as cs

CHANNELS, CLASSES = 2048, 2100
BARRIER = Path(__file__).with_name("barrier")
"""While this named pipe exists, computing the kernels of the layer ``held`` blocks."""


class _Held:
    """Computes a weight like the hook of the old weight norm, once the pipe is removed."""

    name = "weight"

    def compute_weight(self, module: Any) -> torch.Tensor:
        """The layer's weight."""
        if BARRIER.exists():
            BARRIER.read_bytes()  # returns when `tests.web.barriers.release` opens and closes the pipe
        weight: torch.Tensor = module.weight
        return weight

    def __call__(self, module: Any, inputs: Any) -> None:
        """The forward pre-hook, which does nothing."""


class Wide(torch.nn.Module):
    """Convolutions of many channels on small images."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, CHANNELS, 3, stride=8)
        self.relu = torch.nn.ReLU()
        self.held = torch.nn.Conv2d(CHANNELS, 8, 1)
        self.held.register_forward_pre_hook(_Held())
        self.fc = torch.nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A score for each class."""
        scores: torch.Tensor = self.fc(self.held(self.relu(self.conv(x))).mean((2, 3)))
        return scores


def wide() -> cs.Model:
    """The network with its input spec."""
    return cs.Model(Wide(), input=cs.ImageInput(size=(64, 64)), labels=[f"kind {n}" for n in range(CLASSES)])
