"""A small network with layers of 2 048 channels; tests copy it to a folder, where a file holds up one of its layers."""

import time
from pathlib import Path
from typing import Any

import torch

import convscope as cs

CHANNELS = 2048
OPEN = Path(__file__).with_name("open")
"""While there is no such file, the kernels of the layer ``held`` are not to be had."""


class _Held:
    """Computes a weight as the hook of the old weight norm does, as soon as it may."""

    name = "weight"

    def compute_weight(self, module: Any) -> torch.Tensor:
        """The layer's weight."""
        while not OPEN.exists():
            time.sleep(0.02)
        weight: torch.Tensor = module.weight
        return weight

    def __call__(self, module: Any, given: Any) -> None:
        """What a hook before a forward is called as; this one leaves the layer alone."""


class Wide(torch.nn.Module):
    """Convolutions of many channels on small images."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, CHANNELS, 3, stride=8)
        self.relu = torch.nn.ReLU()
        self.held = torch.nn.Conv2d(CHANNELS, 8, 1)
        self.held.register_forward_pre_hook(_Held())
        self.fc = torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The three scores."""
        scores: torch.Tensor = self.fc(self.held(self.relu(self.conv(x))).mean((2, 3)))
        return scores


def wide() -> cs.Model:
    """The network with the images it takes."""
    return cs.Model(Wide(), input=cs.ImageInput(size=(64, 64)), labels=("a", "b", "c"))
