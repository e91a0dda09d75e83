"""Train the bundled digits network and measure it on the held-out digits: python scripts/train_digits.py"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from training import THREADS, Recipe, accuracy, prepare, save, train

from convscope.samples import digits
from convscope.samples.networks import DIGITS_MEAN, DIGITS_SIZE, DIGITS_STD, DigitsNet

RECIPE = Recipe(seed=0, epochs=40, batch_size=64, learning_rate=4e-3, weight_decay=0.01, label_smoothing=0.05)


def to_inputs(images: Tensor) -> Tensor:
    return F.interpolate(prepare(images, DIGITS_MEAN, DIGITS_STD), DIGITS_SIZE, mode="bilinear", align_corners=False)


def augment(images: Tensor) -> Tensor:
    """Random rotation, scaling and shift of each digit, as in handwriting."""
    angle = (torch.rand(len(images)) - 0.5) * math.radians(24)
    factor = 1 + (torch.rand(len(images)) - 0.5) * 0.2
    shift = (torch.rand(len(images), 2, 1) - 0.5) * 0.2
    cos, sin = torch.cos(angle) * factor, torch.sin(angle) * factor
    rotation = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
    batch = to_inputs(images)
    grid = F.affine_grid(torch.cat([rotation, shift], dim=2), list(batch.shape), align_corners=False)
    return F.grid_sample(batch, grid, padding_mode="border", align_corners=False)


def tensors(part: digits.Digits) -> tuple[Tensor, Tensor]:
    return torch.tensor(part.images)[:, None], torch.tensor(part.labels)


def main() -> None:
    torch.manual_seed(RECIPE.seed)
    torch.set_num_threads(THREADS)
    held_out = tensors(digits.held_out_set())
    network = DigitsNet()

    def measure() -> float:
        return accuracy(network, *held_out, to_inputs)

    train(network, *tensors(digits.training_set()), RECIPE, augment, lambda: f"held out {measure():.4f}")
    save(network, "digits", RECIPE, __file__, accuracy=measure(), held_out=len(held_out[0]))


if __name__ == "__main__":
    main()
