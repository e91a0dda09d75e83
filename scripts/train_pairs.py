"""Train the bundled network that attends to pairs of objects, and measure it: python scripts/train_pairs.py"""

import numpy as np
import torch
from torch import Tensor
from training import Recipe, prepare, train_and_save

from convscope.samples import pairs
from convscope.samples.attention_network import PAIRS_MEAN, PAIRS_STD, PairsNet

RECIPE = Recipe(seed=0, epochs=12, batch_size=64, learning_rate=2e-3, weight_decay=0.05, label_smoothing=0.02)
TRAINING, HELD_OUT = 8000, 1000


def draw(seeds: range) -> tuple[Tensor, Tensor]:
    drawn = [pairs.pair(seed) for seed in seeds]
    images = torch.from_numpy(np.stack([scene.image for scene in drawn]))
    return images[:, None], torch.tensor([scene.label for scene in drawn])


def to_inputs(images: Tensor) -> Tensor:
    return prepare(images, PAIRS_MEAN, PAIRS_STD)


def augment(images: Tensor) -> Tensor:
    """Each eighth of the batch in another of the eight symmetries of the square."""
    parts = [
        torch.rot90(part.flip(3) if symmetry >= 4 else part, symmetry % 4, dims=(2, 3))
        for symmetry, part in enumerate(images.chunk(8))
    ]
    return to_inputs(torch.cat(parts))


def main() -> None:
    train_and_save(
        "pairs",
        PairsNet,
        draw,
        script=__file__,
        recipe=RECIPE,
        first=pairs.FIRST_TRAINING_SEED,
        training=TRAINING,
        held_out=HELD_OUT,
        to_inputs=to_inputs,
        augment=augment,
    )


if __name__ == "__main__":
    main()
