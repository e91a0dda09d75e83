"""A network in which every operation is a separate module that is used once, as Captum requires."""

import torch
from torch import Tensor, nn

import convscope as cs
from tests.nets import seeded


class Modular(nn.Module):
    """Every operation is a separate module that is used once, as Captum requires."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(6, 8, 3, stride=2), nn.ReLU()
        self.pool, self.flat, self.fc1 = nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 7)
        self.relu3, self.fc2 = nn.ReLU(), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.conv2(self.relu1(self.conv1(x))))
        return self.fc2(self.relu3(self.fc1(self.flat(self.pool(x)))))


def modular_model() -> tuple[cs.Model, Tensor]:
    model = cs.Model(seeded(Modular), input=cs.TensorInput((3, 11, 9)))
    return model, torch.randn(2, 3, 11, 9, generator=torch.Generator().manual_seed(5))


SHAPE = (3, 11, 9)


def modular_subject() -> tuple[cs.Model, Tensor]:
    model = cs.Model(seeded(Modular), input=cs.TensorInput(SHAPE))
    return model, torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(7))
