"""Train the bundled network for messages and measure it on other messages: python scripts/train_sequence.py"""

import numpy as np
import torch
from torch import Tensor
from training import Recipe, train_and_save

from convscope.samples import sequence
from convscope.samples.networks import SequenceNet

RECIPE = Recipe(seed=0, epochs=8, batch_size=64, learning_rate=1e-2, weight_decay=0.01, label_smoothing=0.02)
TRAINING, HELD_OUT = 8000, 1000


def messages(seeds: range) -> tuple[Tensor, Tensor]:
    drawn = [sequence.message(seed) for seed in seeds]
    return torch.from_numpy(np.stack([each.tokens for each in drawn])), torch.tensor([each.label for each in drawn])


def to_inputs(tokens: Tensor) -> Tensor:
    return tokens


def main() -> None:
    train_and_save(
        "sequence",
        lambda: SequenceNet(len(sequence.VOCABULARY)),
        messages,
        script=__file__,
        recipe=RECIPE,
        first=sequence.FIRST_TRAINING_SEED,
        training=TRAINING,
        held_out=HELD_OUT,
        to_inputs=to_inputs,
    )


if __name__ == "__main__":
    main()
