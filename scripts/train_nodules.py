"""Train the bundled network for volumes and measure it on other volumes: python scripts/train_nodules.py"""

import numpy as np
import torch
from torch import Tensor
from training import Recipe, train_and_save

from convscope.samples import nodules
from convscope.samples.networks import NODULES_MEAN, NODULES_STD, NodulesNet

RECIPE = Recipe(seed=0, epochs=6, batch_size=32, learning_rate=6e-3, weight_decay=0.01, label_smoothing=0.02)
TRAINING, HELD_OUT = 3600, 600


def volumes(seeds: range) -> tuple[Tensor, Tensor]:
    drawn = [nodules.scan(seed) for seed in seeds]
    return torch.from_numpy(np.stack([scan.volume for scan in drawn]))[:, None], torch.tensor([s.label for s in drawn])


def to_inputs(voxels: Tensor) -> Tensor:
    return (voxels.float() - NODULES_MEAN) / NODULES_STD


def augment(voxels: Tensor) -> Tensor:
    """Mirrored along each axis at random, one choice for a batch."""
    axes = [axis for axis in (2, 3, 4) if torch.rand(()) < 0.5]
    return to_inputs(voxels).flip(axes)


def main() -> None:
    train_and_save(
        "nodules",
        NodulesNet,
        volumes,
        script=__file__,
        recipe=RECIPE,
        first=nodules.FIRST_TRAINING_SEED,
        training=TRAINING,
        held_out=HELD_OUT,
        to_inputs=to_inputs,
        augment=augment,
    )


if __name__ == "__main__":
    main()
