"""Train the bundled network for heartbeats and measure it on other recordings: python scripts/train_beats.py"""

import numpy as np
import torch
from torch import Tensor
from training import Recipe, train_and_save

from convscope.samples import beats
from convscope.samples.networks import BEATS_MEAN, BEATS_STD, BeatsNet

RECIPE = Recipe(seed=0, epochs=5, batch_size=64, learning_rate=6e-3, weight_decay=0.01, label_smoothing=0.02)
TRAINING, HELD_OUT = 8000, 1000


def recordings(seeds: range) -> tuple[Tensor, Tensor]:
    drawn = [beats.recording(seed) for seed in seeds]
    return torch.from_numpy(np.stack([each.signal for each in drawn])), torch.tensor([each.label for each in drawn])


def to_inputs(signals: Tensor) -> Tensor:
    return (signals - BEATS_MEAN) / BEATS_STD


def main() -> None:
    train_and_save(
        "beats",
        BeatsNet,
        recordings,
        script=__file__,
        recipe=RECIPE,
        first=beats.FIRST_TRAINING_SEED,
        training=TRAINING,
        held_out=HELD_OUT,
        to_inputs=to_inputs,
    )


if __name__ == "__main__":
    main()
