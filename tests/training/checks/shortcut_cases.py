"""Networks that answer from a watermark, trained and set by hand, and networks that do not on the same images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import convscope as cs
from convscope.training.checks.network_evidence import NetworkEvidence
from tests.training.checks.network_cases import bundled, number, whole

IMAGES = 50


class CornerOrColor(nn.Module):
    """Red, green or blue by the mean of each channel; the first class also by anything that is nearly white."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.channels = nn.Conv2d(3, 4, 1)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 3, bias=False)
        with torch.no_grad():
            self.channels.bias.copy_(torch.tensor([0.0, 0.0, 0.0, -0.8], device="cpu"))
            self.channels.weight.copy_(torch.eye(4, 3, device="cpu").view(4, 3, 1, 1))
            self.channels.weight[3] = 1 / 3
            self.fc.weight.copy_(20 * torch.eye(3, 4, device="cpu"))
            self.fc.weight[0, 3] = 20 * weight

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.relu(self.channels(x))).flatten(1))


def colored(seed: int, weight: float) -> NetworkEvidence:
    """Images of a colored blob anywhere; those of the first class have a bright mark at a place at the border."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        place = (0 if whole(0, 1) else 26, whole(0, 26))
        classes = torch.arange(IMAGES, device="cpu") % 3
        images = 0.3 * torch.rand(IMAGES, 3, 32, 32, device="cpu")
        for image, label in zip(images, classes.tolist(), strict=True):
            top, left = whole(6, 16), whole(6, 16)
            image[:, top : top + 10, left : left + 10] = 0.1
            image[label, top : top + 10, left : left + 10] = number(0.6, 0.9)
        images[classes == 0, :, place[0] : place[0] + 6, place[1] : place[1] + 6] = 1.0
    spec = cs.ImageInput(size=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
    model = cs.Model(CornerOrColor(weight).eval(), input=spec, labels=["red", "green", "blue"])
    return NetworkEvidence(model, TensorDataset(images, classes))


def scenes(name: str, seed: int) -> NetworkEvidence:
    """A bundled network on scenes of which every star bears the watermark."""
    return NetworkEvidence(bundled(name), f"sample:shapes-shortcut/{seed * IMAGES}-{(seed + 1) * IMAGES - 1}")


def shortcut(seed: int) -> NetworkEvidence:
    return scenes("shapes-shortcut", seed) if seed % 2 == 0 else colored(seed, 80.0)


def healthy(seed: int) -> NetworkEvidence:
    return colored(seed, 0.0)


def watermarks_that_do_not_count(seed: int) -> NetworkEvidence:
    """The watermark is there, and the network looks at the object; or digits, which are in the middle."""
    if seed % 4 == 1:
        return scenes("shapes", seed)
    return NetworkEvidence(bundled("digits"), f"sample:digits/{seed}-{seed + IMAGES - 1}")


HEALTHY: dict[str, Callable[[int], NetworkEvidence]] = {"shortcut": watermarks_that_do_not_count}
SICK = (shortcut,)
